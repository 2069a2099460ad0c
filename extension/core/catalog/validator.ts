/**
 * `validate_configuration` of a backend: every check in vLLM's order, all reasons collected.
 * Source: `v1/attention/backend.py` (`attention/backends/abstract.py` up to 0.13.0).
 */
import type { VerdictReason } from '../verdict';
import type { AdvertisedBlockSize, BackendRow, Rule } from './backendRow';
import { multipleOf } from './backendRow';
import type { SelectorContext, SelectorQuery } from './query';
import { backendSource } from './registry';
import { stepAt, valueAt, within, type Release, type Steps } from './releases';

/** What the validator of a release says about one backend. */
export interface Validation {
  /** vLLM's reasons against the backend, in order; empty with the rest unset = valid. */
  readonly reasons: readonly VerdictReason[];
  /** The validator throws instead of answering. */
  readonly raised: string | null;
  /** The answer depends on something that is not known. */
  readonly unknown: string | null;
}

/** Block sizes `--block-size` could be up to 0.17.1 (literal type `BlockSize`). */
export const LITERAL_BLOCK_SIZES: readonly number[] = [1, 8, 16, 32, 64, 128, 256];

/** The sizes a backend advertises in this context. */
export function advertisedBlockSizes(row: BackendRow, context: SelectorContext): readonly AdvertisedBlockSize[] {
  return (row.blockSizes && valueAt(row.blockSizes, context.release)?.(context)) ?? [multipleOf(1)];
}

/** `supports_block_size`. */
export function takesBlockSize(row: BackendRow, blockSize: number | null, context: SelectorContext): boolean {
  const { release } = context;
  const sizes = advertisedBlockSizes(row, context);
  if (row.blockSizes !== undefined && sizes.length === 0) {
    return false;
  }
  if (blockSize === null) {
    return true;
  }
  const own = row.takesBlockSize && valueAt(row.takesBlockSize, release);
  if (own !== undefined) {
    return own(blockSize, context);
  }
  if (!within(release, '0.18.0') && !LITERAL_BLOCK_SIZES.includes(blockSize)) {
    return false;
  }
  const exact = !within(release, '0.12.0');
  return sizes.some((size) =>
    exact && size.kind === 'exactly' ? blockSize === size.tokens : blockSize % size.tokens === 0,
  );
}

/** How a rule answers when a backend does not have it. */
const BASE_16_BIT: Steps<readonly string[]> = [
  { since: '0.11.1', value: ['auto'] },
  { since: '0.15.0', value: ['auto', 'bfloat16'] },
  { since: '0.18.0', value: ['auto', 'float16', 'bfloat16'] },
];

interface Check {
  /** Id of the rule (`VAL-01` …); also the reason's code. */
  readonly id: string;
  readonly since: Release;
  /** The reason against the backend; `null` = passes. */
  readonly reason: (row: BackendRow, query: SelectorQuery, context: SelectorContext) => string | null;
}

function holds(
  steps: Steps<Rule> | undefined,
  missing: boolean,
  query: SelectorQuery,
  context: SelectorContext,
): boolean {
  return (steps && valueAt(steps, context.release)?.(query, context)) ?? missing;
}

/** A check that fires when `asked` is true and the backend's flag does not hold. */
function flagCheck(
  id: string,
  since: Release,
  text: string,
  asked: (query: SelectorQuery) => boolean,
  flag: (row: BackendRow) => Steps<Rule> | undefined,
  missing = false,
): Check {
  return {
    id,
    since,
    reason: (row, query, context) => (asked(query) && !holds(flag(row), missing, query, context) ? text : null),
  };
}

const CHECKS: readonly Check[] = [
  {
    id: 'VAL-01',
    since: '0.11.1',
    reason: (row, query, context) => (holds(row.headSize, true, query, context) ? null : 'head_size not supported'),
  },
  {
    id: 'VAL-02',
    since: '0.11.1',
    reason: (row, query, context) => {
      const dtypes = (row.dtypes && valueAt(row.dtypes, context.release)) ?? ['float16', 'bfloat16'];
      return dtypes.includes(query.dtype) ? null : 'dtype not supported';
    },
  },
  {
    id: 'VAL-03',
    since: '0.11.1',
    reason: (row, query, context) => {
      const rule = row.kvCacheDtype && valueAt(row.kvCacheDtype, context.release);
      const accepted =
        rule !== undefined
          ? rule(query, context)
          : query.kvCacheDtype === null || (valueAt(BASE_16_BIT, context.release) ?? []).includes(query.kvCacheDtype);
      return accepted ? null : 'kv_cache_dtype not supported';
    },
  },
  {
    id: 'VAL-04',
    since: '0.11.1',
    reason: (row, query, context) =>
      takesBlockSize(row, query.blockSize, context) ? null : 'block_size not supported',
  },
  flagCheck(
    'VAL-05',
    '0.13.0',
    'partial multimodal token full attention not supported',
    (query) => query.useMmPrefix,
    (row) => row.mmPrefix,
  ),
  {
    id: 'VAL-06',
    since: '0.11.1',
    reason: (row, query) =>
      query.useMla === (row.mla ?? false) ? null : query.useMla ? 'MLA not supported' : 'non-MLA not supported',
  },
  {
    id: 'VAL-07',
    since: '0.11.1',
    reason: (row, query, context) => {
      if (!query.hasSink || holds(row.sinks, false, query, context)) {
        return null;
      }
      return within(context.release, '0.18.0') ? 'attention sinks not supported' : 'sink setting not supported';
    },
  },
  {
    id: 'VAL-08',
    since: '0.11.1',
    reason: (row, query) =>
      query.useSparse === (row.sparse ?? false)
        ? null
        : query.useSparse
          ? 'sparse not supported'
          : 'non-sparse not supported',
  },
  flagCheck(
    'VAL-09',
    '0.17.0',
    'per-head quant scales not supported',
    (query) => query.usePerHeadQuantScales,
    (row) => row.perHeadQuantScales,
  ),
  {
    id: 'VAL-10',
    since: '0.11.1',
    reason: (row, query, context) =>
      holds(row.capability, true, query, context) ? null : 'compute capability not supported',
  },
  {
    id: 'VAL-11',
    since: '0.11.1',
    reason: (row, query, context) => {
      const types = (row.attnTypes && valueAt(row.attnTypes, context.release)) ?? ['decoder'];
      return types.includes(query.attnType) ? null : `attention type ${query.attnType} not supported`;
    },
  },
  flagCheck(
    'VAL-12',
    '0.26.0',
    'sliding window not supported',
    (query) => query.hasSlidingWindow,
    (row) => row.slidingWindow,
  ),
  flagCheck(
    'VAL-13',
    '0.30.0',
    'R-SWA not supported',
    (query) => query.useRswa,
    (row) => row.rswa,
  ),
  flagCheck(
    'VAL-14',
    '0.20.0',
    'non-causal attention not supported',
    (query) => query.useNonCausal,
    (row) => row.nonCausal,
  ),
  flagCheck(
    'VAL-15',
    '0.29.0',
    'non-causal MLA attention with DCP not supported',
    (query) => query.useMla && query.useNonCausal && query.useDcp,
    (row) => row.nonCausalDcp,
  ),
  flagCheck(
    'VAL-16',
    '0.20.0',
    'batch invariance not supported',
    (query) => query.useBatchInvariant,
    (row) => row.batchInvariant,
  ),
  flagCheck(
    'VAL-18',
    '0.26.0',
    'PCP not supported',
    (query) => query.usePcp,
    (row) => row.pcp,
  ),
  flagCheck(
    'VAL-19',
    '0.30.0',
    'DCP not supported',
    (query) => query.useDcp,
    (row) => row.dcp,
  ),
  flagCheck(
    'VAL-20',
    '0.28.0',
    'device-cpu query lens mismatch not supported, this is needed for adaptive verification',
    (query) => query.useAdaptiveVerification,
    (row) => row.adaptiveVerification,
    true,
  ),
];

/** File that holds the generic checks in a release. */
export function validatorSource(release: Release): string {
  return `vllm ${release} ${within(release, '0.14.0') ? 'v1/attention/backend.py' : 'attention/backends/abstract.py'}`;
}

/** Which step of the backend's own table decided, so that the reason can name its rule. */
function ruleOf(row: BackendRow, id: string, release: Release): string | undefined {
  const tables: Readonly<Record<string, Steps<unknown> | undefined>> = {
    'VAL-01': row.headSize,
    'VAL-02': row.dtypes,
    'VAL-03': row.kvCacheDtype,
    'VAL-04': row.blockSizes,
    'VAL-05': row.mmPrefix,
    'VAL-07': row.sinks,
    'VAL-09': row.perHeadQuantScales,
    'VAL-10': row.capability,
    'VAL-11': row.attnTypes,
    'VAL-14': row.nonCausal,
    'VAL-20': row.adaptiveVerification,
  };
  const table = tables[id];
  return table === undefined ? undefined : stepAt(table, release)?.rule;
}

/** What the release in `context` answers for one backend; never throws. */
export function validate(row: BackendRow, query: SelectorQuery, context: SelectorContext): Validation {
  const { release } = context;
  const reasons: VerdictReason[] = [];
  for (const check of CHECKS) {
    if (!within(release, check.since)) {
      continue;
    }
    const text = check.reason(row, query, context);
    if (text !== null) {
      const own = ruleOf(row, check.id, release);
      const where = own === undefined ? validatorSource(release) : backendSource(release, row);
      reasons.push({ code: check.id, text, source: { where, ruleId: own ?? check.id } });
    }
  }
  const outcome = (row.combination && valueAt(row.combination, release)?.(query, context)) ?? { kind: 'ok' };
  if (outcome.kind === 'raises') {
    return { reasons, raised: outcome.text, unknown: null };
  }
  if (outcome.kind === 'reason') {
    reasons.push({
      code: 'VAL-21',
      text: outcome.text,
      source: { where: backendSource(release, row), ...(outcome.rule === undefined ? {} : { ruleId: outcome.rule }) },
    });
  }
  return { reasons, raised: null, unknown: outcome.kind === 'unknown' ? outcome.text : null };
}
