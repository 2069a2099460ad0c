/** A small valid case; the seed tells cases apart. */
import type { AttentionCase } from '../../../extension/core/attentionCase';

export function sampleCase(seed: number, changes: Partial<AttentionCase> = {}): AttentionCase {
  return {
    op: 'prefill',
    dtype: 'bf16',
    kvDtype: 'auto',
    kvScale: 1,
    headDim: 64,
    headDimV: 64,
    qHeads: 2,
    kvHeads: 1,
    batch: 1,
    qLens: 16,
    kvLens: 16,
    causal: true,
    window: null,
    softcap: 0,
    sinks: false,
    kvLayout: 'NHD',
    pageSize: null,
    lse: false,
    seed,
    ...changes,
  };
}
