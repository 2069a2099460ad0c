/**
 * Verdicts and findings: what the product says, and on what evidence.
 *
 * A verdict answers exactly one of two questions. Within one question a higher level overrules a lower one; across
 * questions it never does: a bundled kernel that runs says nothing about what vLLM selects.
 */
import type { ResultRow } from './attentionCase';

/** What a statement rests on, weakest first. */
export const EVIDENCE_LEVELS = ['declared', 'inspected', 'validated', 'measured'] as const;
export type EvidenceLevel = (typeof EVIDENCE_LEVELS)[number];

/** `selects`: would this vLLM choose it for this layer group? `works`: does this library run it on this GPU? */
export type Question = 'selects' | 'works';

/** `unknown` always comes with a reason that says what is missing. */
export type Answer = 'yes' | 'no' | 'unknown';

/** Where a rule stands: a file of a release, an issue, a report. */
export interface Source {
  /** e.g. `vllm 0.33.0 v1/attention/backends/flash_attn.py`. */
  readonly where: string;
  /** Rule id in the catalog (`FA-3`, `VAL-01`), when there is one. */
  readonly ruleId?: string;
}

/** Why a verdict is what it is. `text` is the library's own string where it has one, so that users can search for it. */
export interface VerdictReason {
  readonly code: string;
  readonly text: string;
  readonly source: Source | null;
}

/** One answer to one question about one subject (a backend or a kernel family) for one layer group. */
export interface Verdict {
  /** Backend or engine id: `FLASH_ATTN`, `FLASHINFER_MLA`, `bundled`, `fa4.system` … */
  readonly subject: string;
  readonly question: Question;
  /** Id of the layer group in the request. */
  readonly layerGroup: string;
  readonly answer: Answer;
  readonly level: EvidenceLevel;
  readonly reasons: readonly VerdictReason[];
  /** The run the answer rests on; only with level `measured`. */
  readonly measurement?: ResultRow;
}

export type Severity = 'error' | 'warning' | 'info';

/** A place in a file of the user's, 0-based, end exclusive, UTF-16 columns as VS Code counts them. */
export interface SourceRange {
  readonly path: string;
  readonly startLine: number;
  readonly startColumn: number;
  readonly endLine: number;
  readonly endColumn: number;
}

/** What can be done about a finding. The host executes it by id; the panel never sends more than the id. */
export interface Fix {
  readonly id: string;
  readonly title: string;
  readonly kind: 'edit' | 'copy' | 'setting' | 'command';
  /** `copy` only: what goes to the clipboard. */
  readonly text?: string;
}

/** A text that a finding offers for the clipboard. */
export function copyFix(text: string, title = `Copy "${text}"`): Fix {
  return { id: `copy:${text}`.slice(0, 200), title, kind: 'copy', text };
}

/** Something worth telling: a misconfiguration, a trap, a contradiction between two levels or questions. */
export interface Finding {
  readonly id: string;
  readonly code: string;
  readonly severity: Severity;
  readonly title: string;
  /** One or two plain sentences; the last one is the next step. */
  readonly detail: string;
  readonly level: EvidenceLevel;
  readonly source: Source | null;
  readonly range: SourceRange | null;
  readonly fixes: readonly Fix[];
}

/** The stronger of two verdicts on the same question; equal levels keep the first. */
export function stronger(a: Verdict, b: Verdict): Verdict {
  return EVIDENCE_LEVELS.indexOf(b.level) > EVIDENCE_LEVELS.indexOf(a.level) ? b : a;
}
