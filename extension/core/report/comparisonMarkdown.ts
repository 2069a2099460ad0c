/** Two reports side by side as a Markdown document. */
import type { ResultRow } from '../attentionCase';
import { isRegression, type RowComparison } from '../measure/benchStats';
import { describeCase } from '../measure/caseGrid';
import { formatMs, NOT_KNOWN } from '../format';
import { comparisonVerdict } from './comparisonVerdict';
import type { Report } from './report';

/**
 * A heading, the verdict, and one table row per pair.
 * @param names what to call the two reports, older first
 * @param failure why the second report ended early; `null` = it did not
 */
export function comparisonMarkdown(
  names: readonly [string, string],
  comparisons: readonly RowComparison[],
  failure: Report['failure'],
): string {
  const cells = comparisons.map((each): string[] => {
    const row = each.before ?? each.after;
    return [
      row === null ? NOT_KNOWN : row.engine,
      row === null ? NOT_KNOWN : describeCase(row.case),
      outcome(each.before),
      outcome(each.after),
      each.timeRatio === null ? NOT_KNOWN : `×${each.timeRatio.toFixed(2)}`,
      isRegression(each.change) ? `**${each.change}**` : each.change,
    ];
  });
  return [
    `# ${escapeCell(names[0])} → ${escapeCell(names[1])}`,
    '',
    comparisonVerdict(comparisons, failure).text,
    '',
    ...[
      ['engine', 'case', 'before', 'after', 'time', 'change'],
      ['---', '---', '---:', '---:', '---:', '---'],
      ...cells,
    ].map((row) => `| ${row.map(escapeCell).join(' | ')} |`),
    '',
  ].join('\n');
}

function outcome(row: ResultRow | null): string {
  if (row === null) return NOT_KNOWN;
  return row.result.status === 'ok' ? formatMs(row.result.gpuMs?.median ?? null) : row.result.status;
}

function escapeCell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}
