/** About how much memory and time a run takes, to be said before it starts. */
import type { AttentionCase } from '../attentionCase';

/** What decides how long a case is timed. */
export interface EstimateOptions {
  readonly targetMs: number;
  readonly warmupMs: number;
  readonly checkOnly: boolean;
}

/** A context, the ceilings and the first kernel of a module; seconds. */
const START_SECONDS = 5;
/** Inputs, the reference and the comparison of one case; seconds. */
const CHECK_SECONDS = 0.5;
/** Every element of Q, K, V and O has 16 bits. */
const ELEMENT_BYTES = 2;

/** Bytes of Q, K, V and O of the largest case, which is what is allocated at a time. */
export function largestCaseBytes(cases: readonly AttentionCase[]): number {
  return Math.max(0, ...cases.map(caseBytes));
}

/** Rough seconds of a run that nothing disturbs; an order of magnitude, not a promise. */
export function aboutSeconds(caseCount: number, options: EstimateOptions): number {
  const timedSeconds = options.checkOnly ? 0 : (options.targetMs + options.warmupMs) / 1000;
  return Math.ceil(START_SECONDS + caseCount * (CHECK_SECONDS + timedSeconds));
}

function caseBytes(each: AttentionCase): number {
  const tokens = (lens: number | readonly number[]): number =>
    typeof lens === 'number' ? lens * each.batch : lens.reduce((sum, length) => sum + length, 0);
  const widths = each.headDim + each.headDimV;
  return ELEMENT_BYTES * widths * (tokens(each.qLens) * each.qHeads + tokens(each.kvLens) * each.kvHeads);
}
