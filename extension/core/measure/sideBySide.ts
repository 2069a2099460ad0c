/** Two engines on the same cases: what `use_system_flash_attn` exchanges, or what a forced generation replaces. */
import type { AttentionCase, ResultRow } from '../attentionCase';

/** A time counts as longer above this share, and only when the p10–p90 bands do not touch. */
export const SLOWER_SHARE = 0.03;

/** Both on one case; at least one of them has a row. */
export interface Pair {
  readonly case: AttentionCase;
  readonly first: ResultRow | null;
  readonly second: ResultRow | null;
  /** Time of the second ÷ time of the first; `null` = one of them has none, or was disturbed. */
  readonly timeRatio: number | null;
}

/** The cases that either engine ran, in their order. */
export function sideBySide(rows: readonly ResultRow[], first: string, second: string): readonly Pair[] {
  const pairs = new Map<string, { case: AttentionCase; first: ResultRow | null; second: ResultRow | null }>();
  for (const row of rows) {
    if (row.engine !== first && row.engine !== second) continue;
    const key = JSON.stringify([row.deviceId, row.case]);
    const pair = pairs.get(key) ?? { case: row.case, first: null, second: null };
    pairs.set(key, row.engine === first ? { ...pair, first: row } : { ...pair, second: row });
  }
  return [...pairs.values()].map((pair) => ({ ...pair, timeRatio: timeRatio(pair.first, pair.second) }));
}

/** True when the second engine needed clearly more time than the first. */
export function secondIsSlower({ first, second, timeRatio: ratio }: Pair): boolean {
  const before = first?.result.gpuMs ?? null;
  const after = second?.result.gpuMs ?? null;
  return ratio !== null && ratio > 1 + SLOWER_SHARE && before !== null && after !== null && after.p10 > before.p90;
}

function timeRatio(first: ResultRow | null, second: ResultRow | null): number | null {
  if (first === null || second === null || first.result.contended || second.result.contended) return null;
  const [before, after] = [first.result.gpuMs?.median ?? 0, second.result.gpuMs?.median ?? 0];
  return before > 0 && after > 0 ? after / before : null;
}
