/**
 * TRITON_ATTN and TRITON_ATTN_DIFFKV: `v1/attention/backends/triton_attn.py`, `triton_attn_diffkv.py`.
 */
import { ALL_ATTN_TYPES, kvIn, multipleOf, YES, type BackendRow } from './backendRow';
import { always } from './releases';

const FP8 = ['fp8', 'fp8_e4m3', 'fp8_e5m2'] as const;

/** TRITON_ATTN. */
export const TRITON_ATTN: BackendRow = {
  id: 'TRITON_ATTN',
  since: '0.11.1',
  file: 'v1/attention/backends/triton_attn.py',
  headSize: always((query) => query.headSize >= 32, 'TR-1'),
  dtypes: always(['float16', 'bfloat16', 'float32'], 'TR-1'),
  kvCacheDtype: [
    { since: '0.11.1', value: kvIn('auto', ...FP8), rule: 'TR-4' },
    { since: '0.15.0', value: kvIn('auto', 'bfloat16', ...FP8), rule: 'TR-4' },
    { since: '0.18.0', value: kvIn('auto', 'float16', 'bfloat16', ...FP8), rule: 'TR-4' },
    {
      since: '0.20.0',
      value: kvIn('auto', 'float16', 'bfloat16', ...FP8, 'int8_per_token_head', 'fp8_per_token_head'),
      rule: 'TR-4',
    },
    {
      since: '0.25.0',
      value: kvIn(
        'auto',
        'float16',
        'bfloat16',
        ...FP8,
        'int4_per_token_head',
        'int8_per_token_head',
        'fp8_per_token_head',
      ),
      rule: 'TR-4',
    },
  ],
  blockSizes: always(() => [multipleOf(16)], 'TR-5'),
  mmPrefix: [{ since: '0.13.0', value: YES, rule: 'TR-2' }],
  sinks: always(YES, 'TR-1'),
  attnTypes: [
    { since: '0.11.1', value: ['decoder'], rule: 'TR-3' },
    { since: '0.14.0', value: ALL_ATTN_TYPES, rule: 'TR-3' },
  ],
  slidingWindow: always(YES, 'TR-5'),
  rswa: always(YES, 'TR-5'),
  nonCausal: [{ since: '0.24.0', value: YES, rule: 'TR-5' }],
  batchInvariant: always(YES, 'TR-5'),
};

/** TRITON_ATTN with a value head size of its own. */
export const TRITON_ATTN_DIFFKV: BackendRow = {
  ...TRITON_ATTN,
  id: 'TRITON_ATTN_DIFFKV',
  since: '0.24.0',
  file: 'v1/attention/backends/triton_attn_diffkv.py',
  kvCacheDtype: [
    { since: '0.24.0', value: kvIn('auto', 'bfloat16'), rule: 'DK-2' },
    { since: '0.32.0', value: kvIn('auto', 'bfloat16', 'fp8', 'fp8_e4m3'), rule: 'DK-2' },
  ],
  attnTypes: always(['decoder'], 'DK-2'),
};
