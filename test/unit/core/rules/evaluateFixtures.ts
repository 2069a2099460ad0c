/** Requests for the rules engine's tests, made from published model shapes. */
import {
  DEFAULT_SERVE_SETTINGS,
  UNKNOWN_AVAILABILITY,
  type EvaluateRequest,
  type LayerGroup,
  type ModelFacts,
  type ServeSettings,
} from '../../../../extension/core/request';

/** A plain decoder layer group; `change` overrides. */
export function layer(change: Partial<LayerGroup> & { readonly headDim: number }): LayerGroup {
  return {
    id: `d${change.headDim}`,
    layers: null,
    headDimV: null,
    qHeads: 32,
    kvHeads: 8,
    attnType: 'decoder',
    slidingWindow: null,
    sinks: false,
    softcap: 0,
    alibi: false,
    mla: null,
    mmPrefix: false,
    ...change,
  };
}

const model = (modelType: string, layerGroups: readonly LayerGroup[]): ModelFacts => ({
  modelType,
  architecture: null,
  dtype: 'bfloat16',
  layerGroups,
});

/** Llama-like: head size 128. */
export const LLAMA = model('llama', [layer({ headDim: 128 })]);

const gemma4Layers = (mmPrefix: boolean): readonly LayerGroup[] => [
  layer({ id: 'sliding_window', headDim: 256, qHeads: 32, kvHeads: 16, slidingWindow: 1024, mmPrefix }),
  layer({ id: 'full_attention', headDim: 512, qHeads: 32, kvHeads: 4, mmPrefix }),
];

/** Gemma 4 31B, text layers only. */
export const GEMMA4_TEXT = model('gemma4', gemma4Layers(false));
/** Gemma 4 31B with image spans that attend in both directions. */
export const GEMMA4_VISION = model('gemma4', gemma4Layers(true));

/** gpt-oss 20B. */
export const GPT_OSS = model('gpt_oss', [
  layer({ id: 'sliding_window', headDim: 64, qHeads: 64, slidingWindow: 128, sinks: true }),
  layer({ id: 'full_attention', headDim: 64, qHeads: 64, sinks: true }),
]);

const deepseek = (qHeads: number, indexTopk: number | null): ModelFacts =>
  model(indexTopk === null ? 'deepseek_v3' : 'deepseek_v32', [
    layer({
      id: 'mla',
      headDim: 576,
      qHeads,
      kvHeads: 1,
      mla: { kvLoraRank: 512, qkRopeHeadDim: 64, qkNopeHeadDim: 128, vHeadDim: 128, indexTopk },
    }),
  ]);

/** DeepSeek V3 on one rank. */
export const DEEPSEEK_V3 = deepseek(128, null);
/** DeepSeek V3.2 (sparse) at tensor parallel 8. */
export const DEEPSEEK_V32_TP8 = deepseek(16, 2048);
/** DeepSeek V3.2 (sparse) on one rank. */
export const DEEPSEEK_V32 = deepseek(128, 2048);

/** A request with vLLM's defaults. */
export function ask(
  vllmVersion: string,
  capability: readonly [number, number],
  facts: ModelFacts,
  serve: Partial<ServeSettings> = {},
  change: Partial<EvaluateRequest> = {},
): EvaluateRequest {
  return {
    vllmVersion,
    capability,
    model: facts,
    serve: { ...DEFAULT_SERVE_SETTINGS, ...serve },
    useSystemFlashAttn: false,
    availability: UNKNOWN_AVAILABILITY,
    ...change,
  };
}
