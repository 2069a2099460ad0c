/**
 * What a release changes in the configuration before any layer is selected: forced backends and versions.
 */
import { isMmPrefix } from '../model/modelShapeReleases';
import type { Source } from '../verdict';
import { isFlashAttnSupported } from './flashAttnVersion';
import type { SelectorContext } from './query';
import { RELEASES, within } from './releases';

/** The part of the configuration that is rewritten. */
export interface RewritableConfig {
  /** `null` = automatic. */
  readonly backend: string | null;
  readonly flashAttnVersion: number | null;
}

/** A rewrite that happened. */
export interface Rewrite {
  readonly text: string;
  readonly source: Source;
}

/** What the rewrites look at besides the context. */
export interface RewriteFacts {
  readonly modelType: string | null;
  /** Distinct head sizes of the model's layers. */
  readonly headDims: readonly number[];
  readonly mla: boolean;
  readonly sparse: boolean;
  readonly cacheDtype: string;
}

/** Whether the model's own configuration class treats unequal head sizes (`models/config.py`, Gemma 4). */
export function isGemma4(modelType: string | null): boolean {
  return modelType !== null && /^gemma4/.test(modelType);
}

function gemma4(
  config: RewritableConfig,
  context: SelectorContext,
  facts: RewriteFacts,
): (Rewrite & RewritableConfig) | null {
  const { release } = context;
  const sizes = [...new Set(facts.headDims)];
  const largest = Math.max(...sizes);
  if (!within(release, '0.19.0') || !isGemma4(facts.modelType) || sizes.length < 2) {
    return null;
  }
  const source: Source = { where: `vllm ${release} model_executor/models/config.py`, ruleId: 'GEMMA-4' };
  const sizesText = sizes.join(' and ');
  const force = (text: string) => ({ ...config, backend: 'TRITON_ATTN', text, source });
  if (!within(release, '0.24.0')) {
    return config.backend === null && largest > 256
      ? force(`Gemma 4 with head sizes ${sizesText}: this release forces TRITON_ATTN on every GPU.`)
      : null;
  }
  if (isFlashAttnSupported(4, context) && largest <= 512) {
    if (config.flashAttnVersion !== null || (config.backend !== null && config.backend !== 'FLASH_ATTN')) {
      return null;
    }
    if (within(release, '0.31.0') && context.capability[0] === 9 && facts.cacheDtype.startsWith('fp8')) {
      return {
        ...config,
        text: `Gemma 4 with head sizes ${sizesText} and an FP8 KV cache: FA3 or FA4 is chosen per layer.`,
        source,
      };
    }
    return {
      ...config,
      flashAttnVersion: 4,
      text: `Gemma 4 with head sizes ${sizesText}: this release sets flash_attn_version to 4 for all layers.`,
      source,
    };
  }
  return config.backend === null
    ? force(`Gemma 4 with head sizes ${sizesText}: FA4 is not available on this device, TRITON_ATTN is forced.`)
    : null;
}

function packedKv(
  config: RewritableConfig,
  context: SelectorContext,
  facts: RewriteFacts,
): (Rewrite & RewritableConfig) | null {
  const { release } = context;
  const packed =
    (within(release, '0.20.0') && facts.cacheDtype.startsWith('turboquant_')) ||
    (within(release, '0.32.0') && facts.cacheDtype === 'ultraquant_4bit');
  if (!packed || (config.flashAttnVersion !== null && config.flashAttnVersion < 3)) {
    return null;
  }
  return {
    ...config,
    flashAttnVersion: 2,
    text: `KV cache dtype ${facts.cacheDtype} is not compatible with FlashAttention 3 or newer; flash_attn_version is set to 2.`,
    source: { where: `vllm ${release} engine/arg_utils.py`, ruleId: 'CFG-TQ' },
  };
}

function denseMlaOn10(
  config: RewritableConfig,
  context: SelectorContext,
  facts: RewriteFacts,
): (Rewrite & RewritableConfig) | null {
  const { release, capability } = context;
  if (within(release, '0.18.0') || !facts.mla || config.backend !== null) {
    return null;
  }
  const source: Source = { where: `vllm ${release} platforms/cuda.py`, ruleId: 'MLA-WRITE' };
  const write = (backend: string) => ({
    ...config,
    backend,
    text: `MLA on compute capability ${capability.join('.')}: this release writes ${backend} as if it were chosen, so nothing replaces it.`,
    source,
  });
  if (!within(release, '0.13.0')) {
    return capability[0] === 10 && capability[1] === 0 ? write('CUTLASS_MLA') : null;
  }
  if (capability[0] !== 10 || facts.sparse) {
    return null;
  }
  if (!within(release, '0.15.0')) {
    return write('CUTLASS_MLA');
  }
  return context.model?.hfText.qkNopeHeadDim === 128 ? write('FLASHINFER_MLA') : null;
}

/** Applies every rewrite of the release, in its order, and says which happened. */
export function rewriteConfig(
  config: RewritableConfig,
  context: SelectorContext,
  facts: RewriteFacts,
): { readonly config: RewritableConfig; readonly rewrites: readonly Rewrite[] } {
  const rewrites: Rewrite[] = [];
  let current = config;
  for (const rule of [packedKv, gemma4, denseMlaOn10]) {
    const changed = rule(current, { ...context, flashAttnVersion: current.flashAttnVersion }, facts);
    if (changed !== null) {
      current = { backend: changed.backend, flashAttnVersion: changed.flashAttnVersion };
      rewrites.push({ text: changed.text, source: changed.source });
    }
  }
  return { config: current, rewrites };
}

/**
 * Whether a release treats a model with image spans as mm-prefix. `asked` is what the model's shape says, which may have
 * been read for another release.
 */
export function usesMmPrefix(
  context: Pick<SelectorContext, 'release'>,
  modelType: string | null,
  asked: boolean,
  textOnly: boolean,
): boolean {
  const { release } = context;
  if (!asked || !within(release, '0.13.0') || (textOnly && within(release, '0.27.0'))) {
    return false;
  }
  const named = (version: string) => isMmPrefix(version, modelType, null, 'vision');
  return RELEASES.some(named) ? named(release) : isMmPrefix(release, modelType, true, null);
}
