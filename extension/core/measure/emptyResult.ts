/** The result of a case that did not get to measure anything. */
import type { CaseResult, ResultStatus } from '../attentionCase';

/** A result without figures: only the status and why. `code` is stable, `text` a plain sentence. */
export function emptyResult(status: ResultStatus, code: string, text: string): CaseResult {
  return {
    status,
    reason: { code, text },
    kernel: null,
    gpuMs: null,
    hostUs: null,
    tflops: null,
    tbps: null,
    percentOfCeiling: null,
    ceiling: null,
    relError: null,
    roundingFloor: null,
    lseError: null,
    checkedRows: 0,
    smClockMHz: null,
    jitMs: null,
    contended: false,
  };
}
