/** Which of a result's two rates says how good it is, and against which measured ceiling: settled here for every place. */
import type { AttentionCase, CaseResult, ResultRow } from '../attentionCase';
import { formatRate } from '../format';

/**
 * Operations per byte of KV from which MLA decode is nearer to the tensor cores' ceiling than to memory's: an H200 reads 4.5
 * TB/s and multiplies 720 TFLOP/s. A constant, so that a case is counted alike whatever was measured beside it.
 * native/src/case_math.cc repeats it.
 */
const TENSOR_BOUND_FLOP_PER_BYTE = 160;

/**
 * Prefill is counted in operations, decode in bytes of KV. MLA decode can be either: all query heads share one KV head, so
 * 128 heads do 242 operations per byte and 16 heads 30.
 */
export function countedRate(asked: AttentionCase): 'tflops' | 'tbps' {
  if (asked.op !== 'mlaDecode') return asked.op === 'prefill' ? 'tflops' : 'tbps';
  const longest = typeof asked.qLens === 'number' ? asked.qLens : Math.max(0, ...asked.qLens);
  const rowBytes = asked.headDim * (asked.kvDtype === 'auto' ? 2 : 1);
  const flopPerByte = (2 * (asked.headDim + asked.headDimV) * asked.qHeads * longest) / rowBytes;
  return flopPerByte < TENSOR_BOUND_FLOP_PER_BYTE ? 'tbps' : 'tflops';
}

/** Unit of the rate that counts for a case. */
export function rateUnit(asked: AttentionCase): 'TFLOP/s' | 'TB/s' {
  return countedRate(asked) === 'tflops' ? 'TFLOP/s' : 'TB/s';
}

/** The rate that counts for a row, without a unit; `null` = not measured. */
export function rateOf({ case: asked, result }: ResultRow): number | null {
  return result[countedRate(asked)];
}

/** The rate that counts for a case: `584 TFLOP/s`, `3.92 TB/s`. `result` `null` = there is none. */
export function rateText(asked: AttentionCase, result: CaseResult | null): string {
  return formatRate(result?.[countedRate(asked)] ?? null, rateUnit(asked));
}
