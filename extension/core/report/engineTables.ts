/** A report with installed libraries as Markdown: per head size and page layout what is declared, and what was measured. */
import type { AttentionOp, ResultRow } from '../attentionCase';
import { NEWEST_RELEASE } from '../catalog/releases';
import type { MatrixCell } from '../evaluation';
import { formatPageSize, threeFigures } from '../format';
import { headDimText } from '../measure/caseGrid';
import { rateOf, rateUnit } from '../measure/countedRate';
import { BUNDLED_ENGINE, engineLabel, engineSubject } from '../measure/engines';
import { explain, rowsForm } from '../rules/explanation';
import type { Report } from './report';
import { ERROR_COLUMNS, errorCells } from './reportMarkdown';

/** The library's function has no argument for the case, so it was not asked. */
const NO_ARGUMENT = 'no argument';

/** One table: rows of one operation and mask. */
export interface EngineTable {
  readonly op: AttentionOp;
  readonly causal: boolean;
  readonly unit: 'TFLOP/s' | 'TB/s';
  /** In the order of the report. */
  readonly engines: readonly string[];
  /** `128`, or `192/128` where keys and values differ; ascending. */
  readonly headSizes: readonly string[];
  readonly layouts: readonly (number | null)[];
  readonly rows: readonly ResultRow[];
}

/** True for a report that measured installed libraries. */
export function hasEngines(report: Report): boolean {
  return report.rows.some((row) => row.engine !== BUNDLED_ENGINE);
}

/** The tables of a report: prefill with and without mask, decode, MLA decode by the rate that counts. */
export function engineTables(rows: readonly ResultRow[]): readonly EngineTable[] {
  const groups = new Map<string, ResultRow[]>();
  for (const row of rows) {
    // Of a decode step, whose queries see everything, the mask says nothing.
    const key = row.case.op === 'prefill' ? `prefill ${row.case.causal}` : `${row.case.op} ${rateUnit(row.case)}`;
    groups.set(key, [...(groups.get(key) ?? []), row]);
  }
  return [...groups.values()].flatMap((own) => {
    const first = own[0]?.case;
    if (first === undefined) return [];
    return [
      {
        op: first.op,
        causal: first.causal,
        unit: rateUnit(first),
        engines: unique(own.map((row) => row.engine)),
        headSizes: unique([...own].sort((a, b) => a.case.headDim - b.case.headDim).map((row) => headDimText(row.case))),
        layouts: unique(own.map((row) => row.case.pageSize)).sort((a, b) => (a ?? 0) - (b ?? 0)),
        rows: own,
      },
    ];
  });
}

/** All tables of a report, and the refusals in the libraries' own words. */
export function engineMarkdown(report: Report): string {
  const refusals = new Map<string, Set<string>>();
  const tables = engineTables(report.rows).map((table) => tableMarkdown(table, report, refusals));
  const words = [...refusals].map(([text, engines]) => `- ${[...engines].join(', ')}: ${text}`);
  return [
    `Each cell: what the rules of vLLM ${NEWEST_RELEASE} declare of the library / what a direct call did, with its time ÷ the bundled kernel's in the same rounds where it was measured so. – = nothing is declared, or it was not measured; ${NO_ARGUMENT} = the library’s function has none for it. The errors are the largest of the row; a log-sum-exp is compared where the call returns one.`,
    ...tables,
    ...(words.length === 0 ? [] : ['In the libraries’ own words:\n\n' + words.join('\n')]),
  ].join('\n\n');
}

function tableMarkdown(table: EngineTable, report: Report, refusals: Map<string, Set<string>>): string {
  const cells = declaredCells(table, report);
  const lines = table.engines
    .filter((engine) => isTold(table, cells, engine))
    .flatMap((engine) =>
      table.layouts.flatMap((layout) => {
        const texts = table.headSizes.map((size) => cellText(table, report, cells, engine, size, layout, refusals));
        const nothing = texts.every((text) => text.endsWith('/ –') || text === `– / ${NO_ARGUMENT}`);
        const measured = table.headSizes.flatMap((size) => rowOf(table, engine, size, layout)?.result ?? []);
        return nothing ? [] : [[engineLabel(engine), formatPageSize(layout), ...texts, ...errorCells(measured)]];
      }),
    );
  const mask = table.op === 'prefill' ? (table.causal ? ', causal' : ', full') : '';
  return [
    `**${table.op}${mask}, ${table.unit}**`,
    '',
    ...[
      ['engine', 'KV', ...table.headSizes.map((size) => `d${size}`), ...ERROR_COLUMNS],
      ['---', '---', ...table.headSizes.map(() => '---:'), ...ERROR_COLUMNS.map(() => '---:')],
      ...lines,
    ].map((row) => `| ${row.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`),
  ].join('\n');
}

/** Of an engine that did nothing of this kind, and of which nothing is declared, there is nothing to tell. */
function isTold(table: EngineTable, cells: ReadonlyMap<string, MatrixCell>, engine: string): boolean {
  const subject = engineSubject(engine, table.op);
  return (
    table.rows.some((row) => row.engine === engine && row.result.status !== 'unsupported') ||
    [...cells.keys()].some((key) => key.startsWith(`${subject}|`))
  );
}

function cellText(
  table: EngineTable,
  report: Report,
  cells: ReadonlyMap<string, MatrixCell>,
  engine: string,
  headSize: string,
  pageSize: number | null,
  refusals: Map<string, Set<string>>,
): string {
  const declared = cells.get(cellKey(engineSubject(engine, table.op), headSize, pageSize))?.works.answer ?? '–';
  const row = rowOf(table, engine, headSize, pageSize);
  if (row === null) return `${declared} / –`;
  const { status, reason } = row.result;
  if (status !== 'ok') {
    if (reason?.code === 'refusedByAdapter') return `${declared} / ${NO_ARGUMENT}`;
    const text = reason?.text ?? '';
    if (text !== '') refusals.set(text, (refusals.get(text) ?? new Set<string>()).add(engineLabel(engine)));
    return `${declared} / ${reason?.code === 'refusedByLibrary' ? 'refuses' : status}`;
  }
  const asked = JSON.stringify(row.case);
  const ratio = report.ratios?.find((each) => each.engine === engine && JSON.stringify(each.case) === asked);
  return `${declared} / ${rateFigure(row)}${ratio === undefined ? '' : `, ×${ratio.ratio.toFixed(2)}`}`;
}

/** Of several shapes the largest; figures of short runs are mostly launch overhead. */
function rowOf(table: EngineTable, engine: string, headSize: string, pageSize: number | null): ResultRow | null {
  const own = table.rows.filter(
    (row) => row.engine === engine && headDimText(row.case) === headSize && row.case.pageSize === pageSize,
  );
  return own.reduce<ResultRow | null>((best, row) => (best === null || work(row) > work(best) ? row : best), null);
}

/** Of a prefill the pairs of query and key, else the bytes read. */
function work({ case: asked }: ResultRow): number {
  const lengths = (lens: number | readonly number[]): readonly number[] =>
    typeof lens === 'number' ? new Array<number>(asked.batch).fill(lens) : lens;
  const queries = lengths(asked.qLens);
  const keys = lengths(asked.kvLens);
  return keys.reduce(
    (sum, length, index) =>
      sum + length * (asked.op === 'prefill' ? (queries[index] ?? 0) * asked.qHeads : asked.kvHeads),
    0,
  );
}

function rateFigure(row: ResultRow): string {
  const rate = rateOf(row);
  return rate === null ? 'ok' : threeFigures(rate);
}

function declaredCells(table: EngineTable, report: Report): ReadonlyMap<string, MatrixCell> {
  const first = table.rows[0];
  const device = report.facts?.devices.find((each) => each.id === first?.deviceId);
  const capability = device?.computeCapability ?? null;
  if (first === undefined || capability === null) return new Map();
  // The rules know one head size of keys and values, except for MLA, whose own backends they describe.
  const sizes = new Map(
    table.rows
      .filter((row) => row.case.headDim === row.case.headDimV || table.op === 'mlaDecode')
      .map((row) => [row.case.headDim, headDimText(row.case)]),
  );
  if (sizes.size === 0) return new Map();
  const { answer } = explain({
    vllmVersion: { value: NEWEST_RELEASE, setIn: 'user' },
    capability,
    form: rowsForm(first.case, [...sizes.keys()], [...table.layouts]),
    model: null,
    serve: null,
    environment: null,
    flag: 'off',
  });
  return new Map(
    answer.cells.map((cell) => [cellKey(cell.subject, sizes.get(cell.headDim) ?? '', cell.pageSize), cell]),
  );
}

function cellKey(subject: string, headSize: string, pageSize: number | null): string {
  return `${subject}|${headSize}|${pageSize ?? 'contiguous'}`;
}

function unique<T>(values: readonly T[]): T[] {
  return [...new Set(values)];
}
