/**
 * What vLLM's selector is asked for one attention layer, and what its rules read besides.
 *
 * Field names follow vLLM's `AttentionSelectorConfig`; a field a release does not have is ignored for that release.
 */
import type { Release } from './releases';

/** Attention kinds of vLLM's `AttentionType`. */
export type AttnType = 'decoder' | 'encoder' | 'encoder_only' | 'encoder_decoder';

/** Query dtype as `torch` names it. */
export type QueryDtype = 'bfloat16' | 'float16' | 'float32';

/** One selection question. */
export interface SelectorQuery {
  readonly headSize: number;
  readonly dtype: QueryDtype;
  /** `null` = the selector was called without one. */
  readonly kvCacheDtype: string | null;
  /** Block size the user gave, in tokens; `null` = not given. */
  readonly blockSize: number | null;
  readonly useMla: boolean;
  readonly hasSink: boolean;
  readonly useSparse: boolean;
  readonly useMmPrefix: boolean;
  readonly usePerHeadQuantScales: boolean;
  readonly attnType: AttnType;
  readonly hasSlidingWindow: boolean;
  readonly useNonCausal: boolean;
  readonly useBatchInvariant: boolean;
  readonly useKvConnector: boolean;
  readonly usePcp: boolean;
  readonly useAdaptiveVerification: boolean;
  readonly useDcp: boolean;
  readonly useRswa: boolean;
  /** Query heads per rank; `null` = not told to the selector. */
  readonly numHeads: number | null;
}

/** Libraries as the rules see them; already decided, assumptions are recorded where they were made. */
export interface Libraries {
  readonly fa2: boolean;
  readonly fa3: boolean;
  readonly fa4: boolean;
  readonly flashinfer: boolean;
  /** trtllm cubins present, or downloadable. */
  readonly flashinferCubins: boolean;
  /** FlashInfer can compile its kernels (nvcc, and ninja from 0.32.0). */
  readonly flashinferCompiler: boolean;
  readonly flashmla: boolean;
  readonly tokenspeedMla: boolean;
  /** `null` = cannot be told. */
  readonly b12x: boolean | null;
  /** The vendored FA4 CuTe module really imports (its DSL packages are there). */
  readonly fa4Importable: boolean;
  /** pip's `flash-attn-4`: version, `false` when absent, `null` when not inspected. Only the what-if flag reads it. */
  readonly systemFa4: string | false | null;
}

/** HF text-config values that some rules read; `undefined` = the config has no such key. */
export interface HfTextFacts {
  readonly kvLoraRank?: number;
  readonly qkNopeHeadDim?: number;
  readonly qkRopeHeadDim?: number;
  readonly vHeadDim?: number;
  readonly indexTopk?: number;
  readonly attnLogitSoftcapping?: number;
}

/** Model-wide facts that some rules read through `vllm_config.model_config`. */
export interface SelectorModel {
  /** Model-level head size (the maximum over the layers). */
  readonly headSize: number;
  /** Query heads per rank. */
  readonly numAttentionHeads: number;
  /** KV heads per rank. */
  readonly numKvHeads: number;
  readonly hfText: HfTextFacts;
  readonly isDiffusion: boolean;
  readonly isMmPrefixLm: boolean;
  readonly isHybrid: boolean;
  /** The Mamba/SSM cache is float32. */
  readonly mambaCacheFloat32: boolean;
  readonly rswaWindow: number | null;
}

/** Everything the rules read that is not part of the question. */
export interface SelectorContext {
  readonly release: Release;
  readonly capability: readonly [number, number];
  readonly libraries: Libraries;
  /** `attention_config.flash_attn_version` (or its environment variable where that was the way). */
  readonly flashAttnVersion: number | null;
  /** `attention_config.use_trtllm_attention`. */
  readonly useTrtllmAttention: boolean | null;
  /** `VLLM_BATCH_INVARIANT=1`. */
  readonly batchInvariant: boolean;
  /** `cache_config.cache_dtype`. */
  readonly cacheDtype: string;
  readonly prefillContextParallelSize: number;
  readonly decodeContextParallelSize: number;
  readonly model: SelectorModel | null;
  /** The what-if `attention_config.use_system_flash_attn`; no release has it. */
  readonly useSystemFlashAttn?: boolean;
}

/** `major == n` in vLLM's platform class (`is_device_capability_family(n * 10)`). */
export function isFamily(context: SelectorContext, major: number): boolean {
  return context.capability[0] === major;
}

/** Exact capability. */
export function isCapability(context: SelectorContext, major: number, minor: number): boolean {
  return context.capability[0] === major && context.capability[1] === minor;
}

/** Capability at least `major.minor`. */
export function atLeast(context: SelectorContext, major: number, minor: number): boolean {
  return context.capability[0] > major || (context.capability[0] === major && context.capability[1] >= minor);
}
