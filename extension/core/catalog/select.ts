/**
 * The selection itself: explicit backend or priority list, as `get_attn_backend_cls` of `platforms/cuda.py` does it,
 * with vLLM's own error texts.
 */
import type { VerdictReason } from '../verdict';
import { attnSpecKind, KV_CACHE_KINDS } from './configFields';
import { backendPriorities, prioritiesSource } from './priorities';
import type { SelectorContext, SelectorQuery } from './query';
import { backendNames, backendRow, backendSource, memberKind } from './registry';
import { requiredAt, valueAt, within, type Release, type Steps } from './releases';
import { validate, type Validation } from './validator';

/** The user's choice of backend in a configuration. */
export type BackendChoice =
  | { readonly kind: 'automatic' }
  | { readonly kind: 'backend'; readonly name: string }
  /** The configuration class refuses the name. */
  | { readonly kind: 'configError'; readonly text: string };

/** The name a release looks up for what the user wrote: up to 0.12.0 a variable's own text, from 0.13.0 on in capitals. */
export function lookedUpName(release: Release, written: string): string {
  return within(release, '0.13.0') ? written.toUpperCase() : written.replace(/_VLLM_V1$/, '');
}

/**
 * What the release does with a backend name as the user wrote it; `null` = not set. A value of `backend_per_kind` is
 * stricter than the plain setting: neither `auto` nor the names that only mean automatic selection are rewritten.
 */
export function readBackendName(release: Release, written: string | null, perKind = false): BackendChoice {
  if (written === null) {
    return { kind: 'automatic' };
  }
  if (!perKind && within(release, '0.18.0') && written.toLowerCase() === 'auto') {
    return { kind: 'automatic' };
  }
  const name = lookedUpName(release, written);
  const kind = memberKind(release, name);
  if (kind === 'automatic' && !perKind) {
    return { kind: 'automatic' };
  }
  if (kind !== null) {
    return { kind: 'backend', name };
  }
  const names = backendNames(release);
  const text = within(release, '0.13.0')
    ? `Unknown attention backend: '${name}'. Valid options are: ${names.join(', ')}`
    : `Invalid attention backend: '${name}'. Valid backends are: [${names.map((entry) => `'${entry}'`).join(', ')}]`;
  return { kind: 'configError', text };
}

/**
 * The user's choice for one layer: `backend_per_kind` (0.26.0 on) before the plain backend. Every entry of the map is
 * read when the configuration is built, so one bad entry stops a model that has no layer of that kind.
 */
export function chooseBackend(
  release: Release,
  backend: string | null,
  perKind: Readonly<Record<string, string>>,
  query: Pick<SelectorQuery, 'useMla' | 'hasSlidingWindow' | 'attnType'>,
): BackendChoice {
  const plain = readBackendName(release, backend);
  if (!within(release, '0.26.0') || plain.kind === 'configError') {
    return plain;
  }
  for (const [kind, written] of Object.entries(perKind)) {
    if (!KV_CACHE_KINDS.includes(kind)) {
      const kinds = [...KV_CACHE_KINDS].sort().join(', ');
      return {
        kind: 'configError',
        text: `Unknown KV cache group kind '${kind}' in backend_per_kind. Valid kinds are: ${kinds}.`,
      };
    }
    const choice = readBackendName(release, written, true);
    if (choice.kind === 'configError') {
      return choice;
    }
  }
  const own = perKind[attnSpecKind(query)];
  return own === undefined ? plain : readBackendName(release, own, true);
}

/** One backend as the selection sees it. */
export interface Candidate extends Validation {
  readonly backend: string;
}

/** Outcome of one selection. */
export interface Selection {
  /** Backends in the order they were tried; only the explicit one when one was given. */
  readonly candidates: readonly Candidate[];
  /** Name of the winner; `null` = none, see `error` and `unknown`. */
  readonly backend: string | null;
  /** The exception text vLLM would raise; `null` = it would not, or it is unknown. */
  readonly error: string | null;
  /** Why the outcome cannot be told; `null` = it can. */
  readonly unknown: string | null;
  /** Higher-priority backends that a user block size alone kept out (0.18.0 on). */
  readonly precludedByBlockSize: readonly string[];
}

/** Fields `AttentionSelectorConfig` prints, by release. */
const REPR_FIELDS: Steps<readonly (keyof typeof REPR)[]> = [
  {
    since: '0.13.0',
    value: [
      'head_size',
      'dtype',
      'kv_cache_dtype',
      'block_size',
      'use_mla',
      'has_sink',
      'use_sparse',
      'use_mm_prefix',
      'attn_type',
    ],
  },
  { since: '0.17.0', value: fields() },
  { since: '0.20.0', value: fields('use_non_causal', 'use_batch_invariant') },
  { since: '0.23.0', value: fields('use_non_causal', 'use_batch_invariant', 'use_kv_connector') },
  {
    since: '0.26.0',
    value: fields('has_sliding_window', 'use_non_causal', 'use_batch_invariant', 'use_kv_connector', 'use_pcp'),
  },
  {
    since: '0.28.0',
    value: fields(
      'has_sliding_window',
      'use_non_causal',
      'use_batch_invariant',
      'use_kv_connector',
      'use_adaptive_verification',
      'use_pcp',
    ),
  },
  {
    since: '0.29.0',
    value: fields(
      'has_sliding_window',
      'use_non_causal',
      'use_batch_invariant',
      'use_kv_connector',
      'use_adaptive_verification',
      'use_pcp',
      'use_dcp',
    ),
  },
  {
    since: '0.30.0',
    value: fields(
      'has_sliding_window',
      'use_non_causal',
      'use_batch_invariant',
      'use_kv_connector',
      'use_adaptive_verification',
      'use_pcp',
      'use_dcp',
      'use_rswa',
    ),
  },
];

function fields(...more: readonly (keyof typeof REPR)[]): readonly (keyof typeof REPR)[] {
  return [
    'head_size',
    'dtype',
    'kv_cache_dtype',
    'block_size',
    'use_mla',
    'has_sink',
    'use_sparse',
    'use_mm_prefix',
    'use_per_head_quant_scales',
    'attn_type',
    ...more,
  ];
}

/** How Python prints each field of the question. */
const REPR = {
  head_size: (query: SelectorQuery) => String(query.headSize),
  dtype: (query: SelectorQuery) => `torch.${query.dtype}`,
  kv_cache_dtype: (query: SelectorQuery) => query.kvCacheDtype ?? 'None',
  block_size: (query: SelectorQuery) => (query.blockSize === null ? 'None' : String(query.blockSize)),
  use_mla: (query: SelectorQuery) => pythonBool(query.useMla),
  has_sink: (query: SelectorQuery) => pythonBool(query.hasSink),
  use_sparse: (query: SelectorQuery) => pythonBool(query.useSparse),
  use_mm_prefix: (query: SelectorQuery) => pythonBool(query.useMmPrefix),
  use_per_head_quant_scales: (query: SelectorQuery) => pythonBool(query.usePerHeadQuantScales),
  attn_type: (query: SelectorQuery) => query.attnType,
  has_sliding_window: (query: SelectorQuery) => pythonBool(query.hasSlidingWindow),
  use_non_causal: (query: SelectorQuery) => pythonBool(query.useNonCausal),
  use_batch_invariant: (query: SelectorQuery) => pythonBool(query.useBatchInvariant),
  use_kv_connector: (query: SelectorQuery) => pythonBool(query.useKvConnector),
  use_adaptive_verification: (query: SelectorQuery) => pythonBool(query.useAdaptiveVerification),
  use_pcp: (query: SelectorQuery) => pythonBool(query.usePcp),
  use_dcp: (query: SelectorQuery) => pythonBool(query.useDcp),
  use_rswa: (query: SelectorQuery) => pythonBool(query.useRswa),
} as const;

function pythonBool(value: boolean): string {
  return value ? 'True' : 'False';
}

/** The question as the release prints it in its error. */
function describeQuery(release: Release, query: SelectorQuery): string {
  if (!within(release, '0.13.0')) {
    const old = ['head_size', 'dtype', 'kv_cache_dtype', 'block_size', 'use_mla', 'has_sink', 'use_sparse'] as const;
    return old.map((field) => `${field}: ${REPR[field](query)}`).join(', ');
  }
  const printed = requiredAt(REPR_FIELDS, release).map((field) => `${field}=${REPR[field](query)}`);
  return `AttentionSelectorConfig(${printed.join(', ')})`;
}

const UNAVAILABLE: Validation = { reasons: [], raised: null, unknown: null };

/** What a missing package's import error is called in the reason list of a release. */
function importFailure(release: Release, text: string): string {
  return within(release, '0.29.0') ? text : 'ImportError';
}

/** Validates one backend by name, import failures included. */
export function judge(name: string, query: SelectorQuery, context: SelectorContext): Candidate {
  const { release } = context;
  const kind = memberKind(release, name);
  if (kind === 'missingModule') {
    const text = importFailure(
      release,
      `ModuleNotFoundError: No module named 'vllm.v1.attention.backends.${name.toLowerCase()}'`,
    );
    return { backend: name, ...UNAVAILABLE, reasons: [importReason(release, text)] };
  }
  const row = backendRow(release, name);
  if (row === undefined) {
    const unknown =
      kind === 'modelDriven' || kind === 'automatic'
        ? `${name} is chosen by one model's own code; its rules are not in the catalog`
        : kind === 'otherPlatform'
          ? `${name} belongs to another platform; what it does on CUDA is not in the catalog`
          : `${name} is not in the catalog for vLLM ${release}`;
    return { backend: name, ...UNAVAILABLE, unknown };
  }
  if (row.imports !== undefined && valueAt(row.imports, release) === 'flashinfer' && !context.libraries.flashinfer) {
    const text = importFailure(release, "ModuleNotFoundError: No module named 'flashinfer'");
    return {
      backend: name,
      ...UNAVAILABLE,
      reasons: [{ ...importReason(release, text), source: { where: backendSource(release, row) } }],
    };
  }
  return { backend: name, ...validate(row, query, context) };
}

function importReason(release: Release, text: string): VerdictReason {
  return { code: 'IMPORT', text, source: { where: prioritiesSource(release) } };
}

/** The question as the selection sees it: up to 0.17.1 the platform drops the block size. */
export function atSelection(release: Release, query: SelectorQuery): SelectorQuery {
  return within(release, '0.18.0') ? query : { ...query, blockSize: null };
}

function pythonList(texts: readonly string[]): string {
  return `[${texts.map((text) => (text.includes("'") ? `"${text}"` : `'${text}'`)).join(', ')}]`;
}

function selectExplicit(name: string, query: SelectorQuery, context: SelectorContext): Selection {
  const { release } = context;
  const none = { backend: null, error: null, unknown: null, precludedByBlockSize: [] };
  if (memberKind(release, name) === 'unregistered') {
    return {
      ...none,
      candidates: [],
      error: `Backend ${name} must be registered before use. Use register_backend(Backend.${name}, 'your.module.YourClass')`,
    };
  }
  const candidate = judge(name, query, context);
  if (candidate.raised !== null) {
    return { ...none, candidates: [candidate], error: candidate.raised };
  }
  if (candidate.reasons.length > 0) {
    const texts = candidate.reasons.map((reason) => reason.text);
    const quoted = candidate.reasons[0]?.code === 'IMPORT' && within(release, '0.29.0');
    return {
      ...none,
      candidates: [candidate],
      unknown: candidate.unknown,
      error: `Selected backend AttentionBackendEnum.${name} is not valid for this configuration. Reason: ${quoted ? `[${texts.join(', ')}]` : pythonList(texts)}`,
    };
  }
  if (candidate.unknown !== null) {
    return { ...none, candidates: [candidate], unknown: candidate.unknown };
  }
  return { ...none, candidates: [candidate], backend: name };
}

/** Selects a backend. An explicit one is never replaced. */
export function selectBackend(choice: BackendChoice, asked: SelectorQuery, context: SelectorContext): Selection {
  const { release } = context;
  const query = atSelection(release, asked);
  if (choice.kind === 'configError') {
    return { candidates: [], backend: null, error: choice.text, unknown: null, precludedByBlockSize: [] };
  }
  if (choice.kind === 'backend') {
    return selectExplicit(choice.name, query, context);
  }
  const order = backendPriorities(release, context.capability, query);
  const candidates = order.map((name) => judge(name, query, context));
  const raised = candidates.find((candidate) => candidate.raised !== null);
  if (raised !== undefined) {
    return { candidates, backend: null, error: raised.raised, unknown: null, precludedByBlockSize: [] };
  }
  const winner = candidates.findIndex((candidate) => candidate.reasons.length === 0);
  const first = candidates[winner];
  if (first === undefined) {
    const shown = describeQuery(release, within(release, '0.13.0') ? query : asked);
    const reasons = candidates.map(
      (candidate) => `${candidate.backend}: [${candidate.reasons.map((reason) => reason.text).join(', ')}]`,
    );
    return {
      candidates,
      backend: null,
      error: `No valid attention backend found for cuda with ${shown}. Reasons: {${reasons.join(', ')}}.`,
      unknown: null,
      precludedByBlockSize: [],
    };
  }
  if (first.unknown !== null) {
    return { candidates, backend: null, error: null, unknown: first.unknown, precludedByBlockSize: [] };
  }
  const precluded =
    query.blockSize === null
      ? []
      : candidates
          .slice(0, winner)
          .filter((candidate) => candidate.reasons.length === 1 && candidate.reasons[0]?.code === 'VAL-04')
          .map((candidate) => candidate.backend);
  return { candidates, backend: first.backend, error: null, unknown: null, precludedByBlockSize: precluded };
}
