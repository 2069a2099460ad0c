/**
 * Rounds: engines take turns case by case, so that clocks, heat and neighbours treat them alike. Here many rounds of a case
 * become one row, and the rounds of two engines become a ratio with its interval.
 */
import * as v from 'valibot';
import {
  attentionCaseSchema,
  type AttentionCase,
  type CaseResult,
  type Ceilings,
  type ResultRow,
} from '../attentionCase';
import { countedRate } from './countedRate';
import { BUNDLED_ENGINE } from './engines';
import { largest, largestErrors } from './largestErrors';

/** Fewer rounds give a ratio, but no 95 % interval to judge it by. */
export const ROUNDS_FOR_A_VERDICT = 7;

/** An engine beside the bundled kernel on one case. */
export const roundRatioSchema = v.object({
  engine: v.string(),
  deviceId: v.string(),
  case: attentionCaseSchema,
  /** Rounds in which both were timed. */
  rounds: v.number(),
  /** Median over the rounds of: time of the engine ÷ time of the bundled kernel. Above 1 the bundled kernel is faster. */
  ratio: v.number(),
  /** 95 % interval of that median; `null` = too few rounds. */
  interval: v.nullable(v.object({ low: v.number(), high: v.number() })),
});
export type RoundRatio = v.InferOutput<typeof roundRatioSchema>;

/** Median of numbers; NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? (sorted[middle] ?? Number.NaN)
    : ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2;
}

/**
 * A 95 % interval of the median from order statistics, without an assumption about the distribution: the k-th smallest and
 * k-th largest value, with the largest k for which P(fewer than k of n fair coins) ≤ 2.5 %. With 7 values that is the
 * smallest and the largest (98.4 %). `null` below 6 values, where no such interval exists.
 */
export function medianInterval(values: readonly number[]): { readonly low: number; readonly high: number } | null {
  const sorted = [...values].sort((a, b) => a - b);
  const n = sorted.length;
  let term = 0.5 ** n;
  let below = term;
  let k = 0;
  while (below <= 0.025) {
    k += 1;
    term *= (n - k + 1) / k;
    below += term;
  }
  const low = sorted[k - 1];
  const high = sorted[n - k];
  return low === undefined || high === undefined ? null : { low, high };
}

/**
 * The row of several rounds: any round that is not `ok` is the answer; else the round with the middle time, whole, with the
 * times of all rounds beside it and the largest errors of any. One round is itself. `checked` was compared before the rounds.
 */
export function rowOfRounds(rounds: readonly ResultRow[], checked: ResultRow | null = null): ResultRow | null {
  const [first] = rounds;
  if (first === undefined || rounds.length === 1) return first ?? null;
  const failed = rounds.find((row) => row.result.status !== 'ok');
  const roundMs = rounds.flatMap((row) => (row.result.gpuMs === null ? [] : [row.result.gpuMs.median]));
  if (failed !== undefined) return failed;
  const byTime = [...rounds].sort((a, b) => (a.result.gpuMs?.median ?? 0) - (b.result.gpuMs?.median ?? 0));
  const middle = byTime[(byTime.length - 1) >> 1] ?? first;
  const results = [...rounds, ...(checked === null ? [] : [checked])].map((row) => row.result);
  return {
    ...middle,
    result: {
      ...middle.result,
      ...largestErrors(results),
      checkedRows: largest(results.map((result) => result.checkedRows)) ?? 0,
      // What the first call compiled is not compiled again.
      jitMs: largest(results.map((result) => result.jitMs)),
      contended: rounds.some((row) => row.result.contended),
    },
    ...(roundMs.length > 1 ? { roundMs } : {}),
  };
}

/** The rows of one case together, cases in the order they first appear; within a case the order is kept. */
export function besideEachOther(rows: readonly ResultRow[]): readonly ResultRow[] {
  const groups = new Map<string, ResultRow[]>();
  for (const row of rows) {
    const key = JSON.stringify([row.deviceId, row.case]);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [row]);
    else group.push(row);
  }
  return [...groups.values()].flat();
}

/** One round of an engine on a case. */
export interface RoundTime {
  readonly engine: string;
  readonly caseIndex: number;
  readonly round: number;
  readonly row: ResultRow;
}

/** Ratios of every engine to the bundled kernel, from the rounds in which both were right and undisturbed. */
export function roundRatios(times: readonly RoundTime[]): RoundRatio[] {
  const key = (time: RoundTime): string => `${time.caseIndex}|${time.round}`;
  const bundled = new Map(
    times.filter((time) => time.engine === BUNDLED_ENGINE && counts(time.row)).map((time) => [key(time), time.row]),
  );
  const groups = new Map<string, { row: ResultRow; ratios: number[] }>();
  for (const time of times) {
    if (time.engine === BUNDLED_ENGINE || !counts(time.row)) continue;
    const base = bundled.get(key(time))?.result.gpuMs?.median ?? 0;
    const own = time.row.result.gpuMs?.median ?? 0;
    if (base <= 0 || own <= 0) continue;
    const id = `${time.engine}|${time.caseIndex}`;
    const group = groups.get(id) ?? { row: time.row, ratios: [] };
    group.ratios.push(own / base);
    groups.set(id, group);
  }
  return [...groups.values()].map(({ row, ratios }) => ({
    engine: row.engine,
    deviceId: row.deviceId,
    case: row.case,
    rounds: ratios.length,
    ratio: median(ratios),
    interval: ratios.length >= ROUNDS_FOR_A_VERDICT ? medianInterval(ratios) : null,
  }));
}

function counts(row: ResultRow): boolean {
  return row.result.status === 'ok' && !row.result.contended && row.result.gpuMs !== null;
}

/** A result with its share of the measured ceiling, where the engine did not state it itself. */
export function withCeilingShare(asked: AttentionCase, result: CaseResult, ceilings: Ceilings | null): CaseResult {
  if (result.percentOfCeiling !== null || ceilings === null) return result;
  const counted = countedRate(asked);
  const rate = result[counted];
  const [ceiling, name] =
    counted === 'tflops'
      ? ([ceilings.tensorCoreTflops, 'tensorCore'] as const)
      : ([ceilings.readStreamTbps, 'readStream'] as const);
  if (rate === null || ceiling === null || ceiling <= 0) return result;
  return { ...result, percentOfCeiling: (100 * rate) / ceiling, ceiling: name };
}
