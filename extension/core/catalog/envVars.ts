/**
 * Environment variables of attention: which releases read them, and what replaced them (`envs.py` of each release,
 * `config/attention.py` for the names of 0.13.0 on).
 */
import type { ServeSettings } from '../request';
import { within, type Release } from './releases';

/** A variable's life. */
export interface EnvVariable {
  readonly name: string;
  readonly since: Release;
  /** Last release that reads it; absent = still read. */
  readonly until?: Release;
  /** `attention_config` field that took over; `null` = none. */
  readonly replacedBy: string | null;
}

const moved = (name: string, replacedBy: string): EnvVariable => ({
  name,
  since: '0.11.1',
  until: '0.14.1',
  replacedBy,
});

/** Attention variables since 0.11.1. */
export const ENV_VARIABLES: readonly EnvVariable[] = [
  moved('VLLM_ATTENTION_BACKEND', 'backend'),
  moved('VLLM_FLASH_ATTN_VERSION', 'flash_attn_version'),
  moved('VLLM_USE_CUDNN_PREFILL', 'use_cudnn_prefill'),
  moved('VLLM_V1_USE_PREFILL_DECODE_ATTENTION', 'use_prefill_decode_attention'),
  moved('VLLM_USE_TRTLLM_ATTENTION', 'use_trtllm_attention'),
  moved('VLLM_FLASHINFER_DISABLE_Q_QUANTIZATION', 'disable_flashinfer_q_quantization'),
  moved('VLLM_DISABLE_FLASHINFER_PREFILL', 'disable_flashinfer_prefill'),
  moved('VLLM_FLASH_ATTN_MAX_NUM_SPLITS_FOR_CUDA_GRAPH', 'flash_attn_max_num_splits_for_cuda_graph'),
  moved('VLLM_USE_TRTLLM_RAGGED_DEEPSEEK_PREFILL', 'use_trtllm_ragged_deepseek_prefill'),
  { name: 'VLLM_MLA_DISABLE', since: '0.11.1', replacedBy: null },
  { name: 'VLLM_KV_CACHE_LAYOUT', since: '0.11.1', replacedBy: null },
  { name: 'VLLM_HAS_FLASHINFER_CUBIN', since: '0.11.1', replacedBy: null },
  { name: 'VLLM_BATCH_INVARIANT', since: '0.11.1', replacedBy: null },
];

/** What a release does with an attention variable. */
export type EnvEffect =
  | 'read'
  /** Overrides the configuration and prints a deprecation warning. */
  | 'deprecated'
  /** Not a word. */
  | 'ignored'
  /** "Unknown vLLM environment variable detected", or an error with --fail-on-environ-validation. */
  | 'unknownWarning'
  /** Not an attention variable of any release in the catalog. */
  | 'notCatalogued';

/** The variable's row; `undefined` = not an attention variable. */
export function findEnvVariable(name: string): EnvVariable | undefined {
  return ENV_VARIABLES.find((variable) => variable.name === name);
}

/** What a release does with a variable. */
export function envEffect(release: Release, name: string): EnvEffect {
  const variable = findEnvVariable(name);
  if (variable === undefined) {
    return 'notCatalogued';
  }
  if (within(release, variable.since, variable.until)) {
    return variable.replacedBy !== null && within(release, '0.13.0') ? 'deprecated' : 'read';
  }
  return within(release, '0.17.0') ? 'unknownWarning' : 'ignored';
}

/** How a release reads an on/off variable: a whole number other than 0. */
const isOn = (value: string): boolean => /^\s*[+-]?\d+\s*$/.test(value) && Number(value) !== 0;

/** What `--attention-backend` and `--attention-config` set. */
const ATTENTION_CONFIG: Pick<
  ServeSettings,
  'backend' | 'backendPerKind' | 'flashAttnVersion' | 'mlaPrefillBackend' | 'useNonCausal' | 'useTrtllmAttention'
> = {
  backend: null,
  backendPerKind: {},
  flashAttnVersion: null,
  mlaPrefillBackend: null,
  useNonCausal: false,
  useTrtllmAttention: null,
};

/**
 * Settings as a release sees them once its environment variables are applied (0.11.1–0.14.1: they override the
 * configuration). Later releases do not read them. Before 0.13.0 nothing else sets the attention configuration: its options
 * do not exist (attention-selection.md §1.2).
 */
export function applyEnvironment(
  release: Release,
  serve: ServeSettings,
  env: readonly { readonly name: string; readonly value: string | null }[],
): ServeSettings {
  let current = within(release, '0.13.0') ? serve : { ...serve, ...ATTENTION_CONFIG };
  for (const { name, value } of env) {
    const effect = envEffect(release, name);
    if (value === null || (effect !== 'read' && effect !== 'deprecated')) {
      continue;
    }
    if (name === 'VLLM_ATTENTION_BACKEND' && value !== '') {
      current = { ...current, backend: value };
    } else if (name === 'VLLM_FLASH_ATTN_VERSION' && /^\d+$/.test(value)) {
      current = { ...current, flashAttnVersion: Number(value) };
    } else if (name === 'VLLM_USE_TRTLLM_ATTENTION' && value !== '') {
      current = { ...current, useTrtllmAttention: isOn(value) };
    }
  }
  return current;
}
