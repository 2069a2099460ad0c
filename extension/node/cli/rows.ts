/** Result rows as a text table, and what they mean for the exit code. */
import type { AttentionCase, ResultRow, ResultStatus } from '../../core/attentionCase';
import { formatMs, formatPageSize, formatPercent, formatError, textTable } from '../../core/format';
import { rateText } from '../../core/measure/countedRate';
import { shortCaseText } from '../../core/measure/caseGrid';
import { BUNDLED_ENGINE } from '../../core/measure/engines';
import { EXIT, paint, type CliIo } from './io';

/** Statuses that make a command fail. `unsupported` is an answer, `cancelled` was asked for. */
const FAILED: ReadonlySet<ResultStatus> = new Set<ResultStatus>([
  'wrong',
  'failed',
  'timeout',
  'outOfMemory',
  'crashed',
]);

/** The table, narrow enough for 100 columns: shape, time, rate, ceiling share, errors, result with its reason. */
export function rowsText(rows: readonly ResultRow[], io: CliIo): string {
  if (rows.some((row) => row.engine !== BUNDLED_ENGINE)) return enginesText(rows, io);
  const table = textTable(
    [
      { title: 'case' },
      { title: 'KV' },
      { title: 'time', align: 'right' },
      { title: 'rate', align: 'right' },
      { title: 'ceiling', align: 'right' },
      { title: 'rel.err', align: 'right' },
      { title: 'LSE err', align: 'right' },
      { title: 'result' },
    ],
    rows.map((row) => cells(row)),
    io.columns,
  );
  return `${colourResults(table, io)}\n`;
}

/** The same with a line per engine below each case, with what a call costs the CPU and what its first one took to compile. */
function enginesText(rows: readonly ResultRow[], io: CliIo): string {
  let last = '';
  const lines = rows.map((row) => {
    const [shape = '', layout = '', time = '', rate = '', ceiling = '', error = '', lseError = '', result = ''] =
      cells(row);
    const title = `${shape} ${layout}`;
    const repeated = title === last;
    last = title;
    const { hostUs, jitMs } = row.result;
    return [
      repeated ? '' : title,
      row.engine,
      time,
      rate,
      ceiling,
      formatMs(hostUs === null ? null : hostUs / 1000),
      formatMs(jitMs),
      error,
      lseError,
      result,
    ];
  });
  const number = (title: string) => ({ title, align: 'right' }) as const;
  const table = textTable(
    [
      { title: 'case' },
      { title: 'engine' },
      number('time'),
      number('rate'),
      number('ceiling'),
      number('host'),
      number('first call'),
      number('rel.err'),
      number('LSE err'),
      { title: 'result' },
    ],
    lines,
    io.columns,
  );
  return `${colourResults(table, io)}\n`;
}

/** `contig` or `page 16`: narrow, as the tables of a terminal need it. */
export function layoutText({ pageSize }: AttentionCase): string {
  return pageSize === null ? 'contig' : formatPageSize(pageSize);
}

function cells(row: ResultRow): string[] {
  const { case: asked, result } = row;
  return [
    shortCaseText(asked),
    layoutText(asked),
    formatMs(result.gpuMs?.median ?? null),
    rateText(asked, result),
    formatPercent(result.percentOfCeiling),
    formatError(result.relError),
    formatError(result.lseError),
    result.status === 'ok'
      ? result.contended
        ? 'ok, contended'
        : 'ok'
      : `${result.status}${result.reason === null ? '' : `: ${result.reason.text}`}`,
  ];
}

function colourResults(table: string, io: CliIo): string {
  return table
    .replace(/ {2}(ok\b.*)$/gm, (_, text: string) => `  ${paint(io, 'good', text)}`)
    .replace(
      / {2}((?:wrong|failed|timeout|outOfMemory|crashed)\b.*)$/gm,
      (_, text: string) => `  ${paint(io, 'bad', text)}`,
    );
}

/** `14 ok, 2 unsupported`. */
export function tally(rows: readonly ResultRow[]): string {
  const counts = new Map<ResultStatus, number>();
  for (const row of rows) counts.set(row.result.status, (counts.get(row.result.status) ?? 0) + 1);
  return [...counts].map(([status, count]) => `${count} ${status}`).join(', ') || 'no rows';
}

/**
 * 0 when no row failed, else 1. A library that gives wrong results or crashes is a failed row like ours; one that refuses, or
 * is not there, is an answer.
 */
export function exitCodeOf(rows: readonly ResultRow[]): number {
  return rows.some((row) => FAILED.has(row.result.status)) ? EXIT.failed : EXIT.ok;
}
