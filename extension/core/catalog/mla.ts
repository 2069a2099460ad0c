/**
 * Dense MLA decode backends: `v1/attention/backends/mla/`; the common base class is in
 * `model_executor/layers/attention/mla_attention.py`.
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
  type Rule,
} from './backendRow';
import { isFlashAttnSupported } from './flashAttnVersion';
import { isFamily, type SelectorContext, type SelectorQuery } from './query';
import { always, within, type Steps } from './releases';

/** Head sizes of `MLACommonBackend`. */
const mlaHeads: Steps<Rule> = [
  { since: '0.11.1', value: headIn(576) },
  { since: '0.18.0', value: headIn(320, 576) },
  { since: '0.30.0', value: headIn(320, 512, 576) },
];

/** What all dense MLA backends share. */
const DENSE_MLA = { headSize: mlaHeads, mla: true, pcp: always(YES), dcp: always(YES) } as const;

/** `flash_attn_supports_mla`. */
export function flashAttnSupportsMla(context: SelectorContext): boolean {
  return isFamily(context, 9) && isFlashAttnSupported(3, context);
}

/** Why FlashMLA cannot run; `null` = it can (`v1/attention/ops/flashmla.py`). */
export function flashMlaUnsupported(context: SelectorContext, sparse: boolean): string | null {
  if (!context.libraries.flashmla) {
    return 'vllm._flashmla_C is not available, likely was not compiled due to insufficient nvcc version or a supported arch was not in the list of target arches to compile for.';
  }
  if (!sparse) {
    return isFamily(context, 9) ? null : 'FlashMLA Dense is only supported on Hopper devices.';
  }
  if (isFamily(context, 9) || isFamily(context, 10)) {
    return null;
  }
  return within(context.release, '0.24.0')
    ? 'FlashMLA Sparse is only supported on Hopper and Blackwell DC devices.'
    : 'FlashMLA Sparse is only supported on Hopper and Blackwell devices.';
}

/** FLASH_ATTN_MLA: FA3 on 9.x. */
export const FLASH_ATTN_MLA: BackendRow = {
  ...DENSE_MLA,
  id: 'FLASH_ATTN_MLA',
  since: '0.11.1',
  file: 'v1/attention/backends/mla/flashattn_mla.py',
  kvCacheDtype: kvBaseAnd(),
  blockSizes: always(() => [multipleOf(16)], 'ML-1'),
  capability: always(majorIn(9), 'ML-1'),
  batchInvariant: always(YES),
  combination: always((_query, context) =>
    flashAttnSupportsMla(context) ? OK : refuse('FlashAttention MLA not supported on this device', 'ML-1'),
  ),
};

/** FLASHMLA. */
export const FLASHMLA: BackendRow = {
  ...DENSE_MLA,
  id: 'FLASHMLA',
  since: '0.11.1',
  file: 'v1/attention/backends/mla/flashmla.py',
  kvCacheDtype: kvBaseAnd('fp8', 'fp8_e4m3'),
  blockSizes: always(() => exactly(64), 'ML-2'),
  capability: always(majorIn(9, 10), 'ML-2'),
  combination: always((query, context) => {
    const reason = flashMlaUnsupported(context, query.useSparse);
    return reason === null ? OK : refuse(reason, 'ML-2');
  }),
};

/** CUTLASS_MLA. */
export const CUTLASS_MLA: BackendRow = {
  ...DENSE_MLA,
  id: 'CUTLASS_MLA',
  since: '0.11.1',
  file: 'v1/attention/backends/mla/cutlass_mla.py',
  kvCacheDtype: kvBaseAnd('fp8', 'fp8_e4m3'),
  blockSizes: always(() => exactly(128), 'ML-3'),
  capability: always(majorIn(10), 'ML-3'),
};

/** Test on `qk_nope_head_dim`; a config without the key counts as 1. */
function nopeIn(accepted: readonly number[], condition: string) {
  return (_query: SelectorQuery, context: SelectorContext): CombinationOutcome => {
    if (context.model === null) {
      return OK;
    }
    const nope = context.model.hfText.qkNopeHeadDim ?? 1;
    return accepted.includes(nope)
      ? OK
      : refuse(`FlashInfer MLA kernel requires qk_nope_head_dim ${condition}, but got ${nope}`, 'ML-4');
  };
}

/** FLASHINFER_MLA. */
export const FLASHINFER_MLA: BackendRow = {
  ...DENSE_MLA,
  id: 'FLASHINFER_MLA',
  since: '0.11.1',
  file: 'v1/attention/backends/mla/flashinfer_mla.py',
  imports: always('flashinfer'),
  kvCacheDtype: kvBaseAnd('fp8', 'fp8_e4m3'),
  blockSizes: always(() => exactly(32, 64), 'ML-4'),
  capability: always(majorIn(10), 'ML-4'),
  nonCausal: [{ since: '0.27.0', value: YES }],
  nonCausalDcp: always(YES),
  combination: [
    { since: '0.15.0', value: nopeIn([128], '== 128'), rule: 'ML-4' },
    { since: '0.18.0', value: nopeIn([64, 128], 'in [64, 128]'), rule: 'ML-4' },
    { since: '0.19.0', value: nopeIn([64, 128, 192], 'in [64, 128, 192]'), rule: 'ML-4' },
  ],
};

function tokenspeedCombination(_query: SelectorQuery, context: SelectorContext): CombinationOutcome {
  if (!context.libraries.tokenspeedMla) {
    return refuse('tokenspeed_mla package is not installed. Install it with: `uv pip install tokenspeed-mla`', 'ML-5');
  }
  if (context.model === null) {
    return OK;
  }
  const { qkNopeHeadDim: nope = 0, qkRopeHeadDim: rope = 0, vHeadDim: v = 0 } = context.model.hfText;
  return nope === 128 && rope === 64 && v === 128
    ? OK
    : refuse(
        `tokenspeed_mla requires DeepSeek R1 MLA dimensions (qk_nope_head_dim=128, qk_rope_head_dim=64, v_head_dim=128), got (${nope}, ${rope}, ${v})`,
        'ML-5',
      );
}

/** TOKENSPEED_MLA: FP8 KV only. */
export const TOKENSPEED_MLA: BackendRow = {
  ...DENSE_MLA,
  id: 'TOKENSPEED_MLA',
  since: '0.21.0',
  file: 'v1/attention/backends/mla/tokenspeed_mla.py',
  kvCacheDtype: always(kvIn('fp8', 'fp8_e4m3'), 'ML-5'),
  blockSizes: always(() => exactly(32, 64), 'ML-5'),
  capability: always(majorIn(10), 'ML-5'),
  nonCausal: [{ since: '0.28.0', value: YES }],
  nonCausalDcp: always(YES),
  combination: always(tokenspeedCombination),
};

/** TRITON_MLA. */
export const TRITON_MLA: BackendRow = {
  ...DENSE_MLA,
  id: 'TRITON_MLA',
  since: '0.11.1',
  file: 'v1/attention/backends/mla/triton_mla.py',
  headSize: [
    { since: '0.11.1', value: headIn(576), rule: 'ML-6' },
    { since: '0.18.0', value: YES, rule: 'ML-6' },
  ],
  kvCacheDtype: [
    { since: '0.11.1', value: kvIn('auto'), rule: 'ML-6' },
    { since: '0.15.0', value: kvIn('auto', 'bfloat16'), rule: 'ML-6' },
    { since: '0.18.0', value: kvIn('auto', 'float16', 'bfloat16', 'fp8', 'fp8_e4m3'), rule: 'ML-6' },
  ],
  blockSizes: [
    { since: '0.11.1', value: () => [multipleOf(1)], rule: 'ML-6' },
    { since: '0.18.0', value: () => [multipleOf(16)], rule: 'ML-6' },
  ],
  nonCausal: [{ since: '0.27.0', value: YES }],
  batchInvariant: always(YES),
};
