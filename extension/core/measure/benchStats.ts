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
  /** Not `ok` in both, cancelled, a time on one side only, or one that another process disturbed. */
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

/** What became of one engine between two reports. */
export interface EngineSummary {
  readonly engine: string;
  /** How many of its cases changed how. */
  readonly changes: Readonly<Partial<Record<Change, number>>>;
  /** Geometric mean of time after ÷ before over its comparable cases; `null` = none has both times. */
  readonly timeRatio: number | null;
}

/** One summary per engine, in the order in which they first appear. */
export function summarizeEngines(comparisons: readonly RowComparison[]): EngineSummary[] {
  const groups = new Map<string, RowComparison[]>();
  for (const each of comparisons) {
    const engine = (each.before ?? each.after)?.engine;
    if (engine === undefined) continue;
    groups.set(engine, [...(groups.get(engine) ?? []), each]);
  }
  return [...groups].map(([engine, own]) => {
    const changes: Partial<Record<Change, number>> = {};
    for (const { change } of own) changes[change] = (changes[change] ?? 0) + 1;
    const logs = own.flatMap(({ change, timeRatio }) =>
      timeRatio === null || change === 'notComparable' ? [] : [Math.log(timeRatio)],
    );
    const mean = logs.reduce((sum, value) => sum + value, 0) / logs.length;
    return { engine, changes, timeRatio: logs.length === 0 ? null : Math.exp(mean) };
  });
}

/** True for a pair that says something; the other changes leave open what became of the case. */
export function isCompared(change: Change): boolean {
  return change !== 'notComparable' && change !== 'onlyBefore' && change !== 'onlyAfter';
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
  if (before.gpuMs === null && after.gpuMs === null) return 'same';
  if (timeRatio === null || before.gpuMs === null || after.gpuMs === null) return 'notComparable';
  if (timeRatio > 1 + noiseShare && after.gpuMs.p10 > before.gpuMs.p90) return 'slower';
  if (timeRatio < 1 / (1 + noiseShare) && after.gpuMs.p90 < before.gpuMs.p10) return 'faster';
  return 'same';
}
