/**
 * The answer of the rules engine: types only. `evaluate.ts` produces it, everything downstream formats it.
 */
import type { Answer, Finding, Verdict, VerdictReason } from './verdict';

/** What vLLM would do for one layer group. */
export interface GroupSelection {
  readonly layerGroup: string;
  /** Backend that wins; `null` when none is valid, start-up fails, or it is unknown (see `answer`). */
  readonly backend: string | null;
  /** `yes` = `backend` is selected; `no` = nothing valid, vLLM stops with `error`; `unknown` = see `reasons`. */
  readonly answer: Answer;
  /** An explicit backend was asked for, so there is no fallback. */
  readonly explicit: boolean;
  /** FlashAttention generation a FLASH_ATTN family backend resolves to; `null` = not one of them, or vLLM resolves none. */
  readonly flashAttnVersion: number | null;
  /** Tokens per KV block that vLLM would settle on; `null` = not established. */
  readonly blockSize: number | null;
  /** The exception text vLLM would print, when it would stop. */
  readonly error: string | null;
  readonly reasons: readonly VerdictReason[];
  /** What it rests on; absent = declared. */
  readonly level?: 'validated';
}

/** Which rules were used, so that every surface can say so. */
export interface CatalogStamp {
  /** The release asked for. */
  readonly requestedVersion: string;
  /** The release whose rules were applied. */
  readonly evaluatedAs: string;
  /** `exact`: the catalog covers it. `newer`: newer than the catalog, newest rules used. `development`: a dev build, newest rules used. `tooOld`: below 0.11.1. */
  readonly match: 'exact' | 'newer' | 'development' | 'tooOld';
  readonly newestKnown: string;
  /** ISO date the catalog was last checked against released wheels. */
  readonly checkedOn: string;
}

/** Everything evaluate() says about one request. */
export interface Evaluation {
  readonly catalog: CatalogStamp;
  /** One per layer group, in request order. */
  readonly selections: readonly GroupSelection[];
  /** `selects` and declared `works` verdicts: one per (backend of the priority list + explicit one, layer group, question). */
  readonly verdicts: readonly Verdict[];
  readonly findings: readonly Finding[];
  /** What had to be assumed because it was not inspected, as plain sentences. */
  readonly assumptions: readonly string[];
}

/** One cell of the support matrix: what is declared for a backend at a head size and page layout. */
export interface MatrixCell {
  readonly subject: string;
  readonly headDim: number;
  /** Tokens per page; `null` = contiguous KV. */
  readonly pageSize: number | null;
  readonly selects: Verdict;
  readonly works: Verdict;
}

/** A row label of the matrix. */
export interface MatrixSubject {
  readonly id: string;
  /** e.g. `FLASH_ATTN (FA3)`, `Bundled kernels`. */
  readonly label: string;
  readonly kind: 'vllmBackend' | 'library' | 'bundled';
}
