/** The errors that speak for several results. */
import type { CaseResult } from '../attentionCase';

/** The errors of a result against the float64 reference. */
export type Errors = Pick<CaseResult, 'relError' | 'lseError'>;

/** The largest of the values that are stated; `null` = none is. */
export function largest(values: readonly (number | null)[]): number | null {
  const stated = values.filter((value) => value !== null);
  return stated.length === 0 ? null : Math.max(...stated);
}

/** The largest of each error among results; `null` = none of them states one. */
export function largestErrors(results: readonly Errors[]): Errors {
  return {
    relError: largest(results.map((result) => result.relError)),
    lseError: largest(results.map((result) => result.lseError)),
  };
}
