/** Named requests. Each has a size for a GPU and one that the CPU reference device finishes in seconds. */
import { PAGE_SIZES } from '../attentionCase';
import type { RequestForm } from './requestForm';

/** A request under a name. */
export interface Preset {
  readonly id: string;
  readonly title: string;
  /** One sentence: what it answers. */
  readonly description: string;
  readonly gpu: RequestForm;
  /** Same head sizes and layouts; kvLen ≤ 1k and 1–2 heads. */
  readonly cpu: RequestForm;
}

const ALL_HEAD_DIMS = [64, 96, 128, 192, 256, 512];

/** A GPU form and its CPU size: lengths and heads cut down, head sizes, layouts and head ratio (up to 2) kept. */
function preset(id: string, title: string, description: string, gpu: RequestForm): Preset {
  const cpu: RequestForm = {
    ...gpu,
    qHeads: gpu.qHeads > gpu.kvHeads ? 2 : 1,
    kvHeads: 1,
    batch: 1,
    qLen: Math.min(gpu.qLen, 128),
    kvLen: Math.min(gpu.kvLen, gpu.op === 'decode' ? 1024 : 256),
  };
  return { id, title, description, gpu, cpu };
}

const prefill = { op: 'prefill', dtype: 'bf16', batch: 1, causal: true } as const;
/** One new token per sequence, as a serving engine decodes. */
const decode = { op: 'decode', dtype: 'bf16', batch: 32, qLen: 1, causal: true } as const;

/** DeepSeek's attention as it decodes: K and V in one latent of 512 and 64 rope elements, one KV head. */
const mlaDecode = { ...decode, op: 'mlaDecode', kvHeads: 1 } as const;

/** In menu order; `quick` first because it is what a first-time user runs. */
export const PRESETS: readonly Preset[] = [
  preset('quick', 'Quick check', 'Does the common head size work, contiguous and paged, and about how fast?', {
    ...prefill,
    headDims: [64, 128, 256],
    pageSizes: [null, 16],
    qHeads: 32,
    kvHeads: 8,
    qLen: 4096,
    kvLen: 4096,
  }),
  preset('prefill-head-sizes', 'Head sizes, prefill', 'Every head-size tile at 16k tokens, causal.', {
    ...prefill,
    headDims: ALL_HEAD_DIMS,
    pageSizes: [null],
    qHeads: 32,
    kvHeads: 8,
    qLen: 16_384,
    kvLen: 16_384,
  }),
  preset('prefill-full', 'Head sizes, prefill without mask', 'The same without the causal mask, as papers quote it.', {
    ...prefill,
    causal: false,
    headDims: ALL_HEAD_DIMS,
    pageSizes: [null],
    qHeads: 32,
    kvHeads: 8,
    qLen: 16_384,
    kvLen: 16_384,
  }),
  preset('decode-head-sizes', 'Head sizes, decode', 'Every head-size tile, 32 sequences of 8k tokens.', {
    ...decode,
    headDims: ALL_HEAD_DIMS,
    pageSizes: [null],
    qHeads: 32,
    kvHeads: 8,
    kvLen: 8192,
  }),
  preset('paged-decode', 'Paged KV sweep, decode', 'What each page size costs against contiguous KV.', {
    ...decode,
    headDims: [64, 128, 256, 512],
    pageSizes: [null, ...PAGE_SIZES],
    qHeads: 32,
    kvHeads: 8,
    kvLen: 8192,
  }),
  preset('paged-prefill', 'Paged KV sweep, prefill', 'What each page size costs against contiguous KV, 8k causal.', {
    ...prefill,
    headDims: [64, 128, 256, 512],
    pageSizes: [null, ...PAGE_SIZES],
    qHeads: 32,
    kvHeads: 8,
    qLen: 8192,
    kvLen: 8192,
  }),
  preset('gemma4', 'Gemma 4 (256/512)', 'The two head sizes of Gemma 4 31B, at the block sizes vLLM uses.', {
    ...prefill,
    headDims: [256, 512],
    pageSizes: [null, 16, 32, 64],
    qHeads: 32,
    kvHeads: 4,
    qLen: 8192,
    kvLen: 8192,
  }),
  preset('llama31-8b-prefill', 'Llama 3.1 8B, prefill', '32 query and 8 KV heads of 128, an 8k prompt.', {
    ...prefill,
    headDims: [128],
    pageSizes: [null, 16],
    qHeads: 32,
    kvHeads: 8,
    qLen: 8192,
    kvLen: 8192,
  }),
  preset('llama31-8b-decode', 'Llama 3.1 8B, decode', '32 query and 8 KV heads of 128, 32 sequences of 8k tokens.', {
    ...decode,
    headDims: [128],
    pageSizes: [null, 16],
    qHeads: 32,
    kvHeads: 8,
    kvLen: 8192,
  }),
  preset('mla-decode', 'DeepSeek MLA, decode', '128 query heads over one latent KV head, 128 sequences of 4k tokens.', {
    ...mlaDecode,
    headDims: [576],
    batch: 128,
    pageSizes: [16, 64, 128],
    qHeads: 128,
    kvLen: 4096,
  }),
];

export function findPreset(id: string): Preset | undefined {
  return PRESETS.find((each) => each.id === id);
}
