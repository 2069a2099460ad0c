/** What an installed library's runner says about a case, held against what can be true. */
import type { CaseResult, Timing } from '../attentionCase';
import { emptyResult } from './emptyResult';

/**
 * The result as it may be shown. `ok` needs rows that were compared, an error that is a number and, unless only checking was
 * asked for, times that are positive and in order; anything else is `failed`. A row that is not `ok` carries no time.
 */
export function soundResult(result: CaseResult, checkOnly: boolean): CaseResult {
  if (result.status !== 'ok') {
    return { ...result, gpuMs: null, hostUs: null, tflops: null, tbps: null, percentOfCeiling: null, ceiling: null };
  }
  const problem = implausible(result, checkOnly);
  return problem === null
    ? result
    : emptyResult('failed', 'implausible', `It called the case right, but ${problem}; nothing of it is shown.`);
}

function implausible(result: CaseResult, checkOnly: boolean): string | null {
  if (result.checkedRows <= 0) return 'it compared no rows with the reference';
  const figures = [
    result.relError,
    result.roundingFloor,
    result.lseError,
    result.hostUs,
    result.tflops,
    result.tbps,
    result.percentOfCeiling,
    result.jitMs,
  ];
  if (result.relError === null) return 'it states no error against the reference';
  if (figures.some((value) => value !== null && !(Number.isFinite(value) && value >= 0))) {
    return 'one of its figures is not a number that can be measured';
  }
  if (checkOnly) return null;
  if (result.gpuMs === null) return 'it states no time';
  return plausibleTiming(result.gpuMs) ? null : 'its times are not positive numbers in order';
}

function plausibleTiming({ median, p10, p90 }: Timing): boolean {
  return [median, p10, p90].every((value) => Number.isFinite(value) && value > 0) && p10 <= median && median <= p90;
}
