/**
 * The self-test: every bundled kernel once, on shapes chosen for their edges rather than their size.
 *
 * Each case is checked in full (every row, guard bands, repeated launches), so they stay small: the whole list takes
 * seconds on a GPU. What it covers: tails in every dimension, kvLen 0, 1 and around tile edges, rows without a key, GQA
 * and MQA, both layouts, every page size over a shuffled table with NaN in unused rows, padding of head dims to the next
 * tile, window, soft cap and sinks, ties, outlier columns, shared pages, decode cut into many parts, and fp8 caches.
 */
import type { AttentionCase } from '../attentionCase';
import { PAGE_SIZES } from '../attentionCase';

/** Head-dim tiles the kernels are built for, each also checked with a head dim that has to be padded to it. */
const HEAD_DIMS: ReadonlyArray<{ readonly tile: number; readonly padded: readonly number[] }> = [
  { tile: 64, padded: [8, 40] },
  { tile: 96, padded: [72, 80] },
  { tile: 128, padded: [112] },
  { tile: 192, padded: [160] },
  { tile: 256, padded: [224] },
  { tile: 512, padded: [264, 320] },
];

/** Input distributions a seed can ask for in its top four bits; see native/kernels/common/random_inputs.h. */
const SEED_OUTLIERS = 0x1000_0000;
const SEED_TIES = 0x2000_0000;
const SEED_REPEATED_PAGES = 0x3000_0000;

const BASE: AttentionCase = {
  op: 'prefill',
  dtype: 'bf16',
  kvDtype: 'auto',
  kvScale: 1,
  headDim: 128,
  headDimV: 128,
  qHeads: 4,
  kvHeads: 2,
  batch: 1,
  qLens: 1,
  kvLens: 1,
  causal: true,
  window: null,
  softcap: 0,
  sinks: false,
  kvLayout: 'NHD',
  pageSize: null,
  lse: true,
  seed: 1,
};

/** Lengths around tile and page edges; sequence 4 has more queries than keys, so its first rows see nothing. */
const PREFILL_LENGTHS = { batch: 6, qLens: [1, 63, 130, 200, 129, 5], kvLens: [1, 64, 257, 130, 129, 0] };
const DECODE_LENGTHS = { batch: 8, qLens: 1, kvLens: [0, 1, 15, 16, 17, 255, 257, 3000] };
/** Long enough queries for the plans that only long queries get, few enough keys for a check of every row. */
const LONG_QUERY_LENGTHS = { batch: 2, qLens: [4096, 70], kvLens: [300, 70], qHeads: 1, kvHeads: 1 };
/** Heads in several sections, with enough row blocks for some to be kept for last (native/src/causal_order.cc). */
const SECTION_LENGTHS = { batch: 3, qHeads: 12, kvHeads: 1 };
/** Several key blocks before, inside and behind a window. */
const WINDOW_LENGTHS = { batch: 2, qLens: [400, 130], kvLens: [900, 700] };
/** A few query tokens per sequence, as speculative decoding has. */
const SHORT_QUERY_LENGTHS = { batch: 3, qLens: [2, 5, 9], kvLens: [1, 64, 1025] };
/** Around the 64 keys of a step, long enough to be split, and sequences without queries or keys. */
const MLA_LENGTHS = { batch: 8, qLens: [1, 1, 1, 0, 2, 1, 1, 3], kvLens: [0, 1, 64, 70, 1, 65, 129, 6000] };

/** MLA decode in every storage form, with head counts that fill a tile of 64 query rows, divide it, and do neither. */
function mlaShapes(): Shape[] {
  const mla = { op: 'mlaDecode', headDim: 576, headDimV: 512, kvHeads: 1 } as const;
  const shapes: Shape[] = [];
  for (const dtype of ['bf16', 'fp16'] as const) {
    for (const [index, pageSize] of [null, ...PAGE_SIZES].entries()) {
      const kvLayout = index % 2 === 0 ? 'NHD' : 'HND';
      shapes.push({ ...mla, ...MLA_LENGTHS, dtype, qHeads: [16, 128, 40][index % 3] ?? 16, pageSize, kvLayout });
    }
  }
  const short = { ...mla, ...SHORT_QUERY_LENGTHS, qHeads: 128 };
  shapes.push({ ...short, pageSize: 64 }, { ...short, pageSize: 16, causal: false, lse: false });
  shapes.push({ ...short, seed: SEED_OUTLIERS + 7 }, { ...short, seed: SEED_TIES + 7, pageSize: 128 });
  shapes.push({ ...short, seed: SEED_REPEATED_PAGES + 7, pageSize: 32 });
  // More sequences than multiprocessors: blocks with several segments.
  shapes.push({ ...mla, qHeads: 64, batch: 150, kvLens: 200, pageSize: 64 });
  return shapes;
}
/** Decode work that is cut into many parts, some of them short, and shared out over blocks that serve several KV heads. */
const SPLIT_LENGTHS = { batch: 3, qLens: 1, kvLens: [5000, 1, 12345], qHeads: 32, kvHeads: 8 };
/** More sequences than blocks: a block works through several of them, empty ones too. */
const MANY_LENGTHS = {
  batch: 40,
  qLens: 1,
  kvLens: Array.from({ length: 40 }, (_, i) => i * 37),
  qHeads: 8,
  kvHeads: 8,
};

type Shape = Partial<AttentionCase> & { headDim: number };

function build(shape: Shape, seed: number): AttentionCase {
  return { ...BASE, headDimV: shape.headDim, seed, ...shape };
}

/** All self-test cases. Pure; the same list every time, so a case is named by its index. */
export function selftestCases(): AttentionCase[] {
  const shapes: Shape[] = [];
  let turn = 0;
  /** Storage forms in turn: contiguous, then each page size, the layout changing every time around. */
  const nextStorage = (): Pick<AttentionCase, 'pageSize' | 'kvLayout'> => {
    const forms: ReadonlyArray<number | null> = [null, ...PAGE_SIZES];
    const form = forms[turn % forms.length] ?? null;
    const layout = Math.floor(turn / forms.length) % 2 === 0 ? 'NHD' : 'HND';
    turn += 1;
    return { pageSize: form, kvLayout: layout };
  };

  for (const { tile, padded } of HEAD_DIMS) {
    for (const dtype of ['bf16', 'fp16'] as const) {
      for (const causal of [true, false]) {
        shapes.push({ ...PREFILL_LENGTHS, headDim: tile, dtype, causal, ...nextStorage() });
        shapes.push({ op: 'decode', ...DECODE_LENGTHS, headDim: tile, dtype, causal, ...nextStorage() });
      }
      shapes.push({ op: 'decode', ...SHORT_QUERY_LENGTHS, headDim: tile, dtype, qHeads: 8, ...nextStorage() });
    }
    for (const headDim of padded) {
      shapes.push({ ...PREFILL_LENGTHS, headDim, ...nextStorage() });
      shapes.push({ op: 'decode', ...DECODE_LENGTHS, headDim, ...nextStorage() });
    }
  }
  for (const pageSize of PAGE_SIZES) {
    for (const kvLayout of ['NHD', 'HND'] as const) {
      for (const headDim of [128, 512]) {
        shapes.push({ ...PREFILL_LENGTHS, headDim, pageSize, kvLayout });
        shapes.push({ op: 'decode', ...DECODE_LENGTHS, headDim, pageSize, kvLayout });
      }
    }
  }
  for (const op of ['prefill', 'decode'] as const) {
    const lengths = op === 'prefill' ? PREFILL_LENGTHS : SHORT_QUERY_LENGTHS;
    for (const headDim of [64, 128, 256, 512]) {
      const shape = { op, ...lengths, headDim };
      shapes.push({ ...shape, window: 1 }, { ...shape, window: 70, pageSize: 16 });
      shapes.push({ ...shape, softcap: 5 }, { ...shape, softcap: 30, window: 33, sinks: true, pageSize: 64 });
      shapes.push({ ...shape, sinks: true }, { ...shape, sinks: true, causal: false });
      shapes.push({ ...shape, qHeads: 3, kvHeads: 3 }, { ...shape, qHeads: 17, kvHeads: 1, pageSize: 32 });
      shapes.push({ ...shape, seed: SEED_OUTLIERS + 7 }, { ...shape, seed: SEED_TIES + 7, pageSize: 128 });
      shapes.push({ ...shape, seed: SEED_REPEATED_PAGES + 7, pageSize: 16, causal: false });
      shapes.push({ ...shape, lse: false });
    }
  }
  for (const dtype of ['bf16', 'fp16'] as const) {
    for (const causal of [true, false]) {
      shapes.push({ ...LONG_QUERY_LENGTHS, headDim: 128, dtype, causal, ...nextStorage() });
      shapes.push({ ...LONG_QUERY_LENGTHS, headDim: 192, headDimV: 128, dtype, causal, ...nextStorage() });
      shapes.push({ ...PREFILL_LENGTHS, headDim: 192, headDimV: 128, dtype, causal, ...nextStorage() });
    }
    shapes.push({ ...PREFILL_LENGTHS, headDim: 80, headDimV: 64, dtype, ...nextStorage() });
    shapes.push({ op: 'decode', ...DECODE_LENGTHS, headDim: 192, headDimV: 128, dtype, ...nextStorage() });
    for (const { tile } of HEAD_DIMS) {
      shapes.push({ ...WINDOW_LENGTHS, headDim: tile, dtype, window: 150, ...nextStorage() });
      shapes.push({ ...WINDOW_LENGTHS, headDim: tile, dtype, window: 333, softcap: 20, sinks: true, ...nextStorage() });
    }
  }
  for (const [headDim, longest] of [
    [64, 800],
    [512, 256],
  ] as const) {
    const lens = [longest, 1, 30];
    shapes.push({ ...SECTION_LENGTHS, qLens: lens, kvLens: lens, headDim, ...nextStorage() });
  }
  shapes.push(...mlaShapes());
  for (const { tile: headDim } of HEAD_DIMS) {
    shapes.push({ op: 'decode', ...SPLIT_LENGTHS, headDim, ...nextStorage() });
    shapes.push({ op: 'decode', ...SPLIT_LENGTHS, headDim, pageSize: 16, dtype: 'fp16' });
    shapes.push({ op: 'decode', ...MANY_LENGTHS, headDim, ...nextStorage() });
  }
  for (const headDim of [64, 48, 96, 128, 192, 256]) {
    const fp8 = { op: 'decode', headDim, kvDtype: 'fp8_e4m3', kvScale: 0.0625 } as const;
    shapes.push({ ...fp8, ...DECODE_LENGTHS, ...nextStorage() });
    shapes.push({ ...fp8, ...SPLIT_LENGTHS, dtype: 'fp16', ...nextStorage() });
    shapes.push({ ...fp8, ...SHORT_QUERY_LENGTHS, qHeads: 8, window: 70, sinks: true, softcap: 30, ...nextStorage() });
  }
  return shapes.map((shape, index) => build(shape, shape.seed ?? index + 1));
}
