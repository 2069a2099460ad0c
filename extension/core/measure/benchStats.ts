/** Comparing two reports without taking noise for news. */
import type { CaseResult, ResultRow } from '../attentionCase';

/** A median must move by more than this share, and the p10–p90 bands must not touch, before it counts. */
export const NOISE_SHARE = 0.05;

/** What became of a case between two reports. */
export type Change =
  | 'faster'
  | 'slower'
  | 'same'
  /** Did not end `ok` before and does now. */
  | 'fixed'
  /** Ended `ok` before and does not now. */
  | 'broken'
  /** Not `ok` in both, or a time that another process disturbed. */
  | 'notComparable'
  | 'onlyBefore'
  | 'onlyAfter';

/** One case in two reports. */
export interface RowComparison {
  readonly before: ResultRow | null;
  readonly after: ResultRow | null;
  readonly change: Change;
  /** Median time after ÷ before; below 1 is faster. `null` when one of them has no time. */
  readonly timeRatio: number | null;
}

/** Pairs rows of the same engine and case, whatever the device, in the order of `before`, new ones last. */
export function compareRows(
  before: readonly ResultRow[],
  after: readonly ResultRow[],
  noiseShare = NOISE_SHARE,
): RowComparison[] {
  const key = (row: ResultRow): string => JSON.stringify([row.engine, row.case]);
  const later = new Map(after.map((row) => [key(row), row]));
  const comparisons = before.map((row): RowComparison => {
    const match = later.get(key(row)) ?? null;
    later.delete(key(row));
    return compare(row, match, noiseShare);
  });
  return [...comparisons, ...[...later.values()].map((row) => compare(null, row, noiseShare))];
}

/** True for what an upgrade must not do. */
export function isRegression(change: Change): boolean {
  return change === 'slower' || change === 'broken';
}

function compare(before: ResultRow | null, after: ResultRow | null, noiseShare: number): RowComparison {
  if (before === null || after === null) {
    return { before, after, change: before === null ? 'onlyAfter' : 'onlyBefore', timeRatio: null };
  }
  const timeRatio = ratio(before.result, after.result);
  return { before, after, change: changeOf(before.result, after.result, timeRatio, noiseShare), timeRatio };
}

function ratio(before: CaseResult, after: CaseResult): number | null {
  if (before.gpuMs === null || after.gpuMs === null || before.gpuMs.median <= 0) return null;
  return after.gpuMs.median / before.gpuMs.median;
}

function changeOf(before: CaseResult, after: CaseResult, timeRatio: number | null, noiseShare: number): Change {
  if (before.status === 'ok' && after.status !== 'ok') return after.status === 'cancelled' ? 'notComparable' : 'broken';
  if (before.status !== 'ok' && after.status === 'ok') return before.status === 'cancelled' ? 'notComparable' : 'fixed';
  if (before.status !== 'ok' || before.contended || after.contended) return 'notComparable';
  // Both were checked only: right then, right now.
  if (timeRatio === null || before.gpuMs === null || after.gpuMs === null) return 'same';
  if (timeRatio > 1 + noiseShare && after.gpuMs.p10 > before.gpuMs.p90) return 'slower';
  if (timeRatio < 1 / (1 + noiseShare) && after.gpuMs.p90 < before.gpuMs.p10) return 'faster';
  return 'same';
}
