/**
 * What the bundled kernels declare: head sizes, page sizes, operations and SM families, before anything runs.
 * Repeats native/src/case_validation.cc and kernel_registry.cc, which have the last word when a case runs.
 */
import { PAGE_SIZES, type AttentionOp } from '../attentionCase';
import { smFamily } from '../facts';
import type { Answer, VerdictReason } from '../verdict';

const MAX_HEAD_DIM = 512;
const MLA_HEAD_DIM = 576;

/** Whether a bundled kernel is there for this cell, and why not. `capability` `null` = the CPU device. */
export function bundledSupport(
  op: AttentionOp,
  headDim: number,
  pageSize: number | null,
  capability: readonly [number, number] | null,
): { readonly answer: Answer; readonly reasons: readonly VerdictReason[] } {
  const refusal = refuse(op, headDim, pageSize, capability);
  if (refusal !== null) return { answer: 'no', reasons: [refusal] };
  const where = capability === null ? 'the CPU reference device' : `${smFamily(capability).label}`;
  return {
    answer: 'yes',
    reasons: [reason('bundled', `A bundled kernel for ${where} takes this head size and page layout; run it to know.`)],
  };
}

function refuse(
  op: AttentionOp,
  headDim: number,
  pageSize: number | null,
  capability: readonly [number, number] | null,
): VerdictReason | null {
  if (capability !== null && capability[0] < 8) {
    return reason(
      'noBf16Mma',
      `Compute capability ${capability.join('.')} has no bf16 tensor-core instruction; the bundled kernels need 8.0 or newer.`,
    );
  }
  if (op === 'mlaDecode') {
    if (headDim !== MLA_HEAD_DIM) return reason('mlaShape', `MLA decode needs head size ${MLA_HEAD_DIM}.`);
    if (capability !== null && capability[0] !== 9) {
      return reason(
        'noKernelMlaDecode',
        `The bundled MLA decode kernel needs compute capability 9.0 (Hopper); this GPU has ${capability.join('.')}.`,
      );
    }
  } else if (headDim < 8 || headDim > MAX_HEAD_DIM || headDim % 8 !== 0) {
    return reason('headDim', `The bundled kernels take multiples of 8 from 8 to ${MAX_HEAD_DIM}.`);
  }
  if (pageSize !== null && !PAGE_SIZES.some((each) => each === pageSize)) {
    return reason('pageSize', `Page size ${pageSize} is not one of ${PAGE_SIZES.join(', ')} tokens.`);
  }
  return null;
}

function reason(code: string, text: string): VerdictReason {
  return { code, text, source: { where: 'bundled kernels' } };
}
