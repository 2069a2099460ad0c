/** What two reports side by side amount to: one verdict for command line and editor. */
import { sentences, plural } from '../format';
import { isCompared, isRegression, type RowComparison } from '../measure/benchStats';
import type { Report } from './report';

/** The verdict, with what it rests on. */
export interface ComparisonVerdict {
  /** Nothing regressed, and there was something to compare in a second report that is complete. */
  readonly passed: boolean;
  readonly regressions: number;
  /** Pairs that were judged; the others say nothing. */
  readonly compared: number;
  /** Rows of the first report that the second does not have. */
  readonly missing: number;
  /** The verdict in sentences. */
  readonly text: string;
}

/**
 * Judges a comparison. Without a single judged pair there is no "no regression", nor with a second report that ended early.
 * @param failure why the second report ended early; `null` = it did not
 */
export function comparisonVerdict(
  comparisons: readonly RowComparison[],
  failure: Report['failure'],
): ComparisonVerdict {
  const count = (counts: (each: RowComparison) => boolean): number => comparisons.filter(counts).length;
  const regressions = count(({ change }) => isRegression(change));
  const compared = count(({ change }) => isCompared(change));
  const missing = count(({ change }) => change === 'onlyBefore');
  const unjudged = count(({ change }) => change === 'notComparable');
  const rows = plural(compared, 'compared row');
  return {
    passed: regressions === 0 && compared > 0 && failure === null,
    regressions,
    compared,
    missing,
    text: sentences(
      failure === null ? '' : `The second report ended early: ${failure.text}`,
      compared === 0
        ? 'Nothing could be compared.'
        : regressions === 0
          ? `No regression in ${rows}.`
          : `${regressions} of ${rows} became slower or broke.`,
      missing === 0 ? '' : `${plural(missing, 'row')} ${missing === 1 ? 'is' : 'are'} missing in the second report.`,
      unjudged === 0 ? '' : `${plural(unjudged, 'pair')} could not be judged.`,
    ),
  };
}
