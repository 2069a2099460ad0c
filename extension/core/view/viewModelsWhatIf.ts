/** State → other SM families side by side, and what an upgrade of vLLM changes. */
import { RELEASES } from '../catalog/releases';
import { installedVllmVersion } from '../environment';
import type { Evaluation, GroupSelection } from '../evaluation';
import { smFamily } from '../facts';
import { comparedRows, sameOutcome, whyDifferent, type ComparedColumn } from '../rules/comparison';
import { askedCapability, type AppState } from '../state/appState';
import { askedVersion } from '../state/derive';
import { known } from '../state/store';
import { upgradeReleases } from '../state/whatIf';
import type { Answer, Finding, Severity } from '../verdict';
import { reasonView, type ReasonView } from './viewModelsMatrix';

/** What one column gives one line of layers. */
export interface OutcomeView {
  readonly answer: Answer;
  /** `FLASH_ATTN (FA3)`, `none`, `unknown`. */
  readonly text: string;
  /** Block size, or why there is no backend; empty = nothing more to say. */
  readonly detail: string;
  /** Why the selected backend likely fails at the first forward; `null` = nothing says so. */
  readonly fails: string | null;
  /** Differs from the column that is asked about. */
  readonly differs: boolean;
}

/** A column over the outcomes. */
export interface OutcomeColumn {
  /** `SM90`. */
  readonly label: string;
  /** `Hopper`. */
  readonly sub: string;
  /** It is the one asked about. */
  readonly asked: boolean;
}

/** Layer groups with the same outcome in every column share a line. */
export interface OutcomeRow {
  readonly layerGroup: string;
  readonly cells: readonly OutcomeView[];
}

/** One line of the upgrade table. */
export interface UpgradeRow {
  readonly layerGroup: string;
  readonly from: OutcomeView;
  readonly to: OutcomeView;
  readonly changed: boolean;
  /** In the rules' own words; empty where nothing changes or no rule says why. */
  readonly why: readonly ReasonView[];
}

/** A finding that an upgrade brings or solves. */
export interface UpgradeFinding {
  readonly severity: Severity;
  readonly title: string;
}

/** The upgrade question. */
export interface UpgradeView {
  readonly from: string;
  readonly to: string;
  /** Releases to choose from, newest first, with what is special about one. */
  readonly options: readonly { readonly version: string; readonly label: string }[];
  /** `on SM90 Hopper`. */
  readonly family: string;
  /** `2 of 3 layer groups change`. */
  readonly summary: string;
  readonly rows: readonly UpgradeRow[];
  readonly brings: readonly UpgradeFinding[];
  readonly solves: readonly UpgradeFinding[];
}

/** The "What if" section. */
export interface WhatIfSection {
  /** `vLLM 0.33.0`, which the families are compared under. */
  readonly release: string;
  readonly columns: readonly OutcomeColumn[];
  readonly rows: readonly OutcomeRow[];
  /** `4 of 5 families give the same answer`. */
  readonly summary: string;
  /** `null` until an SM family is asked about. */
  readonly upgrade: UpgradeView | null;
}

/** Rows at most; a model with more layer groups than this has one cause for each. */
const MAX_ROWS = 24;

/** `FLASH_ATTN (FA3)`. */
export function backendText(backend: string, flashAttnVersion: number | null): string {
  return flashAttnVersion === null ? backend : `${backend} (FA${flashAttnVersion})`;
}

/** What a selection comes to, in a few words. */
export function selectionText(
  selection: Pick<GroupSelection, 'answer' | 'backend' | 'flashAttnVersion'>,
  none = 'no backend',
): string {
  if (selection.answer === 'yes' && selection.backend !== null) {
    return backendText(selection.backend, selection.flashAttnVersion);
  }
  return selection.answer === 'no' ? none : 'unknown';
}

/** The section of a state. */
export function whatIfSection(state: AppState): WhatIfSection {
  const { whatIf } = state;
  const environment = known(state.environment);
  const asked = askedCapability(state);
  const release = `vLLM ${askedVersion(state.vllmVersion, environment)}`;
  if (whatIf === null) return { release, columns: [], rows: [], summary: '', upgrade: null };
  const askedIndex = whatIf.families.findIndex((column) => column.capability.join() === asked?.join());
  const rows = mergedRows(
    comparedRows(whatIf.families).map(({ layerGroup, selections }) => ({
      layerGroup,
      cells: whatIf.families.map(({ evaluation }, index) => {
        const selection = selections[index] ?? null;
        const differs = askedIndex >= 0 && !sameOutcome(selection, selections[askedIndex] ?? null);
        return outcomeView(evaluation, selection, differs);
      }),
    })),
    (row) => row.cells,
  );
  return {
    release,
    columns: whatIf.families.map(({ capability }, index) => {
      const { label, architecture } = smFamily(capability);
      return { label, sub: architecture, asked: index === askedIndex };
    }),
    rows: rows.slice(0, MAX_ROWS),
    summary: familiesSummary(rows, whatIf.families.length, askedIndex),
    upgrade: whatIf.upgrade === null ? null : upgradeView(state, whatIf.upgrade.from, whatIf.upgrade.to),
  };
}

function familiesSummary(rows: readonly OutcomeRow[], families: number, askedIndex: number): string {
  if (askedIndex < 0) return `${families} SM families`;
  const others = Array.from({ length: families }, (_unused, index) => index).filter((index) => index !== askedIndex);
  const different = others.filter((index) => rows.some((row) => row.cells[index]?.differs === true)).length;
  return different === 0
    ? `the same on ${others.length} other SM families`
    : `different on ${different} of ${others.length} other SM families`;
}

/** The reasons inside vLLM's message, which repeats the whole configuration around them. */
function shortError(error: string): string {
  const reasons = /Reason: \[(.+)\]/s.exec(error)?.[1];
  if (reasons !== undefined) return reasons.replaceAll(/^'|'$/g, '').replaceAll("', '", ', ');
  return error.startsWith('No valid') ? 'every backend is refused' : (error.split('\n')[0] ?? '');
}

/** What the selected backend's own kernels declare against the layers; `null` = nothing. */
export function selectionFails({ verdicts }: Evaluation, { backend, layerGroup }: GroupSelection): string | null {
  const works = verdicts.find(
    (verdict) => verdict.question === 'works' && verdict.subject === backend && verdict.layerGroup === layerGroup,
  );
  return works?.answer === 'no' ? (works.reasons[0]?.text ?? null) : null;
}

function outcomeView(evaluation: Evaluation, selection: GroupSelection | null, differs: boolean): OutcomeView {
  if (selection === null) {
    return { answer: 'unknown', text: 'no such layers', detail: 'not built from this config', fails: null, differs };
  }
  const unknown = selection.answer === 'unknown' ? selection.reasons.at(-1)?.text : undefined;
  return {
    answer: selection.answer,
    text: selectionText(selection, 'none'),
    detail:
      (selection.error === null ? null : shortError(selection.error)) ??
      unknown ??
      (selection.blockSize === null ? '' : `block ${selection.blockSize}`),
    fails: selectionFails(evaluation, selection),
    differs,
  };
}

/** Rows whose outcome is the same to the word, as one. */
function mergedRows<T extends { readonly layerGroup: string }>(
  rows: readonly T[],
  outcome: (row: T) => unknown,
): readonly T[] {
  const merged = new Map<string, T>();
  for (const row of rows) {
    const key = JSON.stringify(outcome(row));
    const present = merged.get(key);
    merged.set(
      key,
      present === undefined ? row : { ...present, layerGroup: `${present.layerGroup}, ${row.layerGroup}` },
    );
  }
  return [...merged.values()];
}

function upgradeView(state: AppState, from: ComparedColumn, to: ComparedColumn): UpgradeView {
  const environment = known(state.environment);
  const installed = environment === null ? null : installedVllmVersion(environment);
  const asked = askedVersion(state.vllmVersion, environment);
  const chosen = upgradeReleases(asked, state.upgrade);
  const groups = comparedRows([from, to]).map(
    ({ layerGroup, selections: [before = null, after = null] }): UpgradeRow => {
      const changed = !sameOutcome(before, after);
      return {
        layerGroup,
        from: outcomeView(from.evaluation, before, false),
        to: outcomeView(to.evaluation, after, changed),
        changed,
        why: whyDifferent(from.evaluation, to.evaluation, layerGroup).map(reasonView),
      };
    },
  );
  const changing = groups.filter((row) => row.changed).length;
  const { label, architecture } = smFamily(from.capability);
  return {
    ...chosen,
    options: releaseOptions([asked, chosen.from, chosen.to], installed),
    family: `on ${label} ${architecture}`,
    summary:
      changing === 0
        ? 'no layer changes'
        : `${changing} of ${groups.length} layer ${groups.length === 1 ? 'group changes' : 'groups change'}`,
    rows: mergedRows(groups, ({ layerGroup: _name, ...outcome }) => outcome).slice(0, MAX_ROWS),
    brings: onlyIn(to.evaluation.findings, from.evaluation.findings),
    solves: onlyIn(from.evaluation.findings, to.evaluation.findings),
  };
}

/** Errors and warnings of one side that the other does not have. */
function onlyIn(findings: readonly Finding[], others: readonly Finding[]): readonly UpgradeFinding[] {
  const ids = new Set(others.map((finding) => finding.id));
  return findings
    .filter((finding) => finding.severity !== 'info' && !ids.has(finding.id))
    .map(({ severity, title }) => ({ severity, title }))
    .slice(0, MAX_ROWS);
}

/** Every release of the catalog, newest first, and those asked about that are not in it. */
function releaseOptions(
  asked: readonly string[],
  installed: string | null,
): readonly { readonly version: string; readonly label: string }[] {
  const listed: readonly string[] = [...RELEASES].reverse();
  const others = [...new Set(asked)].filter((version) => !listed.includes(version));
  return [...others, ...listed].map((version) => ({
    version,
    label: version === installed ? `${version} (installed)` : version,
  }));
}
