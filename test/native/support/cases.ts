/** Ready-made cases and options for tests of the addon. */
import type { AttentionCase } from '../../../extension/core/attentionCase';
import { DEFAULT_RUN_OPTIONS, type RunOptions } from '../../../extension/protocol/helperApi';

/** A small valid prefill case; `changes` override fields. */
export function makeCase(changes: Partial<AttentionCase> = {}): AttentionCase {
  return {
    op: 'prefill',
    dtype: 'bf16',
    kvDtype: 'auto',
    kvScale: 1,
    headDim: 64,
    headDimV: changes.headDim ?? 64,
    qHeads: 2,
    kvHeads: 1,
    batch: 1,
    qLens: 40,
    kvLens: 100,
    causal: true,
    window: null,
    softcap: 0,
    sinks: false,
    kvLayout: 'NHD',
    pageSize: null,
    lse: true,
    seed: 7,
    ...changes,
  };
}

/** Every row checked and next to no time spent on timing; `changes` override fields. */
export function makeOptions(changes: Partial<RunOptions> = {}): RunOptions {
  return { ...DEFAULT_RUN_OPTIONS, targetMs: 5, warmupMs: 0, checkRows: 'all', ...changes };
}
