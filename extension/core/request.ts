/**
 * What is being asked: which vLLM, which GPU, which attention layers, which serve settings.
 * Produced by the model-shape and serve-config readers (or by hand), consumed by `evaluate`.
 */

/** Layers of a model that share one attention shape; rules are evaluated once per group. Sizes are per tensor-parallel rank where said. */
export interface LayerGroup {
  /** Stable within a request: `full_attention d512`, `sliding_window d256` … */
  readonly id: string;
  /** Number of layers in the group; `null` when the config does not say. */
  readonly layers: number | null;
  /** Head size as vLLM passes it to the selector (576 for DeepSeek MLA). */
  readonly headDim: number;
  /** Value head size when it differs from `headDim`, else `null`. */
  readonly headDimV: number | null;
  /** Query heads per rank; `null` = not known. */
  readonly qHeads: number | null;
  /** KV heads per rank; `null` = not known. */
  readonly kvHeads: number | null;
  readonly attnType: 'decoder' | 'encoder' | 'encoder_only' | 'encoder_decoder';
  /** Sliding window in tokens; `null` = full attention. */
  readonly slidingWindow: number | null;
  readonly sinks: boolean;
  /** Logit soft cap; 0 = off. */
  readonly softcap: number;
  readonly alibi: boolean;
  readonly mla: MlaShape | null;
  /** Partial multimodal token full attention (PrefixLM over image spans). */
  readonly mmPrefix: boolean;
}

/** Latent attention dimensions, as in the HF config. */
export interface MlaShape {
  readonly kvLoraRank: number;
  readonly qkRopeHeadDim: number;
  readonly qkNopeHeadDim: number;
  readonly vHeadDim: number;
  /** `index_topk` of sparse (DSA) models; `null` = dense. */
  readonly indexTopk: number | null;
}

/** Facts about the model as a whole that some rules read. */
export interface ModelFacts {
  /** `model_type` of the text config; `null` = asked without a model. */
  readonly modelType: string | null;
  /** First entry of `architectures`. */
  readonly architecture: string | null;
  /** `dtype`/`torch_dtype` of the config. */
  readonly dtype: 'bfloat16' | 'float16' | 'float32' | null;
  /** A discrete diffusion model (`canvas_length` in the config); absent = no. */
  readonly isDiffusion?: boolean;
  /** What the checkpoint says of its KV cache (`quantization_config`); absent = nothing. */
  readonly kvQuantization?: KvQuantization;
  /** Window of models with rolling sliding-window attention (`rswa_window` in the config); absent = none. */
  readonly rswaWindow?: number;
  /** Some layers read another layer's KV cache (`num_kv_shared_layers` in the config); absent = no. */
  readonly kvSharing?: boolean;
  readonly layerGroups: readonly LayerGroup[];
}

/** How a checkpoint's tools wrote its KV cache format: NVIDIA's ModelOpt, or llm-compressor (`compressed-tensors`). */
export interface KvQuantization {
  readonly tool: 'modelopt' | 'compressedTensors';
  /** `fp8` or `nvfp4`; `other` = a format vLLM does not take over. */
  readonly format: 'fp8' | 'nvfp4' | 'other';
  /** One scale per attention head. */
  readonly perHead: boolean;
}

/** The serve settings that take part in selection; names as in vLLM's own configuration. `null` = not set. */
export interface ServeSettings {
  readonly backend: string | null;
  readonly backendPerKind: Readonly<Record<string, string>>;
  readonly flashAttnVersion: number | null;
  readonly mlaPrefillBackend: string | null;
  readonly kvCacheDtype: string;
  readonly blockSize: number | null;
  readonly dtype: 'auto' | 'bfloat16' | 'float16' | 'float32';
  readonly tensorParallelSize: number;
  readonly decodeContextParallelSize: number;
  readonly prefillContextParallelSize: number;
  readonly useNonCausal: boolean;
  readonly useTrtllmAttention: boolean | null;
  readonly batchInvariant: boolean;
  readonly kvConnector: boolean;
  readonly adaptiveVerification: boolean;
  /** vLLM's text-only mode (multimodal inputs disabled by configuration). */
  readonly textOnly: boolean;
}

/** vLLM's own defaults. */
export const DEFAULT_SERVE_SETTINGS: ServeSettings = {
  backend: null,
  backendPerKind: {},
  flashAttnVersion: null,
  mlaPrefillBackend: null,
  kvCacheDtype: 'auto',
  blockSize: null,
  dtype: 'auto',
  tensorParallelSize: 1,
  decodeContextParallelSize: 1,
  prefillContextParallelSize: 1,
  useNonCausal: false,
  useTrtllmAttention: null,
  batchInvariant: false,
  kvConnector: false,
  adaptiveVerification: false,
  textOnly: false,
};

/** Which libraries the environment holds; `null` = not inspected, rules that depend on it then say what they assumed or `unknown`. */
export interface LibraryAvailability {
  readonly fa2: boolean | null;
  readonly fa3: boolean | null;
  /** vLLM's vendored FA4 (`vllm_flash_attn/cute`). */
  readonly fa4: boolean | null;
  readonly flashinfer: boolean | null;
  readonly flashinferCubins: boolean | null;
  /** FlashInfer can compile kernels it has no cubins of (nvcc, from 0.32.0 ninja too); absent = not inspected. */
  readonly flashinferCompiler?: boolean;
  readonly flashmla: boolean | null;
  readonly tokenspeedMla: boolean | null;
  /** pip's `flash-attn-4`: version, or `false` when absent. */
  readonly systemFa4: string | false | null;
}

/** Nothing inspected. */
export const UNKNOWN_AVAILABILITY: LibraryAvailability = {
  fa2: null,
  fa3: null,
  fa4: null,
  flashinfer: null,
  flashinferCubins: null,
  flashmla: null,
  tokenspeedMla: null,
  systemFa4: null,
};

/** One question to the rules engine. */
export interface EvaluateRequest {
  /** Release to evaluate (`0.33.0`), from the environment or asked for. */
  readonly vllmVersion: string;
  /** Compute capability to evaluate for, present or not. */
  readonly capability: readonly [number, number];
  readonly model: ModelFacts;
  readonly serve: ServeSettings;
  /** The what-if: vLLM as if `AttentionConfig.use_system_flash_attn` existed and had this value. */
  readonly useSystemFlashAttn: boolean;
  readonly availability: LibraryAvailability;
}
