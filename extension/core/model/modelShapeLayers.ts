/**
 * Which kind of attention each layer has: full, sliding window, chunked local, or none (linear attention, Mamba …).
 * Models say it in a dozen ways; the explicit list wins over every pattern.
 */
import type { ClassDefaults } from './modelShapeDefaults';
import type { Fields } from './modelShapeFields';
import { checkedInteger, isJsonObject, refuse } from './modelShapeFields';

/** `none` = no KV attention in this layer, so no backend of ours is selected for it. */
export type LayerKind = 'full' | 'sliding' | 'chunked' | 'none';

/** Spellings found in config classes and in models with their own code. */
const KIND_OF: Readonly<Record<string, LayerKind>> = {
  full_attention: 'full',
  attention: 'full',
  global_attention: 'full',
  global: 'full',
  hybrid: 'full',
  indexed_attention: 'full',
  deepseek_sparse_attention: 'full',
  qwen_sparse_attention: 'full',
  compressed_sparse_attention: 'full',
  heavily_compressed_attention: 'full',
  // The window of R-SWA is the model's, not the layer's.
  reference_sliding_attention: 'full',
  sliding_attention: 'sliding',
  hybrid_sliding: 'sliding',
  local_attention: 'sliding',
  chunked_attention: 'chunked',
  linear_attention: 'none',
  mamba: 'none',
  mamba2: 'none',
  recurrent: 'none',
  conv: 'none',
  moe: 'none',
  mlp: 'none',
};

/** Letters of patterns: our own cycles, Nemotron-H's `M*-E`, EXAONE's `LLLG`. */
const CYCLE_KINDS: Readonly<Record<string, LayerKind>> = { F: 'full', S: 'sliding', C: 'chunked', L: 'none' };
const NEMOTRON_KINDS: Readonly<Record<string, LayerKind>> = { '*': 'full', M: 'none', '-': 'none', E: 'none' };
const EXAONE_KINDS: Readonly<Record<string, LayerKind>> = { L: 'sliding', G: 'full' };

/** More layers than any model has; a larger number is a mistake and would only cost memory. */
export const LAYER_LIMIT = 4096;

/** The kinds, one per layer, and whether the config listed them itself or they follow from a rule. */
export interface LayerKinds {
  readonly kinds: readonly LayerKind[];
  readonly listed: boolean;
}

function perLayer(count: number, kindOf: (index: number) => LayerKind): LayerKinds {
  return { kinds: Array.from({ length: count }, (_unused, index) => kindOf(index)), listed: false };
}

function fromNames(names: readonly unknown[], field: string, count: number): LayerKinds {
  if (names.length < count) {
    refuse('outOfRange', field, `${field} names ${names.length} layers, but the model has ${count}.`);
  }
  const kinds = names.slice(0, count).map((name, index): LayerKind => {
    const kind = typeof name === 'string' && Object.hasOwn(KIND_OF, name) ? KIND_OF[name] : undefined;
    const shown = typeof name === 'string' && name.length <= 48 ? `"${name}"` : `a ${typeof name}`;
    return (
      kind ??
      refuse(
        'unsupported',
        `${field}[${index}]`,
        `${field}[${index}] is ${shown}, a layer kind this version does not know.`,
      )
    );
  });
  return { kinds, listed: true };
}

function fromLetters(
  letters: string,
  field: string,
  count: number,
  table: Readonly<Record<string, LayerKind>>,
  repeat: boolean,
): LayerKinds {
  if (letters.length === 0 || (!repeat && letters.length < count)) {
    refuse('outOfRange', field, `${field} has ${letters.length} letters, but the model has ${count} layers.`);
  }
  return perLayer(count, (index) => {
    const letter = letters[index % letters.length] ?? '';
    const kind = Object.hasOwn(table, letter) ? table[letter] : undefined;
    return (
      kind ?? refuse('unsupported', field, `${field} holds the letter "${letter}", which this version does not know.`)
    );
  });
}

/** Layers named by index have attention, all others none. `base` is 1 where the config counts from one. */
function fromIndices(indices: readonly number[], count: number, base: number): LayerKinds {
  const set = new Set(indices.map((index) => index - base));
  return perLayer(count, (index) => (set.has(index) ? 'full' : 'none'));
}

/** Kinds for models that mix attention with other layers, `null` when the config says nothing of the sort. */
function hybridKinds(text: Fields, count: number): LayerKinds | null {
  const pattern = text.text('hybrid_override_pattern');
  if (pattern !== null)
    return fromLetters(pattern, text.nameOf('hybrid_override_pattern'), count, NEMOTRON_KINDS, false);

  const slidingFlags = text.integers('hybrid_layer_pattern', 0);
  if (slidingFlags !== null) {
    return perLayer(count, (index) => (slidingFlags[index] === 1 ? 'sliding' : 'full'));
  }
  const attentionFlags = text.integers('attn_type_list', 0);
  if (attentionFlags !== null) return perLayer(count, (index) => (attentionFlags[index] === 1 ? 'full' : 'none'));

  const zeroBased =
    text.integers('attn_layer_indices', 0) ??
    text.integers('full_attn_idxs', 0) ??
    text.integers('hybrid_layer_ids', 0);
  if (zeroBased !== null) return fromIndices(zeroBased, count, 0);
  const oneBased = text.nested('linear_attn_config')?.integers('full_attn_layers', 1) ?? null;
  if (oneBased !== null) return fromIndices(oneBased, count, 1);

  const globalEvery = text.integer('global_attn_every_n_layers', 1);
  if (globalEvery !== null) return perLayer(count, (index) => (index % globalEvery === 0 ? 'full' : 'sliding'));

  const period = text.integer('attn_layer_period', 1);
  if (period !== null) {
    const offset = text.integer('attn_layer_offset', 0) ?? 0;
    return perLayer(count, (index) => (index % period === offset ? 'full' : 'none'));
  }
  const interval = text.integer('full_attention_interval', 1) ?? text.integer('layer_group_size', 1);
  if (interval !== null) return perLayer(count, (index) => ((index + 1) % interval === 0 ? 'full' : 'none'));
  return null;
}

/** Kinds of models that alternate windows, from `sliding_window_pattern` (a period or letters). */
function windowPatternKinds(text: Fields, count: number): LayerKinds | null {
  const pattern = text.raw('sliding_window_pattern') ?? text.raw('_sliding_window_pattern');
  if (pattern === undefined) return null;
  const field = text.nameOf('sliding_window_pattern');
  if (typeof pattern === 'string') return fromLetters(pattern, field, count, EXAONE_KINDS, true);
  const period = checkedInteger(pattern, field, 0);
  // A period of 0 or 1 leaves no layer with a window (EXAONE writes 0 for models without windows).
  return perLayer(count, (index) => (period <= 1 || (index + 1) % period === 0 ? 'full' : 'sliding'));
}

/** NAS-pruned models list their blocks; a block may have no attention at all. */
function blockKinds(text: Fields, count: number): LayerKinds | null {
  const blocks = text.list('block_configs');
  if (blocks === null) return null;
  return perLayer(count, (index) => {
    const block = blocks[index];
    const attention = isJsonObject(block) ? block['attention'] : undefined;
    return isJsonObject(attention) && attention['no_op'] === true ? 'none' : 'full';
  });
}

/** Layers of models whose config has a window and no layer list: all, or those above `max_window_layers`. */
function uniformKinds(text: Fields, count: number, hasWindow: boolean): LayerKinds {
  if (!hasWindow) return perLayer(count, () => 'full');
  const from = text.raw('use_sliding_window') === true ? (text.integer('max_window_layers', 0) ?? 0) : 0;
  return perLayer(count, (index) => (index >= from ? 'sliding' : 'full'));
}

/**
 * The kind of each of `count` layers of a text config. `hasWindow` says that a sliding window is in force at all.
 * Throws ModelShapeFailure for lists that do not fit and names it does not know.
 */
export function layerKinds(
  text: Fields,
  row: ClassDefaults | undefined,
  count: number,
  hasWindow: boolean,
): LayerKinds {
  const names = text.list('layer_types') ?? null;
  if (names !== null) return fromNames(names, text.nameOf('layer_types'), count);
  const blockTypes = text.list('layers_block_type');
  if (blockTypes !== null) return fromNames(blockTypes, text.nameOf('layers_block_type'), count);

  const chunkFlags = text.integers('no_rope_layers', 0);
  if (chunkFlags !== null && chunkFlags.length >= count && text.raw('attention_chunk_size') !== undefined) {
    return perLayer(count, (index) => (chunkFlags[index] === 0 ? 'full' : 'chunked'));
  }
  const hybrid = hybridKinds(text, count) ?? blockKinds(text, count);
  if (hybrid !== null) return hybrid;
  if (hasWindow) {
    const windowed = windowPatternKinds(text, count);
    if (windowed !== null) return windowed;
  }
  if (row?.layerCycle !== undefined) return fromLetters(row.layerCycle, 'layer cycle', count, CYCLE_KINDS, true);
  return uniformKinds(text, count, hasWindow);
}
