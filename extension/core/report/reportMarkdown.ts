/** A report's measurements as Markdown, for the README and for bug reports. */
import type { ResultRow } from '../attentionCase';
import { formatError, formatLengths, formatPageSize, formatPercent, formatRate, NOT_KNOWN } from '../format';
import { rateText } from '../measure/countedRate';
import { largestErrors, type Errors } from '../measure/largestErrors';
import { headDimText } from '../measure/caseGrid';
import type { Report } from './report';

/** One line for a report whose rows are too many to list, like a self-test: where, how many ended how, the largest errors. */
export function reportTallyMarkdown(report: Report): string {
  const counts = new Map<string, number>();
  for (const { result } of report.rows) counts.set(result.status, (counts.get(result.status) ?? 0) + 1);
  const tally = [...counts].map(([status, count]) => `${count} ${status}`).join(', ') || 'no rows';
  return `${report.command}: ${report.rows.length} cases, ${tally}${largestErrorsText(report.rows)}. ${reportSummary(report)}`;
}

/** `; largest relative error 2.3e-3, of the log-sum-exp 1.9e-6`, as the end of a sentence; empty where nothing was compared. */
export function largestErrorsText(rows: readonly ResultRow[]): string {
  const { relError, lseError } = largestErrors(rows.map((row) => row.result));
  if (relError === null) return '';
  const lse = lseError === null ? '' : `, of the log-sum-exp ${formatError(lseError)}`;
  return `; largest relative error ${formatError(relError)}${lse}`;
}

/** The last columns of a table row: the largest errors of what it tells of. */
export const ERROR_COLUMNS = ['rel. error', 'LSE error'];
export function errorCells(results: readonly Errors[]): string[] {
  const { relError, lseError } = largestErrors(results);
  return [formatError(relError), formatError(lseError)];
}

/** Where, with which driver and kernels, and when. */
export function reportSummary(report: Report): string {
  const deviceIds = new Set(report.rows.map((row) => row.deviceId));
  const devices = (report.facts?.devices ?? []).filter((device) => deviceIds.has(device.id));
  const names =
    devices
      .map((device) => (device.kind === 'cpu' ? `${device.name} (CPU reference device)` : device.name))
      .join(', ') || 'unknown device';
  const day = new Date(report.createdAtMs).toISOString().slice(0, 10);
  const driver = report.facts?.driverVersion ?? null;
  const hash = report.facts?.kernelBuild?.hash;
  const ceilings = report.ceilings
    .filter((each) => deviceIds.has(each.deviceId))
    .map(({ ceilings: each }) =>
      [
        ...(each.tensorCoreTflops === null ? [] : [`tensor cores ${formatRate(each.tensorCoreTflops, 'TFLOP/s')}`]),
        ...(each.readStreamTbps === null ? [] : [`read stream ${formatRate(each.readStreamTbps, 'TB/s')}`]),
      ].join(', '),
    )
    .filter((each) => each !== '');
  return [
    `Measured on ${names}`,
    ...(driver === null ? [] : [`driver ${driver}`]),
    day,
    ...(hash === undefined ? [] : [`kernels \`${hash.slice(0, 12)}\``]),
    ...(ceilings.length === 0 ? [] : [`measured ceilings: ${ceilings.join('; ')}`]),
  ].join(' · ');
}

/** A table row per case. What differs in nothing but the page layout shares it, so that what paging costs can be read across; what is not `ok` says why. */
export function rowsMarkdown(rows: readonly ResultRow[]): string {
  const layouts = [...new Set(rows.map((row) => row.case.pageSize))].sort((a, b) => (a ?? 0) - (b ?? 0));
  const groups = new Map<string, ResultRow[]>();
  for (const row of rows) {
    const key = caseCells(row).join('|');
    groups.set(key, [...(groups.get(key) ?? []), row]);
  }
  const lines = [...groups.values()].map((group): string[] => {
    const first = group[0] as ResultRow;
    const kernels = new Set(
      group.flatMap(({ result }) => (result.kernel === null ? [] : [`\`${result.kernel.name}\``])),
    );
    return [
      ...caseCells(first),
      ...layouts.map((layout) => {
        const cells = group.filter((row) => row.case.pageSize === layout).map(resultCell);
        return cells.length === 0 ? '' : cells.join(' / ');
      }),
      ...errorCells(group.map((row) => row.result)),
      [...kernels].join(', ') || NOT_KNOWN,
    ];
  });
  return [
    ['step', 'head', 'heads q/kv', 'lengths', ...layouts.map(formatPageSize), ...ERROR_COLUMNS, 'kernel'],
    ['---', '---:', '---:', '---', ...layouts.map(() => '---:'), ...ERROR_COLUMNS.map(() => '---:'), '---'],
    ...lines,
  ]
    .map((row) => `| ${row.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`)
    .join('\n');
}

/** What was asked, page layout aside. */
export function caseCells({ case: asked }: Pick<ResultRow, 'case'>): string[] {
  return [
    asked.op,
    headDimText(asked),
    `${asked.qHeads}/${asked.kvHeads}`,
    asked.op === 'prefill'
      ? `B ${asked.batch}, q ${formatLengths(asked.qLens)}, kv ${formatLengths(asked.kvLens)}${asked.causal ? ', causal' : ''}`
      : `B ${asked.batch}, kv ${formatLengths(asked.kvLens)}`,
  ];
}

/** Rate and share of the ceiling of a row that is `ok`; of any other why there is none. */
function resultCell({ case: asked, result }: ResultRow): string {
  if (result.status !== 'ok') return `${result.status}: ${result.reason?.text ?? ''}`;
  const share = result.percentOfCeiling === null ? '' : ` (${formatPercent(result.percentOfCeiling)})`;
  return `${rateText(asked, result)}${share}${result.contended ? ', contended' : ''}`;
}
