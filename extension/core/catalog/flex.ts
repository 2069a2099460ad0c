/**
 * FLEX_ATTENTION: `v1/attention/backends/flex_attention.py`.
 */
import { kvBaseAnd, multipleOf, YES, type BackendRow } from './backendRow';
import { always } from './releases';

/** FLEX_ATTENTION. */
export const FLEX_ATTENTION: BackendRow = {
  id: 'FLEX_ATTENTION',
  since: '0.11.1',
  file: 'v1/attention/backends/flex_attention.py',
  dtypes: always(['float16', 'bfloat16', 'float32'], 'FX-1'),
  kvCacheDtype: kvBaseAnd(),
  blockSizes: [
    { since: '0.11.1', value: () => [multipleOf(1)], rule: 'FX-3' },
    { since: '0.21.0', value: () => [multipleOf(16)], rule: 'FX-3' },
  ],
  mmPrefix: [{ since: '0.13.0', value: YES, rule: 'FX-2' }],
  attnTypes: always(['decoder', 'encoder_only'], 'FX-2'),
  slidingWindow: always(YES),
  rswa: always(YES),
  nonCausal: always(YES),
  batchInvariant: [{ since: '0.21.0', value: YES, rule: 'FX-3' }],
};
