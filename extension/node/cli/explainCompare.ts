/** `attn-diag explain` over several SM families, or before and after an upgrade: the answers side by side. */
import type { GroupSelection } from '../../core/evaluation';
import { smFamily } from '../../core/facts';
import { NOT_KNOWN, textTable, wrap } from '../../core/format';
import { comparedRows, sameOutcome, whyDifferent, type ComparedColumn } from '../../core/rules/comparison';
import type { Finding } from '../../core/verdict';
import { selectionText, selectionFails } from '../../core/view/viewModelsWhatIf';
import { findingsText, listText } from './explainFindings';
import { paint, type CliIo } from './io';

const familyText = ({ capability }: ComparedColumn): string => {
  const { label, architecture } = smFamily(capability);
  return `${label} ${architecture}`;
};

/** Which rules were used for a column, when they are not exactly the release's. */
function caveats(columns: readonly ComparedColumn[]): readonly string[] {
  return [
    ...new Set(
      columns
        .filter(({ evaluation }) => evaluation.catalog.match !== 'exact')
        .map(({ evaluation: { catalog } }) => `vLLM ${catalog.requestedVersion}: rules of ${catalog.evaluatedAs}.`),
    ),
  ];
}

/** Collects what does not fit into a cell, as numbered notes below the table. */
class Notes {
  readonly #texts: string[] = [];

  mark(text: string): string {
    const at = this.#texts.indexOf(text);
    if (at < 0) this.#texts.push(text);
    return `[${at < 0 ? this.#texts.length : at + 1}]`;
  }

  lines(columns: number): string[] {
    return this.#texts.flatMap((text, index) =>
      wrap(`[${index + 1}] ${text.replaceAll('\n', ' ')}`, columns).map((line, row) =>
        row === 0 ? line : `    ${line}`,
      ),
    );
  }
}

function cellText(column: ComparedColumn, selection: GroupSelection | null, notes: Notes): string {
  if (selection === null) return 'no such layers';
  const block = selection.blockSize === null ? '' : `, block ${selection.blockSize}`;
  const unknown = selection.answer === 'unknown' ? selection.reasons.at(-1)?.text : undefined;
  const said = selection.error ?? unknown;
  const fails = selectionFails(column.evaluation, selection);
  return [
    `${selectionText(selection, 'none')}${block}`,
    ...(said === undefined ? [] : [notes.mark(said)]),
    ...(fails === null ? [] : [notes.mark(`likely fails: ${fails}`)]),
  ].join(' ');
}

/** Families as columns; where they do not fit beside each other, below each other per layer group. */
export function familiesText(title: string, columns: readonly ComparedColumn[], io: CliIo): string {
  const notes = new Notes();
  const rows = comparedRows(columns).map(({ layerGroup, selections }) => ({
    layerGroup,
    cells: columns.map((column, index) => cellText(column, selections[index] ?? null, notes)),
  }));
  const wide = textTable(
    [{ title: 'layer group' }, ...columns.map((column) => ({ title: familyText(column) }))],
    rows.map(({ layerGroup, cells }) => [layerGroup, ...cells]),
    io.columns,
  );
  const fits = wide.split('\n').every((line) => line.length <= io.columns);
  const table = fits
    ? wide
    : textTable(
        [{ title: 'layer group' }, { title: 'SM family' }, { title: 'selected' }],
        rows.flatMap(({ layerGroup, cells }) =>
          cells.map((cell, index) => {
            const column = columns[index];
            return [index === 0 ? layerGroup : '', column === undefined ? NOT_KNOWN : familyText(column), cell];
          }),
        ),
        io.columns,
      );
  return blocks(title, io, [table, ...notes.lines(io.columns)].join('\n'), familyFindings(columns, io), columns);
}

/** Every finding once, with the families that have it. */
function familyFindings(columns: readonly ComparedColumn[], io: CliIo): string {
  const found = new Map<string, { readonly finding: Finding; readonly families: string[] }>();
  for (const column of columns) {
    for (const finding of column.evaluation.findings) {
      const key = JSON.stringify([finding.id, finding.title]);
      const entry = found.get(key) ?? { finding, families: [] };
      found.set(key, entry);
      entry.families.push(smFamily(column.capability).label);
    }
  }
  return [...found.values()]
    .map(({ finding, families }) => {
      const where = families.length === columns.length ? '' : `${families.join(', ')}: `;
      return findingsText([{ ...finding, title: where + finding.title }], io);
    })
    .join('\n');
}

/** Before and after an upgrade, with the rules' reasons for each change. */
export function upgradeText(title: string, from: ComparedColumn, to: ComparedColumn, io: CliIo): string {
  const notes = new Notes();
  const table = textTable(
    [
      { title: 'layer group' },
      { title: `vLLM ${from.vllmVersion}` },
      { title: `vLLM ${to.vllmVersion}` },
      { title: 'why' },
    ],
    comparedRows([from, to]).map(({ layerGroup, selections: [before = null, after = null] }) => [
      layerGroup,
      cellText(from, before, notes),
      cellText(to, after, notes),
      sameOutcome(before, after)
        ? 'same'
        : `changed${whyDifferent(from.evaluation, to.evaluation, layerGroup)
            .map(({ text }, index) => `${index === 0 ? ': ' : '; '}${text.replaceAll('\n', ' ').replace(/\.$/, '')}`)
            .join('')}`,
    ]),
    io.columns,
  );
  const has = (column: ComparedColumn, { id }: Finding): boolean =>
    column.evaluation.findings.some((each) => each.id === id);
  const brings = to.evaluation.findings.filter((finding) => !has(from, finding));
  const stays = to.evaluation.findings.filter((finding) => has(from, finding));
  const solves = from.evaluation.findings.filter((finding) => !has(to, finding));
  const findings = [
    ...(brings.length === 0 ? [] : [`Comes with ${to.vllmVersion}:\n${findingsText(brings, io)}`]),
    ...(stays.length === 0 ? [] : [`Stays:\n${findingsText(stays, io)}`]),
    ...(solves.length === 0
      ? []
      : [
          listText(
            `Is gone with ${to.vllmVersion}:`,
            solves.map((finding) => `${finding.severity}: ${finding.title}`),
            io,
          ),
        ]),
  ];
  return blocks(title, io, [table, ...notes.lines(io.columns)].join('\n'), findings.join('\n\n'), [from, to]);
}

function blocks(title: string, io: CliIo, table: string, findings: string, columns: readonly ComparedColumn[]): string {
  const assumed = [...caveats(columns), ...new Set(columns.flatMap(({ evaluation }) => evaluation.assumptions))];
  return [
    wrap(title, io.columns)
      .map((line) => paint(io, 'strong', line))
      .join('\n'),
    table,
    findings,
    assumed.length === 0 ? '' : listText('Assumed:', assumed, io),
  ]
    .filter((block) => block !== '')
    .join('\n\n');
}
