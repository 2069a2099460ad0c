/** Schema findings in words. */
import * as v from 'valibot';

/** The first thing a schema found wrong, with the path to it: `devices.0.name: Expected string but received null`. */
export function firstIssue(issues: readonly [v.BaseIssue<unknown>, ...v.BaseIssue<unknown>[]]): string {
  const [issue] = issues;
  const path = v.getDotPath(issue);
  const message = issue.message.replace(/^Invalid type: /, '');
  return path === null ? message : `${path}: ${message}`;
}
