/**
 * A Hugging Face `config.json` as the attention layers vLLM builds from it: one group per distinct layer shape.
 *
 * Follows the reading order of vLLM's model_arch_config_convertor.py and of the layers of its model files, per release
 * where they differ. `head_dim` of the config is never replaced by the division hidden size / heads. Pure; the file is
 * read by node/modelFiles.ts.
 */
import type { ClassDefaults, ShapeField } from './modelShapeDefaults';
import { CLASS_DEFAULTS } from './modelShapeDefaults';
import type { JsonObject, ModelShapeError } from './modelShapeFields';
import { Fields, ModelShapeFailure, isJsonObject, refuse } from './modelShapeFields';
import type { LayerKind } from './modelShapeLayers';
import { LAYER_LIMIT, layerKinds } from './modelShapeLayers';
import { isAtLeast, isMlaType, isMlaTypeInSomeRelease, isMmPrefix } from './modelShapeReleases';
import type { KvQuantization, LayerGroup, MlaShape, ModelFacts } from '../request';

/** What the shape depends on besides the file. */
export interface ModelShapeOptions {
  /** The release that reads the config (`0.33.0`); some models are MLA or mm-prefix only from a release on. */
  readonly vllmVersion: string;
  /** Head counts in the result are per rank of this many. */
  readonly tensorParallelSize: number;
  /** `VLLM_MLA_DISABLE=1`: MLA models run as ordinary multi-head attention. */
  readonly mlaDisabled: boolean;
}

/** The model, with plain sentences on what had to be taken from elsewhere; or the one reason why not. */
export type ModelShapeResult =
  | { readonly ok: true; readonly model: ModelFacts; readonly notes: readonly string[] }
  | { readonly ok: false; readonly error: ModelShapeError };

/** Spellings that older and remote-code configs use, tried after the class's own. */
const COMMON_ALIASES: Readonly<Record<ShapeField, readonly string[]>> = {
  num_attention_heads: ['n_head', 'n_heads', 'num_heads'],
  num_key_value_heads: [],
  head_dim: [],
  hidden_size: ['n_embd', 'd_model'],
  num_hidden_layers: ['n_layer', 'n_layers', 'num_layers'],
};

/** Keys that hold the language model of a multimodal config, in the order they are tried. */
const TEXT_KEYS = ['text_config', 'thinker_config', 'llm_config', 'language_config'];

/** `text_config` inside `thinker_config` inside the root is the deepest known. */
const TEXT_DEPTH = 3;

const GEMMA4_TEXT_TYPES = new Set(['gemma4_text', 'gemma4_unified_text', 'diffusion_gemma_text']);
const MIMO_TYPES = new Set(['mimo_v2', 'mimo_v2_flash']);

/** The text config and what its class fills in. */
interface TextConfig {
  readonly fields: Fields;
  readonly modelType: string | null;
  readonly row: ClassDefaults | undefined;
}

/** One attention layer, totals over all ranks. Equal layers become one group. */
interface LayerShape {
  readonly kind: LayerKind;
  readonly headDim: number;
  readonly headDimV: number | null;
  readonly qHeads: number;
  readonly kvHeads: number;
  readonly window: number | null;
  readonly sinks: boolean;
}

function rowOf(modelType: string | null): ClassDefaults | undefined {
  return modelType !== null && Object.hasOwn(CLASS_DEFAULTS, modelType) ? CLASS_DEFAULTS[modelType] : undefined;
}

function fieldsOf(object: JsonObject, prefix: string, row: ClassDefaults | undefined): Fields {
  const aliases: Record<string, readonly string[]> = { ...COMMON_ALIASES };
  for (const [field, alias] of Object.entries(row?.aliases ?? {})) {
    aliases[field] = [alias, ...(aliases[field] ?? [])];
  }
  return new Fields(object, prefix, row?.defaults ?? {}, aliases);
}

/** Steps from the root into the language model's config, or stays when the root is one. */
function findTextConfig(root: JsonObject): TextConfig {
  let object = root;
  let prefix = '';
  let modelType = new Fields(root, '').text('model_type');
  for (let depth = 0; depth < TEXT_DEPTH; depth++) {
    const row = rowOf(modelType);
    const key = [row?.textKey, ...TEXT_KEYS].find((name) => name !== undefined && isJsonObject(object[name]));
    if (key === undefined) break;
    object = object[key] as JsonObject;
    prefix += `${key}.`;
    modelType = new Fields(object, prefix).text('model_type') ?? row?.textType ?? modelType;
  }
  // A wrapper that leaves out its text config altogether means the defaults of the text class.
  const wrapper = rowOf(modelType);
  if (wrapper?.textType !== undefined && prefix === '') modelType = wrapper.textType;
  const row = rowOf(modelType);
  return { fields: fieldsOf(object, prefix, row), modelType, row };
}

const DTYPES = ['bfloat16', 'float16', 'float32'] as const;

function readDtype(root: Fields, text: Fields): ModelFacts['dtype'] {
  for (const fields of [root, text]) {
    const name = (fields.text('dtype') ?? fields.text('torch_dtype'))?.replace(/^torch\./, '');
    if (name !== undefined) return DTYPES.find((dtype) => dtype === name) ?? null;
  }
  return null;
}

function required(fields: Fields, field: string, min: number): number {
  const value = fields.integer(field, min);
  if (value !== null) return value;
  const name = fields.nameOf(field);
  return refuse('missingField', name, `${name} is missing, and the config's class is not one whose default is known.`);
}

/** MLA dimensions when this release treats the model as MLA; `null` otherwise. */
function readMla(
  text: TextConfig,
  options: ModelShapeOptions,
): { readonly shape: MlaShape; readonly headDim: number } | null {
  const { fields, modelType } = text;
  if (modelType === null || !isMlaType(modelType, options.vllmVersion)) return null;
  const ropeDim = fields.integer('qk_rope_head_dim', 0) ?? 0;
  const indexTopk = fields.integer('index_topk', 1);
  // transformers writes `compress_rates` by layer kind where DeepSeek's own files list `compress_ratios` by layer.
  const compressed =
    (fields.list('compress_ratios')?.length ?? 0) > 0 ||
    (isJsonObject(fields.raw('compress_rates')) && isAtLeast(options.vllmVersion, '0.33.0'));
  if (compressed) {
    // DeepSeek V4: the cache entry is one vector of head_dim, whose last part is rotary.
    const headDim = fields.integer('head_dim', 1);
    if (headDim === null) return null;
    return {
      shape: {
        kvLoraRank: headDim - ropeDim,
        qkRopeHeadDim: ropeDim,
        qkNopeHeadDim: headDim - ropeDim,
        vHeadDim: fields.integer('v_head_dim', 1) ?? headDim,
        indexTopk,
      },
      headDim,
    };
  }
  const kvLoraRank = fields.integer('kv_lora_rank', 1);
  if (kvLoraRank === null) return null;
  const qkNopeHeadDim = required(fields, 'qk_nope_head_dim', 1);
  return {
    shape: {
      kvLoraRank,
      qkRopeHeadDim: ropeDim,
      qkNopeHeadDim,
      vHeadDim: fields.integer('v_head_dim', 1) ?? qkNopeHeadDim,
      indexTopk,
    },
    headDim: kvLoraRank + ropeDim,
  };
}

/** Query heads of the whole model. */
function readQueryHeads(text: TextConfig): number {
  return required(text.fields, 'num_attention_heads', 1);
}

/** KV heads over all ranks, from the first of the names vLLM tries; as many as query heads without any. */
function readKvHeads(text: TextConfig, qHeads: number): number {
  const { fields, modelType } = text;
  if (modelType !== null && /^(falcon|RefinedWeb|RefinedWebModel|gpt_bigcode)$/.test(modelType)) {
    // Falcon without the new decoder architecture, and GPT BigCode: multi_query means one KV head whatever else is written.
    if (fields.boolean('new_decoder_architecture') !== true && fields.boolean('multi_query') === true) return 1;
  }
  const nested = fields.nested('attn_config')?.integer('kv_n_heads', 1) ?? null;
  if (nested !== null) return nested;
  for (const name of [
    'n_head_kv',
    'num_kv_heads',
    'num_key_value_heads',
    'multi_query_group_num',
    'num_attention_groups',
  ]) {
    // The class fills in its own default, whatever the file says of the query heads.
    if (fields.raw(name) !== undefined) return required(fields, name, 1);
  }
  return qHeads;
}

/** Head size of layers that have no rule of their own. */
function readHeadDim(text: TextConfig, qHeads: number): number {
  const { fields, modelType } = text;
  if (modelType === 'minicpm3')
    return required(fields, 'qk_nope_head_dim', 1) + required(fields, 'qk_rope_head_dim', 1);
  const headDim = fields.integer('head_dim', 0);
  if (headDim !== null && headDim > 0) return headDim;
  const perHead = fields.integer('hidden_size_per_head', 1);
  if (perHead !== null) return perHead;
  const hidden = required(fields, 'hidden_size', 1);
  // Zamba2 attends over the input and the embedding side by side.
  const width = modelType === 'zamba2' ? 2 * hidden : hidden;
  if (width % qHeads !== 0) {
    const name = fields.nameOf('hidden_size');
    refuse(
      'notDivisible',
      name,
      `${name} ${hidden} is not a multiple of ${qHeads} attention heads, and there is no head_dim.`,
    );
  }
  return width / qHeads;
}

/** The window in force, `null` for none. 0 means off, and Qwen-like classes have a switch that is off by default. */
function readWindow(fields: Fields, modelType: string | null): number | null {
  if (modelType?.startsWith('modernbert') === true) {
    // ModernBERT counts the tokens on both sides.
    return Math.floor((fields.integer('local_attention', 0) ?? 0) / 2) || null;
  }
  const window = fields.integer('sliding_window', 0) ?? fields.integer('sliding_window_size', 0);
  if (window === null || window === 0) return null;
  const enabled = fields.boolean('use_sliding_window') ?? !fields.hasDefault('max_window_layers');
  return enabled ? window : null;
}

function readAlibi(root: Fields, text: TextConfig, architecture: string | null): boolean {
  const { fields, modelType } = text;
  if (modelType === 'bloom' || architecture === 'BloomForCausalLM') return true;
  // vLLM's model_executor/models/baichuan.py: of the class with the small c, all but the 7B (hidden size 4096) use ALiBi.
  if (architecture === 'BaichuanForCausalLM' || (architecture === null && modelType === 'baichuan')) {
    return fields.integer('hidden_size', 1) !== 4096;
  }
  if (fields.raw('alibi') === true) return true;
  if ([fields.raw('position_encoding_type'), fields.raw('position_embedding_type')].includes('alibi')) return true;
  const attention = fields.nested('attn_config') ?? root.nested('attn_config');
  // The class of `attn_config` of MPT turns ALiBi on unless the file says otherwise.
  return attention === null ? modelType === 'mpt' : (attention.boolean('alibi') ?? modelType === 'mpt');
}

function readAttnType(fields: Fields, modelType: string | null): LayerGroup['attnType'] {
  if (fields.raw('is_causal') === false) return 'encoder_only';
  const bidirectional = fields.raw('use_bidirectional_attention');
  if (bidirectional === true || bidirectional === 'all') return 'encoder_only';
  return modelType !== null && /bert|^gte|roberta/.test(modelType) && fields.raw('is_decoder') !== true
    ? 'encoder_only'
    : 'decoder';
}

/** Does a layer pass learnable sinks? There is no common flag; these are the models whose layers do, by release. */
function hasSinks(
  fields: Fields,
  modelType: string | null,
  kind: LayerKind,
  listed: boolean,
  version: string,
): boolean {
  if (modelType === 'gpt_oss') return true;
  if (modelType === 'openai_privacy_filter') return isAtLeast(version, '0.25.0');
  if (modelType !== null && MIMO_TYPES.has(modelType)) {
    return kind === 'sliding' && fields.raw('add_swa_attention_sink_bias') === true;
  }
  if (modelType === 'laguna') return kind === 'sliding' && fields.raw('swa_attention_sink_enabled') === true;
  if (modelType !== null && /^granite(moe)?(_swa)?$/.test(modelType) && isAtLeast(version, '0.29.0')) {
    return fields.boolean('attention_sinks') ?? (listed || modelType.endsWith('_swa'));
  }
  return false;
}

/** A per-layer list or map of overrides, as newer configs write differing layers. */
function layerOverrides(fields: Fields, index: number): Fields | null {
  const map = fields.raw('per_layer_config');
  if (!isJsonObject(map)) return null;
  const entry = map[String(index)];
  return isJsonObject(entry) ? new Fields(entry, `${fields.nameOf('per_layer_config')}.${index}.`) : null;
}

/** Every attention layer's shape, in layer order. */
function readLayers(
  text: TextConfig,
  mlaHeadDim: number | null,
  options: ModelShapeOptions,
  notes: string[],
): readonly LayerShape[] {
  const { fields, modelType, row } = text;
  const isLongcat = modelType?.startsWith('longcat_flash') === true;
  const decoderLayers = isLongcat ? fields.integer('num_layers', 1) : null;
  const count = decoderLayers !== null ? 2 * decoderLayers : required(fields, 'num_hidden_layers', 0);
  if (count > LAYER_LIMIT) {
    refuse(
      'outOfRange',
      fields.nameOf('num_hidden_layers'),
      `${count} layers are more than the ${LAYER_LIMIT} that are read.`,
    );
  }
  const window = readWindow(fields, modelType);
  const { kinds, listed } = layerKinds(text.fields, row, count, window !== null);
  if (!kinds.some((kind) => kind !== 'none')) return [];

  const qHeads = readQueryHeads(text);
  const kvHeads = modelType === 'minicpm3' ? qHeads : readKvHeads(text, qHeads);
  const headDim = mlaHeadDim ?? readHeadDim(text, qHeads);
  const distinct = new Set(kinds);
  // Before 0.27.0 a list with one kind counted as "not interleaved", and the model-wide window applied to every layer.
  const windowEverywhere =
    window !== null && distinct.size === 1 && listed && !isAtLeast(options.vllmVersion, '0.27.0');
  const isGemma4 = modelType !== null && GEMMA4_TEXT_TYPES.has(modelType);
  const layers: LayerShape[] = [];
  kinds.forEach((named, index) => {
    let kind: LayerKind = named === 'sliding' && window === null ? 'full' : named;
    if (kind === 'none') return;
    if (isGemma4 && index === count - 1) kind = 'full';
    let shape: LayerShape = {
      kind,
      headDim,
      headDimV: null,
      qHeads: fields.integers('num_attention_heads_per_layer', 1)?.[index] ?? qHeads,
      kvHeads: fields.integers('num_key_value_heads_per_layer', 1)?.[index] ?? kvHeads,
      window: kind === 'sliding' || (kind === 'full' && windowEverywhere) ? window : null,
      sinks: hasSinks(fields, modelType, kind, listed, options.vllmVersion),
    };
    if (isGemma4 && kind === 'full') shape = withGemma4Global(shape, fields);
    if (modelType !== null && MIMO_TYPES.has(modelType)) shape = withMimoDims(shape, fields);
    if (modelType === 'step3p5' && kind === 'sliding') shape = withStepHeads(shape, fields);
    if (modelType === 'cohere2' && shape.window !== null && isAtLeast(options.vllmVersion, '0.29.0')) {
      shape = { ...shape, window: shape.window + 1 };
    }
    const overrides = layerOverrides(fields, index);
    if (overrides !== null) {
      shape = {
        ...shape,
        headDim: overrides.integer('head_dim', 1) ?? shape.headDim,
        qHeads: overrides.integer('num_attention_heads', 1) ?? shape.qHeads,
        kvHeads: overrides.integer('num_key_value_heads', 1) ?? shape.kvHeads,
      };
    }
    layers.push(shape);
  });
  if (layers.length < count) {
    notes.push(
      `${layers.length} of ${count} layers have attention; the others keep no KV cache that an attention backend reads.`,
    );
  }
  if (distinct.has('chunked'))
    notes.push('Chunked local layers attend within chunks; the backend is chosen as for full attention.');
  return layers;
}

/** Gemma 4: full-attention layers have a head size of their own and, when K is reused as V, their own KV heads. */
function withGemma4Global(shape: LayerShape, fields: Fields): LayerShape {
  const reused = fields.boolean('attention_k_eq_v') === true;
  const kvHeads = reused ? fields.integer('num_global_key_value_heads', 1) : null;
  return { ...shape, headDim: fields.integer('global_head_dim', 1) ?? 512, kvHeads: kvHeads ?? shape.kvHeads };
}

/** MiMo V2: sliding layers have their own head counts and sizes; V may be narrower than K everywhere. */
function withMimoDims(shape: LayerShape, fields: Fields): LayerShape {
  const sliding = shape.kind === 'sliding';
  const headDim = (sliding ? fields.integer('swa_head_dim', 1) : null) ?? shape.headDim;
  const headDimV = fields.integer(sliding ? 'swa_v_head_dim' : 'v_head_dim', 1);
  return {
    ...shape,
    headDim,
    headDimV: headDimV === headDim ? null : headDimV,
    qHeads: (sliding ? fields.integer('swa_num_attention_heads', 1) : null) ?? shape.qHeads,
    kvHeads: (sliding ? fields.integer('swa_num_key_value_heads', 1) : null) ?? shape.kvHeads,
  };
}

/** Step 3.5: sliding layers may have more query heads than full ones. */
function withStepHeads(shape: LayerShape, fields: Fields): LayerShape {
  const other = fields.nested('attention_other_setting');
  const qHeads = fields.integer('num_sliding_attention_heads', 1) ?? other?.integer('num_attention_heads', 1) ?? null;
  return { ...shape, qHeads: qHeads ?? shape.qHeads };
}

/** Heads of one rank, with vLLM's own refusal when they do not divide. */
function perRankQueryHeads(total: number, ranks: number): number {
  if (total % ranks !== 0) {
    refuse(
      'notDivisible',
      'num_attention_heads',
      `Total number of attention heads (${total}) must be divisible by tensor parallel size (${ranks}).`,
    );
  }
  return total / ranks;
}

const KIND_NAMES: Readonly<Record<Exclude<LayerKind, 'none'>, string>> = {
  full: 'full_attention',
  sliding: 'sliding_window',
  chunked: 'chunked_local_attention',
};

/** What all groups of a model share. */
type Shared = Pick<LayerGroup, 'attnType' | 'softcap' | 'alibi' | 'mmPrefix'>;

/** Collects equal layers, keeps the order of first appearance, and gives each group an id that names what it is. */
function groupLayers(
  layers: readonly LayerShape[],
  mla: { readonly shape: MlaShape; readonly headDim: number } | null,
  options: ModelShapeOptions,
  shared: Shared,
): LayerGroup[] {
  const groups = new Map<string, { shape: LayerShape; layers: number }>();
  for (const shape of layers) {
    const key = JSON.stringify(shape);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { shape, layers: 1 });
    else group.layers += 1;
  }
  const ids = new Map<string, number>();
  return [...groups.values()].map(({ shape, layers: count }): LayerGroup => {
    const asMla = mla !== null && !options.mlaDisabled;
    const headDim =
      mla === null ? shape.headDim : asMla ? mla.headDim : mla.shape.qkNopeHeadDim + mla.shape.qkRopeHeadDim;
    const kind = shape.kind === 'none' ? 'full' : shape.kind;
    const name = asMla ? (kind === 'sliding' ? 'sliding_window_mla' : 'mla_attention') : KIND_NAMES[kind];
    const base = `${name} d${headDim}`;
    const seen = (ids.get(base) ?? 0) + 1;
    ids.set(base, seen);
    const qHeads = perRankQueryHeads(shape.qHeads, options.tensorParallelSize);
    const kvTotal = mla === null ? shape.kvHeads : shape.qHeads;
    return {
      id: seen === 1 ? base : `${base} #${seen}`,
      layers: count,
      headDim,
      headDimV: shape.headDimV,
      qHeads,
      kvHeads: asMla ? 1 : Math.max(1, Math.floor(kvTotal / options.tensorParallelSize)),
      slidingWindow: shape.window,
      sinks: shape.sinks,
      mla: asMla ? mla.shape : null,
      ...shared,
    };
  });
}

/** Encoder-decoder models (Whisper): encoder, decoder and cross attention, all with the width over the heads. */
function readEncoderDecoder(fields: Fields, options: ModelShapeOptions, shared: Shared): LayerGroup[] | null {
  const encoderHeads = fields.integer('encoder_attention_heads', 1);
  const decoderHeads = fields.integer('decoder_attention_heads', 1);
  if (encoderHeads === null || decoderHeads === null) return null;
  const width = required(fields, 'hidden_size', 1);
  const group = (attnType: LayerGroup['attnType'], heads: number, layers: number | null): LayerGroup => {
    if (width % heads !== 0) {
      refuse('notDivisible', 'd_model', `d_model ${width} is not a multiple of ${heads} attention heads.`);
    }
    const perRank = perRankQueryHeads(heads, options.tensorParallelSize);
    const headDim = width / heads;
    return {
      ...shared,
      id: `${attnType} d${headDim}`,
      layers,
      headDim,
      headDimV: null,
      qHeads: perRank,
      kvHeads: perRank,
      attnType,
      slidingWindow: null,
      sinks: false,
      mla: null,
    };
  };
  const decoderLayers = fields.integer('decoder_layers', 0);
  return [
    group('encoder', encoderHeads, fields.integer('encoder_layers', 0)),
    group('decoder', decoderHeads, decoderLayers),
    group('encoder_decoder', decoderHeads, decoderLayers),
  ];
}

/** `get_kv_cache_quant_algo_string` and the compressed-tensors scheme, as far as the file tells. */
function readKvQuantization(root: Fields, text: Fields): KvQuantization | null {
  const config = root.nested('quantization_config') ?? text.nested('quantization_config');
  if (config === null) return null;
  const method = config.raw('quant_method');
  const producer = config.nested('producer')?.raw('name');
  const own = config.raw('kv_cache_scheme');
  if ((typeof method === 'string' && method.startsWith('modelopt')) || producer === 'modelopt') {
    const inner = config.nested('quantization');
    const written =
      inner?.raw('kv_cache_scheme') ?? own ?? inner?.raw('kv_cache_quant_algo') ?? config.raw('kv_cache_quant_algo');
    if (written === undefined || written === null) return null;
    const named = isJsonObject(written)
      ? formatOfScheme(written)
      : typeof written === 'string'
        ? written.toLowerCase()
        : 'other';
    const format = named === 'fp8' || named === 'nvfp4' ? named : 'other';
    return { tool: 'modelopt', format, perHead: false };
  }
  if (!isJsonObject(own)) return null;
  return { tool: 'compressedTensors', format: 'fp8', perHead: own['strategy'] === 'attn_head' };
}

function formatOfScheme(scheme: JsonObject): string {
  if (scheme['type'] !== 'float') return 'other';
  if (scheme['num_bits'] === 8 && scheme['dynamic'] === false) return 'fp8';
  return scheme['num_bits'] === 4 ? 'nvfp4' : 'other';
}

function notesOnDefaults(text: TextConfig): string[] {
  const fields = [...text.fields.defaulted].filter((field) => field !== 'use_sliding_window');
  if (fields.length === 0 || text.row === undefined) return [];
  return [`Not in the file, taken from the defaults of ${text.row.source}: ${fields.join(', ')}.`];
}

function read(json: unknown, options: ModelShapeOptions): ModelShapeResult {
  if (!isJsonObject(json)) refuse('notAnObject', '', 'The file does not hold a JSON object.');
  const root = new Fields(json, '');
  if (!Number.isInteger(options.tensorParallelSize) || options.tensorParallelSize < 1) {
    refuse('outOfRange', 'tensor_parallel_size', 'The tensor-parallel size must be a whole number of at least 1.');
  }
  const text = findTextConfig(json);
  const architecture = root.list('architectures')?.[0] ?? null;
  const architectureName = typeof architecture === 'string' ? architecture : null;
  const rootType = root.text('model_type');
  const notes: string[] = [];
  const bidirectional = text.fields.raw('use_bidirectional_attention');
  const shared: Shared = {
    attnType: readAttnType(text.fields, text.modelType),
    softcap: text.fields.number('attn_logit_softcapping') ?? 0,
    alibi: readAlibi(root, text, architectureName),
    mmPrefix: isMmPrefix(
      options.vllmVersion,
      rootType,
      root.boolean('is_mm_prefix_lm'),
      typeof bidirectional === 'string' || typeof bidirectional === 'boolean' ? bidirectional : null,
    ),
  };
  const mla = readMla(text, options);
  if (mla === null && text.modelType !== null && isMlaTypeInSomeRelease(text.modelType)) {
    notes.push(`vLLM ${options.vllmVersion} does not run ${text.modelType} with this config as MLA.`);
  }
  let layerGroups = readEncoderDecoder(text.fields, options, shared);
  if (layerGroups === null)
    layerGroups = groupLayers(readLayers(text, mla?.headDim ?? null, options, notes), mla, options, shared);
  if (layerGroups.length === 0)
    notes.push('No layer of this model has attention, so no attention backend is selected.');
  // vLLM fills this in for Unlimited-OCR, whose config does not name it.
  const rswaWindow = root.number('rswa_window') ?? (architectureName === 'UnlimitedOCRForCausalLM' ? 128 : null);
  const kvQuantization = readKvQuantization(root, text.fields);
  const model: ModelFacts = {
    modelType: text.modelType,
    architecture: architectureName,
    dtype: readDtype(root, text.fields),
    ...(root.number('canvas_length') === null ? {} : { isDiffusion: true }),
    ...(rswaWindow === null ? {} : { rswaWindow }),
    ...((text.fields.number('num_kv_shared_layers') ?? 0) > 0 ? { kvSharing: true } : {}),
    ...(kvQuantization === null ? {} : { kvQuantization }),
    layerGroups,
  };
  return { ok: true, model, notes: [...notes, ...notesOnDefaults(text)] };
}

/**
 * Reads a parsed `config.json`. Head counts are per tensor-parallel rank, head sizes as vLLM passes them to its selector.
 * Never throws: what cannot be read comes back as an error that names the field.
 */
export function readModelShape(json: unknown, options: ModelShapeOptions): ModelShapeResult {
  try {
    return read(json, options);
  } catch (error) {
    if (error instanceof ModelShapeFailure) return { ok: false, error: error.refusal };
    throw error;
  }
}
