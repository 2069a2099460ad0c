/**
 * What a release changes in the configuration before any layer is selected: forced backends and versions.
 */
import { isMmPrefix } from '../model/modelShapeReleases';
import type { KvQuantization } from '../request';
import type { Source } from '../verdict';
import { isFlashAttnSupported } from './flashAttnVersion';
import type { SelectorContext } from './query';
import { RELEASES, within } from './releases';

/** The part of the configuration that is rewritten. */
export interface RewritableConfig {
  /** `null` = automatic. */
  readonly backend: string | null;
  readonly flashAttnVersion: number | null;
  /** `cache_config.cache_dtype`. */
  readonly cacheDtype: string;
  readonly useNonCausal: boolean;
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
  /** First entry of `architectures`; the key of vLLM's table of model rules. */
  readonly architecture: string | null;
  /** What the checkpoint says of its KV cache. */
  readonly kvQuantization: KvQuantization | null;
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
    if (within(release, '0.31.0') && context.capability[0] === 9 && config.cacheDtype.startsWith('fp8')) {
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

function packedKv(config: RewritableConfig, context: SelectorContext): (Rewrite & RewritableConfig) | null {
  const { release } = context;
  const packed =
    (within(release, '0.20.0') && config.cacheDtype.startsWith('turboquant_')) ||
    (within(release, '0.32.0') && config.cacheDtype === 'ultraquant_4bit');
  if (!packed || (config.flashAttnVersion !== null && config.flashAttnVersion < 3)) {
    return null;
  }
  return {
    ...config,
    flashAttnVersion: 2,
    text: `KV cache dtype ${config.cacheDtype} is not compatible with FlashAttention 3 or newer; flash_attn_version is set to 2.`,
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

/** `--kv-cache-dtype auto` with a checkpoint whose own configuration names a KV cache format. */
function checkpointKv(
  config: RewritableConfig,
  context: SelectorContext,
  facts: RewriteFacts,
): (Rewrite & RewritableConfig) | null {
  const { release } = context;
  const { kvQuantization: written, mla } = facts;
  if (written === null) {
    return null;
  }
  if (written.tool === 'modelopt') {
    const known = written.format === 'fp8' || (written.format === 'nvfp4' && within(release, '0.20.0'));
    if (config.cacheDtype !== 'auto' || !known || !within(release, '0.14.0')) {
      return null;
    }
    const cacheDtype = written.format === 'fp8' ? 'fp8_e4m3' : 'nvfp4';
    return {
      ...config,
      cacheDtype,
      text: `The checkpoint's quantization_config asks for a ${written.format} KV cache: kv_cache_dtype is ${cacheDtype}.`,
      source: { where: `vllm ${release} utils/torch_utils.py`, ruleId: 'KV-CHECKPOINT' },
    };
  }
  const overrules = !within(release, '0.22.0');
  if (
    mla ||
    !within(release, '0.15.0') ||
    config.cacheDtype === 'fp8' ||
    (!overrules && config.cacheDtype !== 'auto')
  ) {
    return null;
  }
  const file = within(release, '0.17.0') ? 'model_executor/layers/attention/attention.py' : 'attention/layer.py';
  return {
    ...config,
    cacheDtype: 'fp8',
    text: `The checkpoint's kv_cache_scheme makes the KV cache dtype fp8${overrules && config.cacheDtype !== 'auto' ? `, whatever is set (${config.cacheDtype})` : ''}.`,
    source: { where: `vllm ${release} ${file}`, ruleId: 'KV-CHECKPOINT' },
  };
}

/** KV cache dtypes that the configuration class of one model family settles (`models/config.py`). */
function familyKv(
  config: RewritableConfig,
  context: SelectorContext,
  facts: RewriteFacts,
): (Rewrite & RewritableConfig) | null {
  const { release, capability } = context;
  const { architecture } = facts;
  const settle = (cacheDtype: string, text: string) => ({
    ...config,
    cacheDtype,
    text,
    source: { where: `vllm ${release} model_executor/models/config.py`, ruleId: 'KV-FAMILY' },
  });
  if (architecture === 'DeepseekV32ForCausalLM') {
    if (config.cacheDtype.startsWith('fp8') && config.cacheDtype !== 'fp8_ds_mla' && !within(release, '0.18.0')) {
      return settle('fp8_ds_mla', 'DeepSeek V3.2 with an FP8 KV cache: this release uses its own format fp8_ds_mla.');
    }
    return config.cacheDtype === 'bfloat16'
      ? settle('auto', 'DeepSeek V3.2 with kv_cache_dtype bfloat16: this release sets it to auto.')
      : null;
  }
  const on10 = capability[0] === 10 && config.cacheDtype === 'auto';
  if (architecture === 'GlmMoeDsaForCausalLM' && on10 && within(release, '0.32.0')) {
    return settle('fp8_e4m3', 'GLM with sparse attention on 10.x: this release sets kv_cache_dtype to fp8_e4m3.');
  }
  if (/^Glm5NextFor(CausalLM|ConditionalGeneration)$/.test(architecture ?? '') && on10 && facts.sparse) {
    return within(release, '0.33.0')
      ? settle('fp8', 'GLM 5 Next with sparse attention on 10.x: this release sets kv_cache_dtype to fp8.')
      : null;
  }
  return null;
}

/** DiffusionGemma mixes causal and bidirectional attention (0.24.0 on). */
function diffusionGemma(
  config: RewritableConfig,
  context: SelectorContext,
  facts: RewriteFacts,
): (Rewrite & RewritableConfig) | null {
  const { release } = context;
  const { architecture } = facts;
  if (architecture !== 'DiffusionGemmaForBlockDiffusion' || !within(release, '0.24.0')) {
    return null;
  }
  return config.backend !== null || config.useNonCausal
    ? null
    : {
        ...config,
        useNonCausal: true,
        text: 'DiffusionGemma: this release sets use_non_causal, which keeps FlashInfer from being first on 10.x.',
        source: { where: `vllm ${release} model_executor/models/config.py`, ruleId: 'DIFFUSION-GEMMA' },
      };
}

/** Unlimited-OCR needs the R-SWA mask, which FA4 and Triton have (0.25.0 on). */
function unlimitedOcr(
  config: RewritableConfig,
  context: SelectorContext,
  facts: RewriteFacts,
): (Rewrite & RewritableConfig) | null {
  const { release } = context;
  if (facts.architecture !== 'UnlimitedOCRForCausalLM' || !within(release, '0.25.0')) {
    return null;
  }
  const fa4 = isFlashAttnSupported(4, context);
  const backend = config.backend ?? (fa4 ? 'FLASH_ATTN' : 'TRITON_ATTN');
  const flashAttnVersion = backend === 'FLASH_ATTN' && fa4 ? 4 : config.flashAttnVersion;
  return backend === config.backend && flashAttnVersion === config.flashAttnVersion
    ? null
    : {
        ...config,
        backend,
        flashAttnVersion,
        text: `Unlimited-OCR: this release sets ${backend}${flashAttnVersion === 4 ? ' with flash_attn_version 4' : ''}.`,
        source: { where: `vllm ${release} model_executor/models/config.py`, ruleId: 'UNLIMITED-OCR' },
      };
}

/** Applies every rewrite of the release, in its order, and says which happened. */
export function rewriteConfig(
  config: RewritableConfig,
  context: SelectorContext,
  facts: RewriteFacts,
): { readonly config: RewritableConfig; readonly rewrites: readonly Rewrite[] } {
  const rewrites: Rewrite[] = [];
  let current = config;
  for (const rule of [checkpointKv, packedKv, familyKv, gemma4, diffusionGemma, unlimitedOcr, denseMlaOn10]) {
    const changed = rule(current, { ...context, flashAttnVersion: current.flashAttnVersion }, facts);
    if (changed !== null) {
      const { text, source, ...after } = changed;
      current = after;
      rewrites.push({ text, source });
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
