/** A bar chart of measured engines as SVG: a group per head size and case, a bar per engine. Reads on light and dark pages. */
import { formatLengths, formatPageSize, threeFigures } from '../format';
import { headDimText } from '../measure/caseGrid';
import { rateOf } from '../measure/countedRate';
import { engineLabel, BUNDLED_ENGINE } from '../measure/engines';
import type { AttentionCase, ResultRow } from '../attentionCase';
import { engineTables, type EngineTable } from './engineTables';

interface Bar {
  readonly label: string;
  readonly value: number;
  readonly bundled: boolean;
}

interface Group {
  readonly label: string;
  readonly bars: readonly Bar[];
}

interface Panel {
  readonly title: string;
  readonly unit: string;
  readonly groups: readonly Group[];
}

const WIDTH = 860;
const LABEL_WIDTH = 250;
const VALUE_WIDTH = 70;
const BAR_HEIGHT = 14;
const BAR_STEP = 18;
const GROUP_GAP = 26;
const PANEL_GAP = 34;

/** The chart of these rows; `null` when no installed library has a right result among them. */
export function engineChart(rows: readonly ResultRow[], device: string): string | null {
  const panels = panelsOf(rows);
  if (panels.length === 0) return null;
  const parts: string[] = [];
  let y = 8;
  for (const panel of panels) {
    y += PANEL_GAP;
    parts.push(`<text class="title" x="0" y="${y}">${escapeXml(panel.title)}, ${panel.unit}</text>`);
    const most = Math.max(...panel.groups.flatMap((group) => group.bars.map((bar) => bar.value)));
    for (const group of panel.groups) {
      y += GROUP_GAP;
      parts.push(`<text class="group" x="0" y="${y}">${escapeXml(group.label)}</text>`);
      y += 6;
      for (const bar of group.bars) {
        const width = Math.max(1, ((WIDTH - LABEL_WIDTH - VALUE_WIDTH) * bar.value) / most);
        const middle = y + BAR_HEIGHT - 3;
        parts.push(
          `<text x="${LABEL_WIDTH - 8}" y="${middle}" text-anchor="end">${escapeXml(bar.label)}</text>`,
          `<rect class="${bar.bundled ? 'own' : 'other'}" x="${LABEL_WIDTH}" y="${y}" width="${width.toFixed(1)}" height="${BAR_HEIGHT}"/>`,
          `<text x="${(LABEL_WIDTH + width + 6).toFixed(1)}" y="${middle}">${threeFigures(bar.value)}</text>`,
        );
        y += BAR_STEP;
      }
    }
  }
  const title = `Attention engines measured on ${device}`;
  const description = panels
    .map((panel) => `${panel.title}, ${panel.unit}: ${panel.groups.map(groupText).join('; ')}.`)
    .join(' ');
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y + 12}" width="${WIDTH}" height="${y + 12}" role="img" aria-labelledby="title desc">`,
    `<title id="title">${escapeXml(title)}</title>`,
    `<desc id="desc">${escapeXml(description)}</desc>`,
    '<style>text{font:12px system-ui,sans-serif;fill:#57606a}.title{font-weight:600;font-size:15px}.group{font-weight:600}.own{fill:#0b7285}.other{fill:#8c959f}@media (prefers-color-scheme:dark){text{fill:#9da7b3}.own{fill:#3bc9db}.other{fill:#6e7681}}</style>',
    ...parts,
    '</svg>',
    '',
  ].join('\n');
}

function panelsOf(rows: readonly ResultRow[]): readonly Panel[] {
  return engineTables(rows).flatMap((table) =>
    table.layouts.flatMap((layout): Panel[] => {
      const groups = table.headSizes.flatMap((size) => groupsOf(table, size, layout));
      const mask = table.op === 'prefill' ? (table.causal ? ', causal' : ', full') : '';
      const title = `${table.op}${mask}, ${formatPageSize(layout)}`;
      // Contiguous and the page size that vLLM uses by itself; the table has the rest.
      return groups.length === 0 || (layout !== null && layout !== 16) ? [] : [{ title, unit: table.unit, groups }];
    }),
  );
}

/**
 * Bars of a head size, only of one case side by side: reports measure different shapes. First the case that most libraries ran, then
 * the one with most of the others, until each library is shown; of equal ones the first.
 */
function groupsOf(table: EngineTable, size: string, layout: number | null): readonly Group[] {
  const cases = new Map<string, { readonly asked: AttentionCase; readonly rows: Map<string, ResultRow> }>();
  for (const row of table.rows) {
    if (headDimText(row.case) !== size || row.case.pageSize !== layout) continue;
    if (row.result.status !== 'ok' || rateOf(row) === null) continue;
    const key = JSON.stringify(row.case);
    const own = cases.get(key) ?? { asked: row.case, rows: new Map<string, ResultRow>() };
    if (!own.rows.has(row.engine)) own.rows.set(row.engine, row);
    cases.set(key, own);
  }
  const missing = new Set([...cases.values()].flatMap((each) => [...each.rows.keys()]));
  missing.delete(BUNDLED_ENGINE);
  const news = (each: { readonly rows: ReadonlyMap<string, ResultRow> }): number =>
    [...each.rows.keys()].filter((engine) => missing.has(engine)).length;
  const groups: Group[] = [];
  while (missing.size > 0) {
    const [chosen] = [...cases.values()].sort((a, b) => news(b) - news(a));
    if (chosen === undefined) break;
    for (const engine of chosen.rows.keys()) missing.delete(engine);
    const bars = table.engines.flatMap((engine) => chosen.rows.get(engine) ?? []).map(barOf);
    groups.push({ label: `Head size ${size}: ${shapeText(chosen.asked)}`, bars });
  }
  return groups;
}

function barOf(row: ResultRow): Bar {
  return { label: engineLabel(row.engine), value: rateOf(row) ?? 0, bundled: row.engine === BUNDLED_ENGINE };
}

/** `32/8 heads, batch 4, q 4k, kv 4k`; of a decode step the keys only. */
function shapeText({ op, qHeads, kvHeads, batch, qLens, kvLens }: AttentionCase): string {
  const q = op === 'prefill' ? [`q ${formatLengths(qLens)}`] : [];
  return [`${qHeads}/${kvHeads} heads`, `batch ${batch}`, ...q, `kv ${formatLengths(kvLens)}`].join(', ');
}

function groupText({ label, bars }: Group): string {
  return `${label}: ${bars.map((bar) => `${bar.label} ${threeFigures(bar.value)}`).join(', ')}`;
}

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
