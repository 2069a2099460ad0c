/**
 * What a config.json leaves out: attention fields' defaults of the Hugging Face config classes, one row per `model_type`.
 *
 * Needed because nested configs are saved without the values that equal the class default (Gemma 3's `text_config` names no
 * head count at all). Read from the config classes of transformers 5.23.0; `source` names the class.
 */

/** Fields that say how large attention is, spelt as most configs spell them. */
export type ShapeField =
  'num_attention_heads' | 'num_key_value_heads' | 'head_dim' | 'hidden_size' | 'num_hidden_layers';

/** Defaults of one config class. */
export interface ClassDefaults {
  /** The class these values were read from. */
  readonly source: string;
  /** Value of each field that has a default other than null, false or computed. */
  readonly defaults?: Readonly<Record<string, number | boolean>>;
  /** Fields that this class spells differently. */
  readonly aliases?: Partial<Readonly<Record<ShapeField, string>>>;
  /**
   * Kinds of the layers when the config names none, repeated over the layers:
   * `F` full, `S` sliding window, `C` chunked local, `L` no attention (linear, recurrent).
   */
  readonly layerCycle?: string;
  /** A wrapper: the key that holds the text config … */
  readonly textKey?: string;
  /** … and the text config's type when that does not name one. */
  readonly textType?: string;
}

/** Rows by `model_type`. */
export const CLASS_DEFAULTS: Readonly<Record<string, ClassDefaults>> = {
  afmoe: {
    source: 'AfmoeConfig',
    defaults: {
      num_attention_heads: 16,
      head_dim: 128,
      hidden_size: 2048,
      num_hidden_layers: 32,
      sliding_window: 1024,
    },
    layerCycle: 'SSSF',
  },
  apertus: { source: 'ApertusConfig', defaults: { num_attention_heads: 32, hidden_size: 4096, num_hidden_layers: 32 } },
  arcee: { source: 'ArceeConfig', defaults: { num_attention_heads: 32, hidden_size: 2560, num_hidden_layers: 32 } },
  aria: { source: 'AriaConfig', textKey: 'text_config', textType: 'aria_text' },
  aria_text: {
    source: 'AriaTextConfig',
    defaults: { num_attention_heads: 32, hidden_size: 4096, num_hidden_layers: 32 },
  },
  bailing_hybrid: {
    source: 'BailingHybridConfig',
    defaults: {
      num_attention_heads: 32,
      num_key_value_heads: 32,
      head_dim: 128,
      hidden_size: 2560,
      num_hidden_layers: 42,
      kv_lora_rank: 512,
      qk_rope_head_dim: 64,
      qk_nope_head_dim: 128,
      v_head_dim: 128,
    },
    layerCycle: 'LLLLLF',
  },
  bamba: {
    source: 'BambaConfig',
    defaults: { num_attention_heads: 32, num_key_value_heads: 8, hidden_size: 4096, num_hidden_layers: 32 },
  },
  biogpt: { source: 'BioGptConfig', defaults: { num_attention_heads: 16, hidden_size: 1024, num_hidden_layers: 24 } },
  bitnet: {
    source: 'BitNetConfig',
    defaults: { num_attention_heads: 20, num_key_value_heads: 5, hidden_size: 2560, num_hidden_layers: 30 },
  },
  bloom: {
    source: 'BloomConfig',
    defaults: { num_attention_heads: 8, hidden_size: 64, num_hidden_layers: 2 },
    aliases: { num_hidden_layers: 'n_layer', num_attention_heads: 'n_head' },
  },
  chameleon: {
    source: 'ChameleonConfig',
    defaults: { num_attention_heads: 32, num_key_value_heads: 32, hidden_size: 4096, num_hidden_layers: 32 },
  },
  codegen: {
    source: 'CodeGenConfig',
    defaults: { num_attention_heads: 16, hidden_size: 4096, num_hidden_layers: 28 },
    aliases: { hidden_size: 'n_embd', num_attention_heads: 'n_head', num_hidden_layers: 'n_layer' },
  },
  cohere: { source: 'CohereConfig', defaults: { num_attention_heads: 64, hidden_size: 8192, num_hidden_layers: 40 } },
  cohere2: {
    source: 'Cohere2Config',
    defaults: { num_attention_heads: 64, hidden_size: 8192, num_hidden_layers: 40, sliding_window: 4096 },
    layerCycle: 'SSSF',
  },
  cohere2_moe: {
    source: 'Cohere2MoeConfig',
    defaults: {
      num_attention_heads: 64,
      head_dim: 128,
      hidden_size: 8192,
      num_hidden_layers: 40,
      sliding_window: 4096,
      sliding_window_pattern: 4,
    },
    layerCycle: 'SSSF',
  },
  cwm: {
    source: 'CwmConfig',
    defaults: {
      num_attention_heads: 48,
      num_key_value_heads: 8,
      head_dim: 128,
      hidden_size: 6144,
      num_hidden_layers: 64,
      sliding_window: 8192,
    },
    layerCycle: 'FSSS',
  },
  dbrx: {
    source: 'DbrxConfig',
    defaults: { num_attention_heads: 16, hidden_size: 2048, num_hidden_layers: 24 },
    aliases: { num_attention_heads: 'n_heads', hidden_size: 'd_model', num_hidden_layers: 'n_layers' },
  },
  deepseek_v2: {
    source: 'DeepseekV2Config',
    defaults: {
      num_attention_heads: 32,
      hidden_size: 4096,
      num_hidden_layers: 32,
      kv_lora_rank: 512,
      qk_rope_head_dim: 64,
      qk_nope_head_dim: 128,
      v_head_dim: 128,
    },
  },
  deepseek_v3: {
    source: 'DeepseekV3Config',
    defaults: {
      num_attention_heads: 128,
      num_key_value_heads: 128,
      hidden_size: 7168,
      num_hidden_layers: 61,
      kv_lora_rank: 512,
      qk_rope_head_dim: 64,
      qk_nope_head_dim: 128,
      v_head_dim: 128,
    },
  },
  deepseek_v32: {
    source: 'DeepseekV32Config',
    defaults: {
      num_attention_heads: 128,
      num_key_value_heads: 128,
      head_dim: 64,
      hidden_size: 7168,
      num_hidden_layers: 61,
      kv_lora_rank: 512,
      qk_rope_head_dim: 64,
      qk_nope_head_dim: 128,
      v_head_dim: 128,
      index_topk: 2048,
    },
  },
  diffusion_gemma: { source: 'DiffusionGemmaConfig', textKey: 'text_config', textType: 'diffusion_gemma_text' },
  diffusion_gemma_text: {
    source: 'DiffusionGemmaTextConfig',
    defaults: {
      num_attention_heads: 8,
      num_key_value_heads: 4,
      head_dim: 256,
      hidden_size: 2304,
      num_hidden_layers: 30,
      sliding_window: 512,
    },
    layerCycle: 'SSSSSF',
  },
  dots1: {
    source: 'Dots1Config',
    defaults: {
      num_attention_heads: 32,
      num_key_value_heads: 32,
      hidden_size: 4608,
      num_hidden_layers: 62,
      sliding_window: 4096,
      max_window_layers: 62,
    },
  },
  ernie4_5: {
    source: 'Ernie4_5Config',
    defaults: {
      num_attention_heads: 16,
      num_key_value_heads: 2,
      head_dim: 128,
      hidden_size: 1024,
      num_hidden_layers: 18,
    },
  },
  ernie4_5_moe: {
    source: 'Ernie4_5_MoeConfig',
    defaults: { num_attention_heads: 20, num_key_value_heads: 4, hidden_size: 2560, num_hidden_layers: 28 },
  },
  ernie4_5_vl_moe: { source: 'Ernie4_5_VLMoeConfig', textKey: 'text_config', textType: 'ernie4_5_vl_moe_text' },
  ernie4_5_vl_moe_text: {
    source: 'Ernie4_5_VLMoeTextConfig',
    defaults: { num_attention_heads: 20, num_key_value_heads: 4, hidden_size: 2560, num_hidden_layers: 28 },
  },
  exaone4: {
    source: 'Exaone4Config',
    defaults: {
      num_attention_heads: 32,
      num_key_value_heads: 32,
      hidden_size: 4096,
      num_hidden_layers: 32,
      sliding_window: 4096,
      sliding_window_pattern: 4,
    },
    layerCycle: 'SSSF',
  },
  exaone4_5: { source: 'Exaone4_5_Config', textKey: 'text_config', textType: 'exaone4' },
  exaone_moe: {
    source: 'ExaoneMoeConfig',
    defaults: {
      num_attention_heads: 32,
      num_key_value_heads: 32,
      hidden_size: 4096,
      num_hidden_layers: 32,
      sliding_window: 4096,
      sliding_window_pattern: 4,
    },
    layerCycle: 'SSSF',
  },
  falcon: {
    source: 'FalconConfig',
    defaults: { num_attention_heads: 71, hidden_size: 4544, num_hidden_layers: 32, multi_query: true },
  },
  falcon_h1: {
    source: 'FalconH1Config',
    defaults: { num_attention_heads: 32, num_key_value_heads: 8, hidden_size: 4096, num_hidden_layers: 32 },
  },
  flex_olmo: {
    source: 'FlexOlmoConfig',
    defaults: { num_attention_heads: 32, hidden_size: 4096, num_hidden_layers: 32 },
  },
  gemma: {
    source: 'GemmaConfig',
    defaults: {
      num_attention_heads: 16,
      num_key_value_heads: 16,
      head_dim: 256,
      hidden_size: 3072,
      num_hidden_layers: 28,
    },
  },
  gemma2: {
    source: 'Gemma2Config',
    defaults: {
      num_attention_heads: 8,
      num_key_value_heads: 4,
      head_dim: 256,
      hidden_size: 2304,
      num_hidden_layers: 26,
      sliding_window: 4096,
      attn_logit_softcapping: 50.0,
    },
    layerCycle: 'SF',
  },
  gemma3: { source: 'Gemma3Config', textKey: 'text_config', textType: 'gemma3_text' },
  gemma3_text: {
    source: 'Gemma3TextConfig',
    defaults: {
      num_attention_heads: 8,
      num_key_value_heads: 4,
      head_dim: 256,
      hidden_size: 2304,
      num_hidden_layers: 26,
      sliding_window: 4096,
    },
    layerCycle: 'SSSSSF',
  },
  gemma3n: { source: 'Gemma3nConfig', textKey: 'text_config', textType: 'gemma3n_text' },
  gemma3n_text: {
    source: 'Gemma3nTextConfig',
    defaults: {
      num_attention_heads: 8,
      num_key_value_heads: 2,
      head_dim: 256,
      hidden_size: 2048,
      num_hidden_layers: 35,
      num_kv_shared_layers: 15,
      sliding_window: 512,
    },
    layerCycle: 'SSSSF',
  },
  gemma4: { source: 'Gemma4Config', textKey: 'text_config', textType: 'gemma4_text' },
  gemma4_text: {
    source: 'Gemma4TextConfig',
    defaults: {
      num_attention_heads: 8,
      num_key_value_heads: 4,
      head_dim: 256,
      hidden_size: 2304,
      num_hidden_layers: 30,
      sliding_window: 512,
    },
    layerCycle: 'SSSSSF',
  },
  gemma4_unified: { source: 'Gemma4UnifiedConfig', textKey: 'text_config', textType: 'gemma4_unified_text' },
  gemma4_unified_text: {
    source: 'Gemma4UnifiedTextConfig',
    defaults: {
      num_attention_heads: 8,
      num_key_value_heads: 4,
      head_dim: 256,
      hidden_size: 2304,
      num_hidden_layers: 30,
      sliding_window: 1024,
    },
    layerCycle: 'SSSSSF',
  },
  glm: {
    source: 'GlmConfig',
    defaults: {
      num_attention_heads: 32,
      num_key_value_heads: 2,
      head_dim: 128,
      hidden_size: 4096,
      num_hidden_layers: 40,
    },
  },
  glm4: {
    source: 'Glm4Config',
    defaults: {
      num_attention_heads: 32,
      num_key_value_heads: 2,
      head_dim: 128,
      hidden_size: 4096,
      num_hidden_layers: 40,
    },
  },
  glm46v: { source: 'Glm46VConfig', textKey: 'text_config', textType: 'glm4v_text' },
  glm4_moe: {
    source: 'Glm4MoeConfig',
    defaults: { num_attention_heads: 96, num_key_value_heads: 8, hidden_size: 4096, num_hidden_layers: 46 },
  },
  glm4_moe_lite: {
    source: 'Glm4MoeLiteConfig',
    defaults: {
      num_attention_heads: 20,
      num_key_value_heads: 20,
      head_dim: 64,
      hidden_size: 2048,
      num_hidden_layers: 47,
      kv_lora_rank: 512,
      qk_rope_head_dim: 64,
      qk_nope_head_dim: 192,
      v_head_dim: 256,
    },
    aliases: { head_dim: 'qk_rope_head_dim' },
  },
  glm4v: { source: 'Glm4vConfig', textKey: 'text_config', textType: 'glm4v_text' },
  glm4v_moe: { source: 'Glm4vMoeConfig', textKey: 'text_config', textType: 'glm4v_moe_text' },
  glm4v_moe_text: {
    source: 'Glm4vMoeTextConfig',
    defaults: { num_attention_heads: 96, num_key_value_heads: 8, hidden_size: 4096, num_hidden_layers: 46 },
  },
  glm4v_text: {
    source: 'Glm4vTextConfig',
    defaults: { num_attention_heads: 32, num_key_value_heads: 2, hidden_size: 4096, num_hidden_layers: 40 },
  },
  glm5_next: { source: 'Glm5NextConfig', textKey: 'text_config', textType: 'glm5_next_text' },
  glm5_next_text: {
    source: 'Glm5NextTextConfig',
    defaults: {
      num_attention_heads: 64,
      num_key_value_heads: 64,
      head_dim: 0,
      hidden_size: 4096,
      num_hidden_layers: 45,
      kv_lora_rank: 512,
      qk_rope_head_dim: 0,
      qk_nope_head_dim: 256,
      v_head_dim: 256,
      index_topk: 2048,
    },
  },
  glm_moe_dsa: {
    source: 'GlmMoeDsaConfig',
    defaults: {
      num_attention_heads: 64,
      num_key_value_heads: 64,
      head_dim: 64,
      hidden_size: 6144,
      num_hidden_layers: 78,
      kv_lora_rank: 512,
      qk_rope_head_dim: 64,
      qk_nope_head_dim: 192,
      v_head_dim: 256,
      index_topk: 2048,
    },
  },
  glm_ocr: { source: 'GlmOcrConfig', textKey: 'text_config', textType: 'glm_ocr_text' },
  glm_ocr_text: {
    source: 'GlmOcrTextConfig',
    defaults: { num_attention_heads: 16, num_key_value_heads: 8, hidden_size: 1024, num_hidden_layers: 16 },
  },
  gpt2: {
    source: 'GPT2Config',
    defaults: { num_attention_heads: 12, hidden_size: 768, num_hidden_layers: 12 },
    aliases: { hidden_size: 'n_embd', num_attention_heads: 'n_head', num_hidden_layers: 'n_layer' },
  },
  gpt_bigcode: {
    source: 'GPTBigCodeConfig',
    defaults: { num_attention_heads: 12, hidden_size: 768, num_hidden_layers: 12, multi_query: true },
    aliases: { hidden_size: 'n_embd', num_attention_heads: 'n_head', num_hidden_layers: 'n_layer' },
  },
  gpt_neox: {
    source: 'GPTNeoXConfig',
    defaults: { num_attention_heads: 64, hidden_size: 6144, num_hidden_layers: 44 },
  },
  gpt_oss: {
    source: 'GptOssConfig',
    defaults: {
      num_attention_heads: 64,
      num_key_value_heads: 8,
      head_dim: 64,
      hidden_size: 2880,
      num_hidden_layers: 36,
      sliding_window: 128,
    },
    layerCycle: 'SF',
  },
  gptj: {
    source: 'GPTJConfig',
    defaults: { num_attention_heads: 16, hidden_size: 4096, num_hidden_layers: 28 },
    aliases: { hidden_size: 'n_embd', num_attention_heads: 'n_head', num_hidden_layers: 'n_layer' },
  },
  granite: { source: 'GraniteConfig', defaults: { num_attention_heads: 32, hidden_size: 4096, num_hidden_layers: 32 } },
  granite_swa: {
    source: 'GraniteSWAConfig',
    defaults: {
      num_attention_heads: 20,
      num_key_value_heads: 4,
      hidden_size: 2560,
      num_hidden_layers: 24,
      sliding_window: 128,
    },
    layerCycle: 'FSSS',
  },
  granitemoe: {
    source: 'GraniteMoeConfig',
    defaults: { num_attention_heads: 32, hidden_size: 4096, num_hidden_layers: 32 },
  },
  granitemoe_swa: {
    source: 'GraniteMoeSWAConfig',
    defaults: { num_attention_heads: 32, hidden_size: 4096, num_hidden_layers: 32, sliding_window: 128 },
    layerCycle: 'FSSS',
  },
  granitemoehybrid: {
    source: 'GraniteMoeHybridConfig',
    defaults: { num_attention_heads: 32, hidden_size: 4096, num_hidden_layers: 32 },
    layerCycle: 'L',
  },
  granitemoeshared: {
    source: 'GraniteMoeSharedConfig',
    defaults: { num_attention_heads: 32, hidden_size: 4096, num_hidden_layers: 32 },
  },
  helium: {
    source: 'HeliumConfig',
    defaults: {
      num_attention_heads: 20,
      num_key_value_heads: 20,
      head_dim: 128,
      hidden_size: 2560,
      num_hidden_layers: 24,
    },
  },
  hunyuan_v1_dense: {
    source: 'HunYuanDenseV1Config',
    defaults: { num_attention_heads: 32, hidden_size: 4096, num_hidden_layers: 32 },
  },
  hunyuan_v1_moe: {
    source: 'HunYuanMoEV1Config',
    defaults: { num_attention_heads: 32, hidden_size: 4096, num_hidden_layers: 32 },
  },
  hy_v3: {
    source: 'HYV3Config',
    defaults: {
      num_attention_heads: 64,
      num_key_value_heads: 8,
      head_dim: 128,
      hidden_size: 4096,
      num_hidden_layers: 80,
    },
  },
  hy_v4: {
    source: 'HYV4Config',
    defaults: {
      num_attention_heads: 32,
      num_key_value_heads: 32,
      head_dim: 256,
      hidden_size: 2816,
      num_hidden_layers: 34,
      kv_lora_rank: 512,
      qk_rope_head_dim: 64,
      qk_nope_head_dim: 192,
      v_head_dim: 256,
      index_topk: 2048,
    },
  },
  internlm3: {
    source: 'InternLM3Config',
    defaults: {
      num_attention_heads: 32,
      num_key_value_heads: 2,
      head_dim: 128,
      hidden_size: 4096,
      num_hidden_layers: 48,
    },
  },
  internvl: { source: 'InternVLConfig', textKey: 'text_config', textType: 'qwen2' },
  iquestcoder: {
    source: 'IQuestCoderConfig',
    defaults: {
      num_attention_heads: 40,
      num_key_value_heads: 8,
      head_dim: 128,
      hidden_size: 5120,
      num_hidden_layers: 80,
    },
  },
  jais2: { source: 'Jais2Config', defaults: { num_attention_heads: 26, hidden_size: 3328, num_hidden_layers: 32 } },
  jamba: {
    source: 'JambaConfig',
    defaults: {
      num_attention_heads: 32,
      num_key_value_heads: 8,
      hidden_size: 4096,
      num_hidden_layers: 32,
      attn_layer_period: 8,
      attn_layer_offset: 4,
    },
  },
  janus: { source: 'JanusConfig', textKey: 'text_config', textType: 'llama' },
  kimi_k2: {
    source: 'DeepseekV3Config',
    defaults: {
      num_attention_heads: 128,
      num_key_value_heads: 128,
      hidden_size: 7168,
      num_hidden_layers: 61,
      kv_lora_rank: 512,
      qk_rope_head_dim: 64,
      qk_nope_head_dim: 128,
      v_head_dim: 128,
    },
  },
  kimi_k25: { source: 'Kimi_K25Config', textKey: 'text_config', textType: 'deepseek_v3' },
  kimi_linear: {
    source: 'KimiLinearConfig',
    defaults: {
      num_attention_heads: 32,
      num_key_value_heads: 32,
      hidden_size: 2304,
      num_hidden_layers: 27,
      kv_lora_rank: 512,
      qk_rope_head_dim: 64,
      qk_nope_head_dim: 128,
      v_head_dim: 128,
    },
  },
  laguna: {
    source: 'LagunaConfig',
    defaults: {
      num_attention_heads: 48,
      num_key_value_heads: 8,
      head_dim: 128,
      hidden_size: 2048,
      num_hidden_layers: 40,
      sliding_window: 512,
    },
  },
  lfm2: {
    source: 'Lfm2Config',
    defaults: { num_attention_heads: 32, num_key_value_heads: 8, hidden_size: 2560, num_hidden_layers: 32 },
  },
  lfm2_moe: {
    source: 'Lfm2MoeConfig',
    defaults: { num_attention_heads: 32, num_key_value_heads: 8, hidden_size: 2048, num_hidden_layers: 32 },
  },
  lfm2_vl: { source: 'Lfm2VlConfig', textKey: 'text_config', textType: 'lfm2' },
  llama: { source: 'LlamaConfig', defaults: { num_attention_heads: 32, hidden_size: 4096, num_hidden_layers: 32 } },
  llama4: { source: 'Llama4Config', textKey: 'text_config', textType: 'llama4_text' },
  llama4_text: {
    source: 'Llama4TextConfig',
    defaults: {
      num_attention_heads: 40,
      num_key_value_heads: 8,
      head_dim: 128,
      hidden_size: 5120,
      num_hidden_layers: 48,
      attention_chunk_size: 8192,
    },
    layerCycle: 'CCCF',
  },
  llava: { source: 'LlavaConfig', textKey: 'text_config', textType: 'llama' },
  llava_next: { source: 'LlavaNextConfig', textKey: 'text_config', textType: 'llama' },
  longcat_flash: {
    source: 'LongcatFlashConfig',
    defaults: {
      num_attention_heads: 64,
      head_dim: 64,
      hidden_size: 6144,
      kv_lora_rank: 512,
      qk_rope_head_dim: 64,
      qk_nope_head_dim: 128,
      v_head_dim: 128,
      num_layers: 28,
    },
  },
  mimo_v2_flash: {
    source: 'MiMoV2FlashConfig',
    defaults: {
      num_attention_heads: 64,
      num_key_value_heads: 4,
      head_dim: 192,
      hidden_size: 4096,
      num_hidden_layers: 48,
      sliding_window: 129,
      v_head_dim: 128,
    },
  },
  minicpm3: {
    source: 'MiniCPM3Config',
    defaults: {
      num_attention_heads: 40,
      num_key_value_heads: 40,
      hidden_size: 2560,
      num_hidden_layers: 62,
      kv_lora_rank: 256,
      qk_rope_head_dim: 32,
      qk_nope_head_dim: 64,
    },
  },
  minimax: {
    source: 'MiniMaxConfig',
    defaults: { num_attention_heads: 32, num_key_value_heads: 8, hidden_size: 4096, num_hidden_layers: 32 },
    layerCycle: 'FL',
  },
  minimax_m2: {
    source: 'MiniMaxM2Config',
    defaults: {
      num_attention_heads: 48,
      num_key_value_heads: 8,
      head_dim: 128,
      hidden_size: 3072,
      num_hidden_layers: 62,
    },
  },
  ministral: {
    source: 'MinistralConfig',
    defaults: {
      num_attention_heads: 32,
      num_key_value_heads: 8,
      hidden_size: 4096,
      num_hidden_layers: 32,
      sliding_window: 4096,
    },
    layerCycle: 'S',
  },
  ministral3: {
    source: 'Ministral3Config',
    defaults: {
      num_attention_heads: 32,
      num_key_value_heads: 8,
      head_dim: 128,
      hidden_size: 4096,
      num_hidden_layers: 34,
    },
  },
  mistral: {
    source: 'MistralConfig',
    defaults: {
      num_attention_heads: 32,
      num_key_value_heads: 8,
      hidden_size: 4096,
      num_hidden_layers: 32,
      sliding_window: 4096,
    },
  },
  mistral3: { source: 'Mistral3Config', textKey: 'text_config', textType: 'mistral' },
  mistral4: {
    source: 'Mistral4Config',
    defaults: {
      num_attention_heads: 32,
      num_key_value_heads: 32,
      hidden_size: 4096,
      num_hidden_layers: 36,
      kv_lora_rank: 256,
      qk_rope_head_dim: 64,
      qk_nope_head_dim: 64,
      v_head_dim: 128,
    },
  },
  mixtral: {
    source: 'MixtralConfig',
    defaults: { num_attention_heads: 32, num_key_value_heads: 8, hidden_size: 4096, num_hidden_layers: 32 },
  },
  mllama: { source: 'MllamaConfig', textKey: 'text_config', textType: 'mllama_text_model' },
  mllama_text_model: {
    source: 'MllamaTextConfig',
    defaults: { num_attention_heads: 32, num_key_value_heads: 8, hidden_size: 4096, num_hidden_layers: 40 },
  },
  modernbert: {
    source: 'ModernBertConfig',
    defaults: {
      num_attention_heads: 12,
      hidden_size: 768,
      num_hidden_layers: 22,
      local_attention: 128,
      global_attn_every_n_layers: 3,
    },
  },
  molmo2: { source: 'Molmo2Config', textKey: 'text_config', textType: 'molmo2_text' },
  molmo2_text: {
    source: 'Molmo2TextConfig',
    defaults: {
      num_attention_heads: 32,
      num_key_value_heads: 8,
      head_dim: 128,
      hidden_size: 4096,
      num_hidden_layers: 36,
    },
  },
  mpt: {
    source: 'MptConfig',
    defaults: { num_attention_heads: 16, hidden_size: 2048, num_hidden_layers: 24 },
    aliases: { num_attention_heads: 'n_heads', hidden_size: 'd_model', num_hidden_layers: 'n_layers' },
  },
  nanochat: { source: 'NanoChatConfig', defaults: { num_attention_heads: 6, hidden_size: 768, num_hidden_layers: 12 } },
  nemotron: {
    source: 'NemotronConfig',
    defaults: { num_attention_heads: 48, hidden_size: 6144, num_hidden_layers: 32 },
  },
  nemotron_h: {
    source: 'NemotronHConfig',
    defaults: { num_attention_heads: 32, num_key_value_heads: 8, head_dim: 128, hidden_size: 4096 },
  },
  olmo: { source: 'OlmoConfig', defaults: { num_attention_heads: 32, hidden_size: 4096, num_hidden_layers: 32 } },
  olmo2: { source: 'Olmo2Config', defaults: { num_attention_heads: 32, hidden_size: 4096, num_hidden_layers: 32 } },
  olmo3: {
    source: 'Olmo3Config',
    defaults: { num_attention_heads: 32, hidden_size: 4096, num_hidden_layers: 32, sliding_window: 4096 },
    layerCycle: 'SSSF',
  },
  olmo_hybrid: {
    source: 'OlmoHybridConfig',
    defaults: { num_attention_heads: 30, hidden_size: 3840, num_hidden_layers: 32 },
    layerCycle: 'LLLF',
  },
  olmoe: { source: 'OlmoeConfig', defaults: { num_attention_heads: 16, hidden_size: 2048, num_hidden_layers: 16 } },
  opt: { source: 'OPTConfig', defaults: { num_attention_heads: 12, hidden_size: 768, num_hidden_layers: 12 } },
  ovis2: { source: 'Ovis2Config', textKey: 'text_config', textType: 'qwen2' },
  paddleocr_vl: { source: 'PaddleOCRVLConfig', textKey: 'text_config', textType: 'paddleocr_vl_text' },
  paddleocr_vl_text: {
    source: 'PaddleOCRTextConfig',
    defaults: {
      num_attention_heads: 16,
      num_key_value_heads: 2,
      head_dim: 128,
      hidden_size: 1024,
      num_hidden_layers: 18,
    },
  },
  paligemma: { source: 'PaliGemmaConfig', textKey: 'text_config', textType: 'gemma' },
  persimmon: {
    source: 'PersimmonConfig',
    defaults: { num_attention_heads: 64, hidden_size: 4096, num_hidden_layers: 36 },
  },
  phi: { source: 'PhiConfig', defaults: { num_attention_heads: 32, hidden_size: 2048, num_hidden_layers: 24 } },
  phi3: { source: 'Phi3Config', defaults: { num_attention_heads: 32, hidden_size: 3072, num_hidden_layers: 32 } },
  phi4_multimodal: {
    source: 'Phi4MultimodalConfig',
    defaults: { num_attention_heads: 32, num_key_value_heads: 8, hidden_size: 3072, num_hidden_layers: 32 },
  },
  phimoe: {
    source: 'PhimoeConfig',
    defaults: { num_attention_heads: 32, num_key_value_heads: 8, hidden_size: 4096, num_hidden_layers: 32 },
  },
  qwen2: {
    source: 'Qwen2Config',
    defaults: {
      num_attention_heads: 32,
      num_key_value_heads: 32,
      hidden_size: 4096,
      num_hidden_layers: 32,
      sliding_window: 4096,
      max_window_layers: 28,
    },
  },
  qwen2_5_vl: { source: 'Qwen2_5_VLConfig', textKey: 'text_config', textType: 'qwen2_5_vl_text' },
  qwen2_5_vl_text: {
    source: 'Qwen2_5_VLTextConfig',
    defaults: {
      num_attention_heads: 64,
      num_key_value_heads: 8,
      hidden_size: 8192,
      num_hidden_layers: 80,
      sliding_window: 4096,
      max_window_layers: 80,
    },
  },
  qwen2_moe: {
    source: 'Qwen2MoeConfig',
    defaults: {
      num_attention_heads: 16,
      num_key_value_heads: 16,
      hidden_size: 2048,
      num_hidden_layers: 24,
      sliding_window: 4096,
      max_window_layers: 28,
    },
  },
  qwen2_vl: { source: 'Qwen2VLConfig', textKey: 'text_config', textType: 'qwen2_vl_text' },
  qwen2_vl_text: {
    source: 'Qwen2VLTextConfig',
    defaults: {
      num_attention_heads: 64,
      num_key_value_heads: 8,
      hidden_size: 8192,
      num_hidden_layers: 80,
      sliding_window: 4096,
      max_window_layers: 80,
    },
  },
  qwen3: {
    source: 'Qwen3Config',
    defaults: {
      num_attention_heads: 32,
      num_key_value_heads: 32,
      head_dim: 128,
      hidden_size: 4096,
      num_hidden_layers: 32,
      sliding_window: 4096,
      max_window_layers: 28,
    },
  },
  qwen3_5: { source: 'Qwen3_5Config', textKey: 'text_config', textType: 'qwen3_5_text' },
  qwen3_5_moe: { source: 'Qwen3_5MoeConfig', textKey: 'text_config', textType: 'qwen3_5_moe_text' },
  qwen3_5_moe_text: {
    source: 'Qwen3_5MoeTextConfig',
    defaults: {
      num_attention_heads: 16,
      num_key_value_heads: 2,
      head_dim: 256,
      hidden_size: 2048,
      num_hidden_layers: 40,
    },
    layerCycle: 'LLLF',
  },
  qwen3_5_text: {
    source: 'Qwen3_5TextConfig',
    defaults: {
      num_attention_heads: 16,
      num_key_value_heads: 4,
      head_dim: 256,
      hidden_size: 4096,
      num_hidden_layers: 32,
    },
    layerCycle: 'LLLF',
  },
  qwen3_moe: {
    source: 'Qwen3MoeConfig',
    defaults: {
      num_attention_heads: 32,
      num_key_value_heads: 4,
      hidden_size: 2048,
      num_hidden_layers: 24,
      sliding_window: 4096,
    },
  },
  qwen3_next: {
    source: 'Qwen3NextConfig',
    defaults: {
      num_attention_heads: 16,
      num_key_value_heads: 2,
      head_dim: 256,
      hidden_size: 2048,
      num_hidden_layers: 48,
    },
    layerCycle: 'LLLF',
  },
  qwen3_omni_moe: { source: 'Qwen3OmniMoeConfig', textKey: 'thinker_config', textType: 'qwen3_omni_moe_text' },
  qwen3_omni_moe_text: {
    source: 'Qwen3OmniMoeTextConfig',
    defaults: { num_attention_heads: 28, num_key_value_heads: 4, hidden_size: 2048, num_hidden_layers: 28 },
  },
  qwen3_vl: { source: 'Qwen3VLConfig', textKey: 'text_config', textType: 'qwen3_vl_text' },
  qwen3_vl_moe: { source: 'Qwen3VLMoeConfig', textKey: 'text_config', textType: 'qwen3_vl_moe_text' },
  qwen3_vl_moe_text: {
    source: 'Qwen3VLMoeTextConfig',
    defaults: { num_attention_heads: 16, num_key_value_heads: 16, hidden_size: 2048, num_hidden_layers: 24 },
  },
  qwen3_vl_text: {
    source: 'Qwen3VLTextConfig',
    defaults: {
      num_attention_heads: 32,
      num_key_value_heads: 32,
      head_dim: 128,
      hidden_size: 4096,
      num_hidden_layers: 32,
    },
  },
  qwen4_exp: { source: 'Qwen4ExpConfig', textKey: 'text_config', textType: 'qwen4_exp_text' },
  qwen4_exp_text: {
    source: 'Qwen4ExpTextConfig',
    defaults: {
      num_attention_heads: 16,
      num_key_value_heads: 2,
      head_dim: 256,
      hidden_size: 2048,
      num_hidden_layers: 40,
    },
  },
  seed_oss: {
    source: 'SeedOssConfig',
    defaults: {
      num_attention_heads: 80,
      num_key_value_heads: 8,
      head_dim: 128,
      hidden_size: 4096,
      num_hidden_layers: 64,
    },
  },
  smollm3: {
    source: 'SmolLM3Config',
    defaults: { num_attention_heads: 16, num_key_value_heads: 4, hidden_size: 2048, num_hidden_layers: 36 },
  },
  smolvlm: { source: 'SmolVLMConfig', textKey: 'text_config', textType: 'llama' },
  solar_open: {
    source: 'SolarOpenConfig',
    defaults: {
      num_attention_heads: 64,
      num_key_value_heads: 8,
      head_dim: 128,
      hidden_size: 4096,
      num_hidden_layers: 48,
    },
  },
  stablelm: {
    source: 'StableLmConfig',
    defaults: { num_attention_heads: 32, num_key_value_heads: 32, hidden_size: 2560, num_hidden_layers: 32 },
  },
  starcoder2: {
    source: 'Starcoder2Config',
    defaults: { num_attention_heads: 24, num_key_value_heads: 2, hidden_size: 3072, num_hidden_layers: 30 },
  },
  step3_text: {
    source: "vLLM's Step3TextConfig",
    defaults: {
      num_attention_heads: 64,
      num_attention_groups: 1,
      head_dim: 256,
      hidden_size: 7168,
      num_hidden_layers: 61,
    },
  },
  step3p5: {
    source: 'Step3p7TextConfig',
    defaults: {
      num_attention_heads: 64,
      num_key_value_heads: 8,
      head_dim: 128,
      hidden_size: 4096,
      num_hidden_layers: 45,
    },
  },
  step3p7: { source: 'Step3p7Config', textKey: 'text_config', textType: 'step3p5' },
  vaultgemma: {
    source: 'VaultGemmaConfig',
    defaults: {
      num_attention_heads: 8,
      num_key_value_heads: 4,
      head_dim: 256,
      hidden_size: 2304,
      num_hidden_layers: 26,
      sliding_window: 4096,
      attn_logit_softcapping: 50.0,
    },
    layerCycle: 'SF',
  },
  youtu: {
    source: 'YoutuConfig',
    defaults: {
      num_attention_heads: 16,
      num_key_value_heads: 16,
      hidden_size: 2048,
      num_hidden_layers: 32,
      kv_lora_rank: 512,
      qk_rope_head_dim: 64,
      qk_nope_head_dim: 128,
      v_head_dim: 128,
    },
  },
  zamba: {
    source: 'ZambaConfig',
    defaults: {
      num_attention_heads: 16,
      num_key_value_heads: 16,
      hidden_size: 3712,
      num_hidden_layers: 76,
      attn_layer_period: 6,
      attn_layer_offset: 4,
    },
    aliases: { head_dim: 'attention_head_dim' },
  },
  zamba2: {
    source: 'Zamba2Config',
    defaults: { num_attention_heads: 32, hidden_size: 2560, num_hidden_layers: 54 },
    aliases: { head_dim: 'attention_head_dim' },
  },
};
