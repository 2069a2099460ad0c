/** `attn-diag compare`: did an upgrade, or another machine, change what works and how fast? */
import {
  compareRows,
  NOISE_SHARE,
  summarizeEngines,
  type EngineSummary,
  type RowComparison,
} from '../../core/measure/benchStats';
import { formatMs, formatPageSize, NOT_KNOWN, textTable } from '../../core/format';
import type { ResultRow } from '../../core/attentionCase';
import { comparisonVerdict } from '../../core/report/comparisonVerdict';
import { shortCaseText } from '../../core/measure/caseGrid';
import { readReportFile } from '../reportFile';
import { EXIT, paint, type Command } from './io';
import { readOptions, usage } from './options';

export const compareCommand: Command = {
  name: 'compare',
  summary: 'two reports side by side; fails when something became slower or broke',
  help: `usage: attn-diag compare BEFORE.json AFTER.json [options]

Pairs rows of the same engine and case, installed libraries included, and sums up each engine. A time counts as changed
when its median moved by more than the noise share and the p10–p90 bands do not touch; rows disturbed by another
process are not judged, nor are pairs of which only one was timed.

  --noise PERCENT      noise share (default ${NOISE_SHARE * 100})
  --json               print the comparison as JSON

Exit codes: 0 no regression, 1 something is slower or broken, nothing could be compared, the second report ended early,
or a report cannot be read, 2 usage`,
  async run(args, io) {
    const { values, positionals } = readOptions(
      args,
      { noise: { type: 'string' }, json: { type: 'boolean', default: false } },
      2,
    );
    const [beforeFile = '', afterFile = ''] = positionals;
    const noisePercent = Number(values.noise ?? NOISE_SHARE * 100);
    if (!(noisePercent >= 0 && noisePercent <= 100)) {
      throw usage(`--noise takes a percentage from 0 to 100, not "${values.noise ?? ''}".`);
    }
    const [before, after] = await Promise.all([readReportFile(beforeFile), readReportFile(afterFile)]);
    const comparisons = compareRows(before.rows, after.rows, noisePercent / 100);
    const { text, ...verdict } = comparisonVerdict(comparisons, after.failure);
    const engines = summarizeEngines(comparisons);
    if (values.json) {
      io.out(`${JSON.stringify({ noisePercent, ...verdict, verdict: text, engines, comparisons }, null, 2)}\n`);
    } else {
      io.out(`${comparisonText(comparisons, io.columns)}\n`);
      if (engines.length > 1) io.out(`${summaryText(engines, io.columns)}\n`);
      io.out(`${paint(io, verdict.passed ? 'good' : 'bad', text)}\n`);
    }
    return verdict.passed ? EXIT.ok : EXIT.failed;
  },
};

function comparisonText(comparisons: readonly RowComparison[], columns: number): string {
  return textTable(
    [
      { title: 'engine' },
      { title: 'case' },
      { title: 'KV' },
      { title: 'before', align: 'right' },
      { title: 'after', align: 'right' },
      { title: 'time', align: 'right' },
      { title: 'change' },
    ],
    comparisons.flatMap((each) => {
      const row = each.before ?? each.after;
      if (row === null) return [];
      return [
        [
          row.engine,
          shortCaseText(row.case),
          formatPageSize(row.case.pageSize),
          outcome(each.before),
          outcome(each.after),
          each.timeRatio === null ? NOT_KNOWN : `×${each.timeRatio.toFixed(2)}`,
          each.change,
        ],
      ];
    }),
    columns,
  );
}

/** One line per engine. */
function summaryText(engines: readonly EngineSummary[], columns: number): string {
  return textTable(
    [{ title: 'engine' }, { title: 'time, mean', align: 'right' }, { title: 'cases' }],
    engines.map(({ engine, changes, timeRatio }) => [
      engine,
      timeRatio === null ? NOT_KNOWN : `×${timeRatio.toFixed(2)}`,
      Object.entries(changes)
        .map(([change, count]) => `${count} ${change}`)
        .join(', '),
    ]),
    columns,
  );
}

function outcome(row: ResultRow | null): string {
  if (row === null) return NOT_KNOWN;
  return row.result.status === 'ok' ? formatMs(row.result.gpuMs?.median ?? null) : row.result.status;
}
