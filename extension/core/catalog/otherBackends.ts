/**
 * Standard-attention backends outside the usual four: TURBOQUANT, ULTRAQUANT, HPC_ATTN, B12X, TREE_ATTN, XFORMERS.
 */
import {
  exactly,
  headIn,
  kvBaseAnd,
  kvIn,
  multipleOf,
  refuse,
  YES,
  type BackendRow,
  type CombinationOutcome,
} from './backendRow';
import { isQuantizedKvCache } from './kvCacheDtype';
import { atLeast, isCapability, type SelectorContext, type SelectorQuery } from './query';
import { always } from './releases';

/** TURBOQUANT (`turboquant_attn.py`). */
export const TURBOQUANT: BackendRow = {
  id: 'TURBOQUANT',
  since: '0.20.0',
  file: 'v1/attention/backends/turboquant_attn.py',
  headSize: always((query) => query.headSize > 0, 'TQ-1'),
  kvCacheDtype: always((query) => query.kvCacheDtype?.startsWith('turboquant_') === true, 'TQ-1'),
  blockSizes: always(() => exactly(16, 32, 64, 128), 'TQ-1'),
};

/** ULTRAQUANT (`ultraquant_attn.py`). */
export const ULTRAQUANT: BackendRow = {
  ...TURBOQUANT,
  id: 'ULTRAQUANT',
  since: '0.32.0',
  file: 'v1/attention/backends/ultraquant_attn.py',
  dtypes: always(['bfloat16']),
  kvCacheDtype: always((query) => query.kvCacheDtype === 'ultraquant_4bit'),
  preferredBlockSize: always(() => 64),
};

/** HPC_ATTN (`hpc_attn.py`). */
export const HPC_ATTN: BackendRow = {
  id: 'HPC_ATTN',
  since: '0.25.0',
  file: 'v1/attention/backends/hpc_attn.py',
  headSize: always(headIn(128), 'HPC-1'),
  kvCacheDtype: always(kvIn('auto', 'bfloat16', 'fp8_e4m3'), 'HPC-1'),
  blockSizes: always(() => exactly(64), 'HPC-1'),
  capability: [
    { since: '0.25.0', value: (_query, context) => atLeast(context, 9, 0), rule: 'HPC-1' },
    { since: '0.28.0', value: (_query, context) => isCapability(context, 9, 0), rule: 'HPC-1' },
  ],
};

const isB12xDevice = (context: SelectorContext): boolean =>
  isCapability(context, 12, 0) || isCapability(context, 12, 1);

function b12xCombination(query: SelectorQuery, context: SelectorContext): CombinationOutcome {
  const kv = query.kvCacheDtype;
  if (query.dtype !== 'bfloat16') {
    return refuse('b12x currently requires bfloat16 queries', 'B12-2');
  }
  if (kv === 'float16') {
    return refuse('b12x does not support float16 KV cache', 'B12-2');
  }
  if (kv !== null && isQuantizedKvCache(context.release, kv) && kv !== 'fp8' && kv !== 'fp8_e4m3') {
    return refuse('b12x currently supports only fp8/fp8_e4m3 quantized KV cache dtypes', 'B12-2');
  }
  if (context.libraries.b12x === null) {
    return { kind: 'unknown', text: 'whether the b12x package is installed is not known' };
  }
  if (!context.libraries.b12x) {
    return refuse('Install the b12x backend with `pip install vllm[b12x]`', 'B12-3');
  }
  return isB12xDevice(context)
    ? { kind: 'unknown', text: 'b12x itself decides at run time whether it takes this device' }
    : refuse('b12x paged attention is not supported on the current device', 'B12-3');
}

/** B12X (`b12x.py`): pages of exactly 64 or 128 tokens. */
export const B12X: BackendRow = {
  id: 'B12X',
  since: '0.30.0',
  file: 'v1/attention/backends/b12x.py',
  headSize: always(headIn(64, 128, 192, 256), 'B12-1'),
  dtypes: always(['bfloat16'], 'B12-2'),
  kvCacheDtype: always(kvIn('auto', 'bfloat16', 'fp8', 'fp8_e4m3'), 'B12-1'),
  blockSizes: always(() => exactly(64, 128), 'B12-1'),
  takesBlockSize: always((tokens) => tokens === 64 || tokens === 128, 'B12-1'),
  preferredBlockSize: always((_context, tokens) => (tokens === 64 || tokens === 128 ? tokens : 128)),
  sinks: always(YES, 'B12-1'),
  slidingWindow: always(YES, 'B12-1'),
  capability: always((_query, context) => isB12xDevice(context), 'B12-1'),
  combination: always(b12xCombination),
};

/** TREE_ATTN, removed with 0.21.0 (`tree_attn.py`). */
export const TREE_ATTN: BackendRow = {
  id: 'TREE_ATTN',
  since: '0.11.1',
  until: '0.20.2',
  file: 'v1/attention/backends/tree_attn.py',
  headSize: always(headIn(32, 64, 96, 128, 160, 192, 224, 256)),
  kvCacheDtype: kvBaseAnd(),
  blockSizes: always(() => [multipleOf(16)]),
};

/** XFORMERS, removed with 0.12.0 (`xformers.py`). */
export const XFORMERS: BackendRow = {
  id: 'XFORMERS',
  since: '0.11.1',
  until: '0.11.2',
  file: 'v1/attention/backends/xformers.py',
  headSize: always((query) => query.headSize % 8 === 0 && query.headSize >= 32 && query.headSize <= 256),
  kvCacheDtype: kvBaseAnd(),
  blockSizes: always(() => [multipleOf(16)]),
};
