/** What findings of an evaluation are made from, and what each maker hands back. */
import type { GroupSelection } from '../evaluation';
import type { EvaluateRequest } from '../request';
import type { PreparedRequest } from '../rules/evaluateQuery';
import type { Fix, Severity, Source, Verdict } from '../verdict';

/** What findings are made from. */
export interface FindingInput {
  readonly request: EvaluateRequest;
  readonly prepared: PreparedRequest;
  readonly selections: readonly GroupSelection[];
  readonly verdicts: readonly Verdict[];
}

/** A finding before it gets its id and place. */
export interface FindingDraft {
  readonly code: string;
  readonly severity: Severity;
  readonly title: string;
  readonly detail: string;
  readonly source: Source | null;
  /** What tells apart several findings of one code. */
  readonly about?: string;
  readonly fixes?: readonly Fix[];
}
