/**
 * One row of the backend catalog: everything vLLM's `AttentionBackend` class declares, per release.
 *
 * Each property is a table of steps over the releases. A missing property means the base class's default
 * (`v1/attention/backend.py`): 16-bit dtypes, any head, any capability, decoder only, every capability flag off except
 * the KV connector and adaptive verification.
 */
import type { AttnType, QueryDtype, SelectorContext, SelectorQuery } from './query';
import type { Release, Steps } from './releases';

/** A KV block size a backend advertises: a multiple of, or exactly, so many tokens. */
export interface AdvertisedBlockSize {
  readonly tokens: number;
  readonly kind: 'multipleOf' | 'exactly';
}

/** Any positive multiple of `tokens`. */
export function multipleOf(tokens: number): AdvertisedBlockSize {
  return { tokens, kind: 'multipleOf' };
}

/** Exactly these sizes. */
export function exactly(...tokens: readonly number[]): readonly AdvertisedBlockSize[] {
  return tokens.map((size) => ({ tokens: size, kind: 'exactly' as const }));
}

/** A yes/no rule on a question in a context. */
export type Rule = (query: SelectorQuery, context: SelectorContext) => boolean;

/** Rule without conditions. */
export const YES: Rule = () => true;
/** Rule without conditions. */
export const NO: Rule = () => false;

/** What a combination rule says: nothing, a reason, or that the release raises instead of answering. */
export type CombinationOutcome =
  | { readonly kind: 'ok' }
  | { readonly kind: 'reason'; readonly text: string; readonly rule?: string }
  /** vLLM throws while validating; the text is `Type: message`. */
  | { readonly kind: 'raises'; readonly text: string }
  /** Cannot be told from what is known; the text says what is missing. */
  | { readonly kind: 'unknown'; readonly text: string };

/** A backend's own combination check. */
export type CombinationRule = (query: SelectorQuery, context: SelectorContext) => CombinationOutcome;

/** Accepts. */
export const OK: CombinationOutcome = { kind: 'ok' };

/** Refuses with vLLM's text. */
export function refuse(text: string, rule?: string): CombinationOutcome {
  return { kind: 'reason', text, ...(rule === undefined ? {} : { rule }) };
}

/** A selectable backend. */
export interface BackendRow {
  /** Member name of vLLM's `AttentionBackendEnum`. */
  readonly id: string;
  readonly since: Release;
  /** Last release that has it; absent = still there. */
  readonly until?: Release;
  /** File below `vllm/`, as of the newest release that has it. */
  readonly file: string;
  /** Top-level Python package whose absence makes the backend's module fail to import. */
  readonly imports?: Steps<'flashinfer' | null>;
  readonly headSize?: Steps<Rule>;
  readonly dtypes?: Steps<readonly QueryDtype[]>;
  readonly kvCacheDtype?: Steps<Rule>;
  /** Sizes the backend advertises for the model in the context. */
  readonly blockSizes?: Steps<(context: SelectorContext) => readonly AdvertisedBlockSize[]>;
  /** Overrides the usual test against the advertised sizes. */
  readonly takesBlockSize?: Steps<(blockSize: number, context: SelectorContext) => boolean>;
  /** Overrides the base class's choice of the default block size. */
  readonly preferredBlockSize?: Steps<(context: SelectorContext, defaultTokens: number) => number>;
  readonly mla?: boolean;
  readonly sparse?: boolean;
  readonly mmPrefix?: Steps<Rule>;
  readonly sinks?: Steps<Rule>;
  readonly perHeadQuantScales?: Steps<Rule>;
  readonly capability?: Steps<Rule>;
  readonly attnTypes?: Steps<readonly AttnType[]>;
  readonly slidingWindow?: Steps<Rule>;
  readonly rswa?: Steps<Rule>;
  readonly nonCausal?: Steps<Rule>;
  readonly nonCausalDcp?: Steps<Rule>;
  readonly batchInvariant?: Steps<Rule>;
  readonly pcp?: Steps<Rule>;
  readonly dcp?: Steps<Rule>;
  readonly adaptiveVerification?: Steps<Rule>;
  readonly combination?: Steps<CombinationRule>;
}

/** All four attention types. */
export const ALL_ATTN_TYPES: readonly AttnType[] = ['decoder', 'encoder', 'encoder_only', 'encoder_decoder'];

/** Head size is one of these. */
export function headIn(...sizes: readonly number[]): Rule {
  return (query) => sizes.includes(query.headSize);
}

/** KV dtype is absent or one of these. */
export function kvIn(...dtypes: readonly string[]): Rule {
  return (query) => query.kvCacheDtype === null || dtypes.includes(query.kvCacheDtype);
}

/** Unquantized KV dtypes of a backend, as they grew: `auto`, then bfloat16 (0.15.0), then float16 (0.18.0), plus `more`. */
export function kvBaseAnd(...more: readonly string[]): Steps<Rule> {
  return [
    { since: '0.11.1', value: kvIn('auto', ...more) },
    { since: '0.15.0', value: kvIn('auto', 'bfloat16', ...more) },
    { since: '0.18.0', value: kvIn('auto', 'float16', 'bfloat16', ...more) },
  ];
}

/** Compute capability major is one of these. */
export function majorIn(...majors: readonly number[]): Rule {
  return (_query, context) => majors.includes(context.capability[0]);
}
