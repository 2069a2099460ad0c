/**
 * What depends on the vLLM release when it reads a model's shape. Read from the released wheels:
 * `config/model.py` (to 0.13.0) and `transformers_utils/model_arch_config_convertor.py` (0.14.0 on).
 * Releases before 0.11.1 are read like it.
 */
import type { Release } from '../catalog/releases';
import { resolveRelease, within } from '../catalog/releases';

/** First and, when it ended, last release in which an entry holds (both inclusive). */
interface Since {
  readonly since: Release;
  readonly until?: Release;
}

/** `model_type` of the text config → releases that treat it as DeepSeek-style MLA when `kv_lora_rank` is set. */
const MLA_TYPES: Readonly<Record<string, Since>> = {
  deepseek_mtp: { since: '0.11.1' },
  deepseek_v2: { since: '0.11.1' },
  deepseek_v3: { since: '0.11.1' },
  deepseek_v32: { since: '0.11.1' },
  kimi_k2: { since: '0.11.1' },
  longcat_flash: { since: '0.11.1' },
  kimi_linear: { since: '0.11.1' },
  pangu_ultra_moe: { since: '0.11.1' },
  pangu_ultra_moe_mtp: { since: '0.11.1' },
  glm4_moe_lite: { since: '0.15.0' },
  glm4_moe_lite_mtp: { since: '0.15.0' },
  glm_moe_dsa: { since: '0.16.0' },
  AXK1: { since: '0.17.0', until: '0.25.1' },
  bailing_hybrid: { since: '0.17.0' },
  deepseek_v4: { since: '0.20.0' },
  bailing_hybrid_mtp: { since: '0.25.0' },
  axk1: { since: '0.26.0' },
  longcat_flash_ngram: { since: '0.26.0', until: '0.31.0' },
  k3_dspark: { since: '0.27.0' },
  bailing_hybrid_v3_mtp: { since: '0.28.0' },
  dots3_note: { since: '0.28.0' },
  hy_v4: { since: '0.29.0' },
  hy_v4_mtp: { since: '0.29.0' },
  deepseek_v41: { since: '0.30.0' },
  glm5_next: { since: '0.30.0' },
  glm5_next_text: { since: '0.30.0' },
};

/** `model_type` of the whole config → releases in which image spans attend in both directions. */
const MM_PREFIX_TYPES: Readonly<Record<string, Since>> = {
  gemma3: { since: '0.13.0' },
  paligemma: { since: '0.14.0' },
  molmo2: { since: '0.15.0' },
  bagel: { since: '0.18.0' },
  umm: { since: '0.20.0', until: '0.28.0' },
  moondream3: { since: '0.21.0' },
};

/** Types that are mm-prefix exactly when `use_bidirectional_attention` is `vision`. */
const VISION_BIDIRECTIONAL_TYPES: Readonly<Record<string, Since>> = {
  gemma4: { since: '0.20.0' },
  gemma4_text: { since: '0.20.0' },
  gemma4_unified: { since: '0.23.0' },
  gemma4_unified_text: { since: '0.23.0' },
  diffusion_gemma: { since: '0.31.0' },
  diffusion_gemma_text: { since: '0.24.0' },
};

/** Is `version` (a release, or a development build) the release `since` or a newer one? */
export function isAtLeast(version: string, since: Release): boolean {
  return within(resolveRelease(version).release, since);
}

function holds(table: Readonly<Record<string, Since>>, key: string, version: string): boolean {
  const entry = Object.hasOwn(table, key) ? table[key] : undefined;
  return entry !== undefined && within(resolveRelease(version).release, entry.since, entry.until);
}

/** Does this release take models of this text type for MLA models (given the low-rank fields)? */
export function isMlaType(modelType: string, version: string): boolean {
  return holds(MLA_TYPES, modelType, version);
}

/** Does any release take this text type for MLA? Tells "not yet" from "never". */
export function isMlaTypeInSomeRelease(modelType: string): boolean {
  return Object.hasOwn(MLA_TYPES, modelType);
}

/**
 * Do image spans attend in both directions (PrefixLM)? Off before 0.13.0. The root key `is_mm_prefix_lm` wins since
 * 0.17.0. Text-only serving clears it since 0.27.0; that depends on the serve settings and is left to the rules.
 */
export function isMmPrefix(
  version: string,
  modelType: string | null,
  isMmPrefixLm: boolean | null,
  useBidirectionalAttention: string | boolean | null,
): boolean {
  if (modelType !== null && holds(VISION_BIDIRECTIONAL_TYPES, modelType, version)) {
    return useBidirectionalAttention === 'vision';
  }
  if (isMmPrefixLm !== null && isAtLeast(version, '0.17.0')) return isMmPrefixLm;
  return modelType !== null && holds(MM_PREFIX_TYPES, modelType, version);
}
