/**
 * KV cache dtypes per release (`config/cache.py`), and which of them count as quantized
 * (`utils/torch_utils.py` up to 0.32.0, `v1/kv_cache_interface.py` in 0.33.0).
 */
import { requiredAt, type Release, type Steps } from './releases';

const BASE = ['auto', 'bfloat16', 'fp8', 'fp8_e4m3', 'fp8_e5m2', 'fp8_inc', 'fp8_ds_mla'] as const;
const TURBOQUANT = ['turboquant_k8v4', 'turboquant_4bit_nc', 'turboquant_k3v4_nc', 'turboquant_3bit_nc'] as const;
const WITH_FLOAT16 = ['auto', 'float16', 'bfloat16', 'fp8', 'fp8_e4m3', 'fp8_e5m2', 'fp8_inc', 'fp8_ds_mla'] as const;
const INT8_FP8 = ['int8_per_token_head', 'fp8_per_token_head'] as const;
const INT4_INT8_FP8 = ['int4_per_token_head', ...INT8_FP8] as const;

/** Values `--kv-cache-dtype` takes, in the order of the release. */
const CACHE_DTYPES: Steps<readonly string[]> = [
  { since: '0.11.1', value: BASE },
  { since: '0.18.0', value: WITH_FLOAT16 },
  { since: '0.20.0', value: [...WITH_FLOAT16, ...TURBOQUANT, ...INT8_FP8, 'nvfp4'] },
  { since: '0.25.0', value: [...WITH_FLOAT16, ...TURBOQUANT, ...INT4_INT8_FP8, 'nvfp4'] },
  { since: '0.28.0', value: [...WITH_FLOAT16, ...TURBOQUANT, ...INT4_INT8_FP8, 'nvfp4', 'nvfp4_4over6'] },
  {
    since: '0.30.0',
    value: [...WITH_FLOAT16, 'nvfp4_ds_mla', ...TURBOQUANT, ...INT4_INT8_FP8, 'nvfp4', 'nvfp4_4over6'],
  },
  {
    since: '0.32.0',
    value: [
      ...WITH_FLOAT16,
      'nvfp4_ds_mla',
      ...TURBOQUANT,
      'ultraquant_4bit',
      ...INT4_INT8_FP8,
      'nvfp4',
      'nvfp4_4over6',
    ],
  },
  {
    since: '0.33.0',
    value: [
      ...WITH_FLOAT16,
      'nvfp4_ds_mla',
      ...TURBOQUANT,
      'octave_k3v4',
      'octave_k3v3',
      'octave_k3v3_compact',
      'ultraquant_4bit',
      ...INT4_INT8_FP8,
      'nvfp4',
      'nvfp4_4over6',
    ],
  },
];

/** Values a release takes for `--kv-cache-dtype`. */
export function kvCacheDtypes(release: Release): readonly string[] {
  return requiredAt(CACHE_DTYPES, release);
}

/** `is_quantized_kv_cache` as the selection code of a release imports it. */
const QUANTIZED: Steps<(dtype: string) => boolean> = [
  { since: '0.11.1', value: (dtype) => dtype !== 'auto' },
  { since: '0.16.0', value: (dtype) => dtype.startsWith('fp8') },
  {
    since: '0.20.0',
    value: (dtype) => dtype.startsWith('fp8') || dtype.endsWith('per_token_head') || dtype === 'nvfp4',
  },
  {
    since: '0.28.0',
    value: (dtype) => dtype.startsWith('fp8') || dtype.endsWith('per_token_head') || dtype.startsWith('nvfp4'),
  },
  {
    since: '0.33.0',
    value: (dtype) =>
      /^(?:fp8|nvfp4|turboquant_|octave_)/.test(dtype) ||
      ['int4_per_token_head', 'int8_per_token_head', 'ultraquant_4bit'].includes(dtype),
  },
];

/** Whether a release treats a KV cache dtype as quantized. */
export function isQuantizedKvCache(release: Release, dtype: string): boolean {
  return requiredAt(QUANTIZED, release)(dtype);
}
