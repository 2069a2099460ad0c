/** What the second layer of rules is asked and answers: facts of a layer, "does the library take it". */
import type { Answer, VerdictReason } from '../verdict';

/** Facts of the layer that the validator does not look at but the kernels do. */
export interface LayerFacts {
  readonly alibi: boolean;
  readonly softcap: boolean;
  readonly headDimV: number;
  /** Windows of the model's layers differ from one another (some full, some sliding). */
  readonly mixedWindows: boolean;
  /** Some layers of the model read another layer's KV cache. */
  readonly kvSharing: boolean;
  /** KV heads per rank; `null` = not known. */
  readonly kvHeads: number | null;
}

/** Answer to "does the library take it". */
export interface WorksAnswer {
  readonly answer: Answer;
  readonly reasons: readonly VerdictReason[];
}

/** A refusal; `code` is the rule's. */
export const no = (code: string, text: string, where: string): WorksAnswer => ({
  answer: 'no',
  reasons: [{ code, text, source: { where, ruleId: code } }],
});

/** Not established, with the reason. */
export const unknownAnswer = (text: string, where: string | null): WorksAnswer => ({
  answer: 'unknown',
  reasons: [{ code: 'UNKNOWN', text, source: where === null ? null : { where } }],
});

/** Taken; `code` is the rule's. */
export function yesReason(code: string, text: string, where: string): WorksAnswer {
  return { answer: 'yes', reasons: [{ code, text, source: { where, ruleId: code } }] };
}
