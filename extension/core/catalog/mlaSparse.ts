/**
 * Sparse (DSA) MLA decode backends: `v1/attention/backends/mla/*_sparse*.py`.
 */
import {
  exactly,
  headIn,
  kvBaseAnd,
  kvIn,
  majorIn,
  multipleOf,
  OK,
  refuse,
  YES,
  type BackendRow,
  type CombinationOutcome,
} from './backendRow';
import { flashAttnUnsupportedReason } from './flashAttnVersion';
import { flashAttnSupportsMla } from './mla';
import type { SelectorContext, SelectorQuery } from './query';
import { always, within } from './releases';
import { hasFlashInfer } from './trtllm';

const SPARSE_MLA = { mla: true, sparse: true, pcp: always(YES) } as const;

/** Python prints a missing attribute as `None`. */
const pythonValue = (value: number | undefined): string => (value === undefined ? 'None' : String(value));

/** How Python prints a `DeviceCapability`. */
const pythonCapability = ([major, minor]: readonly [number, number]): string =>
  `DeviceCapability(major=${major}, minor=${minor})`;

function flashMlaSparseCombination(query: SelectorQuery, context: SelectorContext): CombinationOutcome {
  const { release } = context;
  const kv = query.kvCacheDtype;
  if (within(release, '0.31.0') && query.headSize === 512) {
    const withDsMla = within(release, '0.32.0');
    const accepted = ['auto', 'bfloat16', 'float16', ...(withDsMla ? ['fp8_ds_mla'] : [])];
    if ((kv !== null && !accepted.includes(kv)) || context.capability[0] !== 9) {
      const dtypes = withDsMla ? 'bf16 or fp8_ds_mla' : 'bf16';
      return refuse(
        `FLASHMLA_SPARSE supports head_size 512 only with ${dtypes} kv-cache on SM90 (NoPE), got kv_cache_dtype=${kv ?? 'None'}, capability=${pythonCapability(context.capability)}`,
        'ML-7b',
      );
    }
    if (context.model !== null && (context.model.hfText.qkRopeHeadDim ?? 64) !== 0) {
      return refuse('FLASHMLA_SPARSE supports head_size 512 only for rope-free (NoPE) models', 'ML-7b');
    }
  }
  if (kv === 'nvfp4_ds_mla' && context.capability[0] !== 10) {
    return refuse('FLASHMLA_SPARSE only supports the nvfp4_ds_mla kv-cache dtype on SM100 (Blackwell)', 'ML-7c');
  }
  return OK;
}

/** FLASHMLA_SPARSE. */
export const FLASHMLA_SPARSE: BackendRow = {
  ...SPARSE_MLA,
  id: 'FLASHMLA_SPARSE',
  since: '0.11.1',
  file: 'v1/attention/backends/mla/flashmla_sparse.py',
  headSize: [
    { since: '0.11.1', value: headIn(576), rule: 'ML-7' },
    { since: '0.20.0', value: headIn(512, 576), rule: 'ML-7' },
    { since: '0.22.0', value: headIn(576), rule: 'ML-7' },
    { since: '0.31.0', value: headIn(576, 512), rule: 'ML-7b' },
  ],
  dtypes: always(['bfloat16'], 'ML-7'),
  kvCacheDtype: [
    { since: '0.11.1', value: kvIn('auto', 'fp8_ds_mla'), rule: 'ML-7' },
    { since: '0.15.0', value: kvIn('auto', 'bfloat16', 'fp8_ds_mla'), rule: 'ML-7' },
    { since: '0.18.0', value: kvIn('auto', 'bfloat16', 'fp8_ds_mla', 'fp8'), rule: 'ML-7' },
    { since: '0.30.0', value: kvIn('auto', 'bfloat16', 'fp8_ds_mla', 'fp8', 'nvfp4_ds_mla'), rule: 'ML-7' },
  ],
  blockSizes: [
    { since: '0.11.1', value: () => exactly(64), rule: 'ML-7' },
    { since: '0.32.0', value: () => [multipleOf(64)], rule: 'ML-7' },
  ],
  capability: always(majorIn(9, 10), 'ML-7'),
  dcp: always(YES),
  combination: [{ since: '0.30.0', value: flashMlaSparseCombination, rule: 'ML-7' }],
};

/** Shared by FLASHINFER_MLA_SPARSE and, after its own checks, FLASH_ATTN_MLA_SPARSE_FA4. */
function flashInferSparseCombination(id: string) {
  return (query: SelectorQuery, context: SelectorContext): CombinationOutcome => {
    const { release, model } = context;
    if (within(release, '0.30.0') && context.prefillContextParallelSize > 1 && context.decodeContextParallelSize > 1) {
      return refuse(
        `${id} does not support combined PCP+DCP; use FLASHMLA_SPARSE, which gathers each DCP KV shard before running the rank-local PCP prefill queries`,
        'ML-8c',
      );
    }
    if (within(release, '0.24.0') && query.kvCacheDtype === 'fp8_ds_mla') {
      return refuse(`${id} SM10 does not support fp8_ds_mla kv-cache dtype`, 'ML-8b');
    }
    if (model === null) {
      return OK;
    }
    const { qkNopeHeadDim: nope, qkRopeHeadDim: rope, kvLoraRank: rank } = model.hfText;
    if (within(release, '0.30.0')) {
      const missing =
        nope === undefined
          ? 'qk_nope_head_dim'
          : rope === undefined
            ? 'qk_rope_head_dim'
            : rank === undefined
              ? 'kv_lora_rank'
              : null;
      if (missing !== null) {
        return { kind: 'raises', text: `AttributeError: object has no attribute '${missing}'` };
      }
    }
    if (within(release, '0.30.0') && rope === 0) {
      if (nope !== 256 || rank !== 512) {
        return refuse(
          `FlashInfer native no-rope MLA requires qk_nope_head_dim=256 and kv_lora_rank=512, but got qk_nope_head_dim=${pythonValue(nope)}, kv_lora_rank=${pythonValue(rank)}`,
          'ML-8c',
        );
      }
    } else if (within(release, '0.19.0')) {
      if (nope !== 128 && nope !== 192) {
        return refuse(
          `FlashInfer MLA Sparse kernel requires qk_nope_head_dim in [128, 192], but got ${nope ?? 1}`,
          'ML-8',
        );
      }
    } else if (nope !== 128) {
      return refuse(`FlashInfer MLA Sparse kernel requires qk_nope_head_dim == 128, but got ${nope ?? 1}`, 'ML-8');
    }
    return model.hfText.indexTopk === undefined
      ? refuse('FlashInfer MLA Sparse requires model with index_topk config', 'ML-8')
      : OK;
  };
}

/** FLASHINFER_MLA_SPARSE (trtllm-gen on 10.x). */
export const FLASHINFER_MLA_SPARSE: BackendRow = {
  ...SPARSE_MLA,
  id: 'FLASHINFER_MLA_SPARSE',
  since: '0.17.0',
  file: 'v1/attention/backends/mla/flashinfer_mla_sparse.py',
  imports: [
    { since: '0.17.0', value: 'flashinfer' },
    { since: '0.24.0', value: null },
  ],
  headSize: [
    { since: '0.17.0', value: headIn(576), rule: 'ML-8' },
    { since: '0.30.0', value: headIn(512, 576), rule: 'ML-8' },
  ],
  kvCacheDtype: [
    { since: '0.17.0', value: kvIn('auto', 'bfloat16'), rule: 'ML-8' },
    { since: '0.18.0', value: kvIn('auto', 'float16', 'bfloat16', 'fp8', 'fp8_e4m3'), rule: 'ML-8' },
  ],
  blockSizes: [
    { since: '0.17.0', value: () => exactly(32, 64), rule: 'ML-8' },
    { since: '0.32.0', value: () => [multipleOf(32)], rule: 'ML-8' },
  ],
  capability: always(majorIn(10), 'ML-8'),
  dcp: always(YES),
  combination: always(flashInferSparseCombination('FLASHINFER_MLA_SPARSE')),
};

function sm120Combination(query: SelectorQuery, context: SelectorContext): CombinationOutcome {
  const kv = query.kvCacheDtype;
  if (!hasFlashInfer(context)) {
    return refuse("FLASHINFER_MLA_SPARSE_SM120 requires FlashInfer's sparse MLA decode API", 'ML-9');
  }
  if (query.dtype !== 'bfloat16') {
    return refuse('dtype not supported', 'ML-9');
  }
  if (kv !== null && !['auto', 'fp8', 'fp8_e4m3', 'fp8_ds_mla'].includes(kv)) {
    return refuse('kv_cache_dtype not supported', 'ML-9');
  }
  if (context.model === null) {
    return OK;
  }
  const { indexTopk } = context.model.hfText;
  if (indexTopk === undefined) {
    return refuse('FLASHINFER_MLA_SPARSE_SM120 requires a model with index_topk config', 'ML-9');
  }
  return indexTopk === 2048
    ? OK
    : refuse(`FLASHINFER_MLA_SPARSE_SM120 requires index_topk=2048; got ${indexTopk}`, 'ML-9');
}

/** FLASHINFER_MLA_SPARSE_SM120. */
export const FLASHINFER_MLA_SPARSE_SM120: BackendRow = {
  ...SPARSE_MLA,
  id: 'FLASHINFER_MLA_SPARSE_SM120',
  since: '0.24.0',
  file: 'v1/attention/backends/mla/flashinfer_mla_sparse.py',
  headSize: [
    { since: '0.24.0', value: headIn(576), rule: 'ML-9' },
    { since: '0.30.0', value: headIn(512, 576), rule: 'ML-9' },
  ],
  dtypes: always(['bfloat16'], 'ML-9'),
  kvCacheDtype: always(kvIn('auto', 'fp8', 'fp8_e4m3', 'fp8_ds_mla'), 'ML-9'),
  blockSizes: [
    { since: '0.24.0', value: () => exactly(64, 256), rule: 'ML-9' },
    { since: '0.32.0', value: () => [multipleOf(64)], rule: 'ML-9' },
  ],
  capability: always(majorIn(12), 'ML-9'),
  combination: always(sm120Combination),
};

function flashAttnSparseCombination(query: SelectorQuery, context: SelectorContext): CombinationOutcome {
  const kv = query.kvCacheDtype;
  if (kv !== null && !['auto', 'float16', 'bfloat16'].includes(kv)) {
    return refuse('FlashAttention MLA Sparse currently supports only FP16/BF16 KV cache', 'ML-10');
  }
  if (!flashAttnSupportsMla(context)) {
    return refuse('FlashAttention MLA not supported on this device', 'ML-10');
  }
  if (context.model === null) {
    return OK;
  }
  if (context.decodeContextParallelSize > 1) {
    return refuse('FlashAttention MLA Sparse does not support DCP for now', 'ML-10');
  }
  return context.model.hfText.indexTopk === undefined
    ? refuse('FlashAttention MLA Sparse requires model with index_topk', 'ML-10')
    : OK;
}

/** FLASH_ATTN_MLA_SPARSE (FA3 on 9.x). */
export const FLASH_ATTN_MLA_SPARSE: BackendRow = {
  ...SPARSE_MLA,
  id: 'FLASH_ATTN_MLA_SPARSE',
  since: '0.25.0',
  file: 'v1/attention/backends/mla/flashattn_mla_sparse.py',
  kvCacheDtype: kvBaseAnd(),
  blockSizes: [
    { since: '0.25.0', value: () => exactly(64), rule: 'ML-10' },
    { since: '0.32.0', value: () => [multipleOf(64)], rule: 'ML-10' },
  ],
  capability: always(majorIn(9), 'ML-10'),
  combination: always(flashAttnSparseCombination),
};

function sm90Combination(query: SelectorQuery, context: SelectorContext): CombinationOutcome {
  if (!hasFlashInfer(context)) {
    return refuse(
      'FLASHINFER_MLA_SPARSE_SM90 requires FlashInfer with SM90 MLA support (ckv_scale_arr in BatchMLAPagedAttentionWrapper.run, FlashInfer >= 0.6.18)',
      'ML-11',
    );
  }
  if (!query.useSparse) {
    return refuse('FLASHINFER_MLA_SPARSE_SM90 requires sparse MLA', 'ML-11');
  }
  if (context.model === null) {
    return OK;
  }
  const { kvLoraRank, qkRopeHeadDim } = context.model.hfText;
  if (kvLoraRank === undefined) {
    return { kind: 'raises', text: "AttributeError: object has no attribute 'kv_lora_rank'" };
  }
  if (kvLoraRank !== 512) {
    return refuse('FLASHINFER_MLA_SPARSE_SM90 requires kv_lora_rank=512', 'ML-11');
  }
  if (qkRopeHeadDim === undefined) {
    return { kind: 'raises', text: "AttributeError: object has no attribute 'qk_rope_head_dim'" };
  }
  return qkRopeHeadDim === 0 || qkRopeHeadDim === 64
    ? OK
    : refuse('FLASHINFER_MLA_SPARSE_SM90 requires qk_rope_head_dim in (0, 64)', 'ML-11');
}

/** FLASHINFER_MLA_SPARSE_SM90. */
export const FLASHINFER_MLA_SPARSE_SM90: BackendRow = {
  ...SPARSE_MLA,
  id: 'FLASHINFER_MLA_SPARSE_SM90',
  since: '0.30.0',
  file: 'v1/attention/backends/mla/flashinfer_mla_sparse_sm90.py',
  headSize: always(headIn(512, 576), 'ML-11'),
  dtypes: always(['bfloat16'], 'ML-11'),
  kvCacheDtype: always(kvIn('auto', 'bfloat16', 'fp8', 'fp8_e4m3'), 'ML-11'),
  blockSizes: always(() => [multipleOf(64)], 'ML-11'),
  capability: always(majorIn(9), 'ML-11'),
  combination: always(sm90Combination),
};

const sparseBase = flashInferSparseCombination('FLASH_ATTN_MLA_SPARSE_FA4');

function fa4SparseCombination(query: SelectorQuery, context: SelectorContext): CombinationOutcome {
  if (!hasFlashInfer(context)) {
    return refuse("FA4 sparse MLA runs its prefill batches on FlashInfer's kernel", 'ML-12');
  }
  const unsupported = flashAttnUnsupportedReason(4, context);
  if (unsupported !== null) {
    return refuse(`FA4 unavailable: ${unsupported}`, 'ML-12');
  }
  if (!context.libraries.fa4Importable) {
    return refuse('FA4 cute-DSL entry point failed to import: ', 'ML-12');
  }
  const { model } = context;
  if (model !== null) {
    const { indexTopk, kvLoraRank, qkRopeHeadDim } = model.hfText;
    if (indexTopk === undefined || indexTopk % 128 !== 0) {
      return refuse(`FA4 sparse MLA requires index_topk % 128 == 0, got ${pythonValue(indexTopk)}`, 'ML-12');
    }
    if (kvLoraRank !== 512 || qkRopeHeadDim !== 64) {
      return refuse(
        `FA4 sparse MLA requires (kv_lora_rank, qk_rope_head_dim) == (512, 64), got (${pythonValue(kvLoraRank)}, ${pythonValue(qkRopeHeadDim)})`,
        'ML-12',
      );
    }
    const dcp = context.decodeContextParallelSize;
    const headCounts = dcp > 1 ? [8, 16, 32, 64] : [8, 16, 32, 64, 128];
    if (!headCounts.includes(model.numAttentionHeads * dcp)) {
      return refuse(
        `FA4 sparse MLA requires (${headCounts.join(', ')}) gathered query heads, got num_heads=${model.numAttentionHeads} * dcp_size=${dcp}`,
        'ML-12',
      );
    }
  }
  return sparseBase(query, context);
}

/** FLASH_ATTN_MLA_SPARSE_FA4 (10.x). */
export const FLASH_ATTN_MLA_SPARSE_FA4: BackendRow = {
  ...SPARSE_MLA,
  id: 'FLASH_ATTN_MLA_SPARSE_FA4',
  since: '0.33.0',
  file: 'v1/attention/backends/mla/flashattn_mla_sparse.py',
  headSize: always(headIn(576), 'ML-12'),
  dtypes: always(['bfloat16'], 'ML-12'),
  kvCacheDtype: always(kvIn('auto', 'bfloat16'), 'ML-12'),
  blockSizes: always(() => [multipleOf(64)], 'ML-12'),
  capability: always(majorIn(10), 'ML-12'),
  dcp: always(YES),
  combination: always(fa4SparseCombination),
};
