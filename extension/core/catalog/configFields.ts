/**
 * Fields of vLLM's `AttentionConfig` by release, and what a release does with one it does not have
 * (`config/attention.py`).
 */
import type { SelectorQuery } from './query';
import { within, type Release } from './releases';

interface ConfigField {
  readonly name: string;
  readonly since: Release;
  readonly until?: Release;
}

const FIELDS: readonly ConfigField[] = [
  { name: 'backend', since: '0.13.0' },
  { name: 'flash_attn_version', since: '0.13.0' },
  { name: 'use_prefill_decode_attention', since: '0.13.0', until: '0.28.0' },
  { name: 'flash_attn_max_num_splits_for_cuda_graph', since: '0.13.0' },
  { name: 'use_cudnn_prefill', since: '0.13.0', until: '0.21.0' },
  { name: 'use_trtllm_ragged_deepseek_prefill', since: '0.13.0', until: '0.21.0' },
  { name: 'use_trtllm_attention', since: '0.13.0' },
  { name: 'disable_flashinfer_prefill', since: '0.13.0', until: '0.21.0' },
  { name: 'disable_flashinfer_q_quantization', since: '0.13.0' },
  { name: 'use_prefill_query_quantization', since: '0.17.0' },
  { name: 'tq_max_kv_splits_for_cuda_graph', since: '0.20.0' },
  { name: 'use_fp4_indexer_cache', since: '0.20.0', until: '0.29.0' },
  { name: 'mla_prefill_backend', since: '0.21.0' },
  { name: 'use_non_causal', since: '0.21.0' },
  { name: 'flex_attn_block_m', since: '0.22.0' },
  { name: 'flex_attn_block_n', since: '0.22.0' },
  { name: 'flex_attn_q_block_size', since: '0.22.0' },
  { name: 'flex_attn_kv_block_size', since: '0.22.0' },
  { name: 'indexer_kv_dtype', since: '0.24.0' },
  { name: 'backend_per_kind', since: '0.26.0' },
  { name: 'sparse_mla_force_mqa', since: '0.26.0' },
  { name: 'minimax_m3_msa_decode_backend', since: '0.27.0' },
  { name: 'hisparse_config', since: '0.30.0' },
  { name: 'indexer_sparse_logits', since: '0.31.0' },
  { name: 'tokenspeed_mla_min_split_kv', since: '0.32.0' },
  { name: 'sparse_mla_prefill_workspace_factor', since: '0.32.0' },
  { name: 'trtllm_ragged_backend', since: '0.33.0' },
  { name: 'indexer_tp_shard_min_rows', since: '0.33.0' },
  { name: 'minimax_m3_indexer_cp', since: '0.33.0' },
];

/** Fields a release declares; empty up to 0.12.0, which has no such class. */
export function attentionConfigFields(release: Release): readonly string[] {
  return FIELDS.filter((field) => within(release, field.since, field.until)).map((field) => field.name);
}

/** Releases that declare a field; `null` = none does. */
export function fieldSpan(name: string): { readonly since: Release; readonly until: Release | null } | null {
  const found = FIELDS.find((field) => field.name === name);
  return found === undefined ? null : { since: found.since, until: found.until ?? null };
}

/** What passing a field does in a release. */
export type FieldEffect =
  /** Declared. */
  | 'declared'
  /** Accepted and dropped without a word. */
  | 'ignored'
  /** Start-up stops with a validation error. */
  | 'aborts'
  /** There is no attention config to pass it to. */
  | 'noConfigClass';

/** What a release does with a field of `--attention-config` (CFG-1, CFG-2). */
export function fieldEffect(release: Release, name: string): FieldEffect {
  if (!within(release, '0.13.0')) {
    return 'noConfigClass';
  }
  if (attentionConfigFields(release).includes(name)) {
    return 'declared';
  }
  return within(release, '0.16.0') ? 'aborts' : 'ignored';
}

/** Versions `flash_attn_version` may be; empty before the field existed as configuration. */
export function flashAttnVersionValues(release: Release): readonly number[] {
  if (!within(release, '0.13.0')) {
    return [];
  }
  return within(release, '0.17.0') ? [2, 3, 4] : [2, 3];
}

/** File of the class in a release. */
export function configSource(release: Release): string {
  return `vllm ${release} config/attention.py`;
}

/** Kinds that `backend_per_kind` accepts (`KVCacheSpecKind`). */
export const KV_CACHE_KINDS: readonly string[] = [
  'full_attention',
  'mla_attention',
  'sliding_window',
  'sliding_window_mla',
  'mamba',
  'chunked_local_attention',
  'sink_full_attention',
  'encoder_only_attention',
  'cross_attention',
  'unknown',
];

/** Kinds a layer can ever have when its backend is selected (`get_attn_spec_kind`); the other keys have no effect. */
export const MATCHABLE_KINDS: readonly string[] = [
  'full_attention',
  'mla_attention',
  'sliding_window',
  'sliding_window_mla',
  'encoder_only_attention',
  'cross_attention',
];

/** Kind of KV cache group a layer belongs to (`get_attn_spec_kind`, 0.26.0 on). */
export function attnSpecKind(query: Pick<SelectorQuery, 'useMla' | 'hasSlidingWindow' | 'attnType'>): string {
  if (query.attnType === 'encoder_only') {
    return 'encoder_only_attention';
  }
  if (query.attnType === 'encoder_decoder') {
    return 'cross_attention';
  }
  if (query.useMla) {
    return query.hasSlidingWindow ? 'sliding_window_mla' : 'mla_attention';
  }
  return query.hasSlidingWindow ? 'sliding_window' : 'full_attention';
}
