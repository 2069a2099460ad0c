/**
 * vLLM releases the catalog covers, and how an asked-for version is mapped onto them.
 *
 * Rules are keyed by release. Every rule table is a list of steps: a value holds from its `since` until the next step.
 */
import type { CatalogStamp } from '../evaluation';

/** Every release read for the catalog, oldest first (0.11.1 introduced the validator; there is no 0.29.1 nor 0.30.1). */
export const RELEASES = [
  '0.11.1',
  '0.11.2',
  '0.12.0',
  '0.13.0',
  '0.14.0',
  '0.14.1',
  '0.15.0',
  '0.15.1',
  '0.16.0',
  '0.17.0',
  '0.17.1',
  '0.18.0',
  '0.18.1',
  '0.19.0',
  '0.19.1',
  '0.20.0',
  '0.20.1',
  '0.20.2',
  '0.21.0',
  '0.22.0',
  '0.22.1',
  '0.23.0',
  '0.24.0',
  '0.25.0',
  '0.25.1',
  '0.26.0',
  '0.27.0',
  '0.27.1',
  '0.28.0',
  '0.29.0',
  '0.30.0',
  '0.31.0',
  '0.32.0',
  '0.33.0',
] as const;

/** A release that exists, e.g. `0.33.0`. */
export type Release = (typeof RELEASES)[number];

/** Oldest release with the validator; anything below is `tooOld`. */
export const OLDEST_RELEASE: Release = '0.11.1';

/** Newest release whose files were read. */
export const NEWEST_RELEASE: Release = '0.33.0';

/** Day the rules were last compared with the released wheels. */
export const CATALOG_CHECKED_ON = '2026-11-22';

/** Release number of a version string; `null` when it does not start with `major.minor`. */
function parseVersion(version: string): readonly [number, number, number] | null {
  const match = /^v?(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?/.exec(version.trim());
  return match === null ? null : [Number(match[1]), Number(match[2]), Number(match[3] ?? '0')];
}

function compareParts(a: readonly [number, number, number], b: readonly [number, number, number]): number {
  return a[0] - b[0] || a[1] - b[1] || a[2] - b[2];
}

/** `a` before (<0), equal to (0) or after (>0) `b`, both known releases. */
export function compareReleasesInTime(a: Release, b: Release): number {
  return RELEASES.indexOf(a) - RELEASES.indexOf(b);
}

/** Whether `release` is `since` or later, and not after `until`. */
export function within(release: Release, since: Release, until?: Release): boolean {
  return (
    compareReleasesInTime(release, since) >= 0 && (until === undefined || compareReleasesInTime(release, until) <= 0)
  );
}

/** One step of a rule table. */
export interface Step<T> {
  /** First release with this value. */
  readonly since: Release;
  readonly value: T;
  /** Id of the rule in the documentation of the catalog (`FA-3`). */
  readonly rule?: string;
}

/** A rule that changed over the releases: steps in ascending order; before the first step there is no value. */
export type Steps<T> = readonly Step<T>[];

/** A rule that never changed since the oldest release. */
export function always<T>(value: T, rule?: string): Steps<T> {
  return [{ since: OLDEST_RELEASE, value, ...(rule === undefined ? {} : { rule }) }];
}

/** The step in force in a release; `undefined` before the first one. */
export function stepAt<T>(steps: Steps<T>, release: Release): Step<T> | undefined {
  let current: Step<T> | undefined;
  for (const step of steps) {
    if (compareReleasesInTime(step.since, release) <= 0) {
      current = step;
    }
  }
  return current;
}

/** The value in force in a release; `undefined` before the first step. */
export function valueAt<T>(steps: Steps<T>, release: Release): T | undefined {
  return stepAt(steps, release)?.value;
}

/** A value of a table that covers every release; throws on a hole, which is an error of the catalog. */
export function requiredAt<T>(steps: Steps<T>, release: Release): T {
  const step = stepAt(steps, release);
  if (step === undefined) {
    throw new Error(`catalog table has no value for ${release}`);
  }
  return step.value;
}

/** Markers of a build that is not the release its number names: PEP 440 dev and pre-releases, and local builds. */
const DEVELOPMENT = /(?:\.dev|rc|a|b)\d*|\+g[0-9a-f]+|\+dev|\bdev\b/;

/**
 * Which release's rules answer for an asked version.
 *
 * A patch release that is not listed uses the newest listed one before it in the same minor; a development or
 * pre-release build, an unreadable version and anything newer use the newest rules and say so.
 */
export function resolveRelease(requestedVersion: string): { readonly release: Release; readonly stamp: CatalogStamp } {
  const parsed = parseVersion(requestedVersion);
  const stamp = (release: Release, match: CatalogStamp['match']) => ({
    release,
    stamp: {
      requestedVersion,
      evaluatedAs: release,
      match,
      newestKnown: NEWEST_RELEASE,
      checkedOn: CATALOG_CHECKED_ON,
    },
  });
  if (parsed === null || DEVELOPMENT.test(requestedVersion.trim().replace(/^v?[\d.]+?(?=\.dev|$|[a-z+])/, ''))) {
    return stamp(NEWEST_RELEASE, 'development');
  }
  if (compareParts(parsed, [0, 11, 1]) < 0) {
    return stamp(OLDEST_RELEASE, 'tooOld');
  }
  const last = RELEASES[RELEASES.length - 1] ?? NEWEST_RELEASE;
  const newest = parseVersion(last);
  if (newest !== null && (parsed[0] > newest[0] || parsed[1] > newest[1])) {
    return stamp(NEWEST_RELEASE, 'newer');
  }
  let best: Release = OLDEST_RELEASE;
  for (const release of RELEASES) {
    const parts = parseVersion(release);
    if (parts !== null && compareParts(parts, parsed) <= 0) {
      best = release;
    }
  }
  const exact = parseVersion(best);
  return stamp(best, exact !== null && compareParts(exact, parsed) === 0 ? 'exact' : 'newer');
}
