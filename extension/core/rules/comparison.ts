/**
 * Evaluations side by side: the same layers on other SM families, or under another release, and why the outcome differs.
 * Reasons are those of the rules themselves; nothing is concluded that no rule says.
 */
import type { Evaluation, GroupSelection } from '../evaluation';
import type { Finding, VerdictReason } from '../verdict';

/** One column: a release on an SM family. */
export interface ComparedColumn {
  readonly vllmVersion: string;
  readonly capability: readonly [number, number];
  /** With the findings of the serve file under that release. */
  readonly evaluation: Evaluation;
}

/** One layer group over all columns; `null` = that release builds no such layers. */
export interface ComparedRow {
  readonly layerGroup: string;
  readonly selections: readonly (GroupSelection | null)[];
}

/** One row per layer group of any column, in the order of the columns. */
export function comparedRows(columns: readonly Pick<ComparedColumn, 'evaluation'>[]): readonly ComparedRow[] {
  const groups = new Set(columns.flatMap(({ evaluation }) => evaluation.selections.map((each) => each.layerGroup)));
  return [...groups].map((layerGroup) => ({
    layerGroup,
    selections: columns.map(({ evaluation }) => selectionOf(evaluation, layerGroup)),
  }));
}

function selectionOf(evaluation: Evaluation, layerGroup: string): GroupSelection | null {
  return evaluation.selections.find((each) => each.layerGroup === layerGroup) ?? null;
}

/** Same backend, FlashAttention generation, block size and error. */
export function sameOutcome(a: GroupSelection | null, b: GroupSelection | null): boolean {
  if (a === null || b === null) return a === b;
  return (
    a.backend === b.backend &&
    a.answer === b.answer &&
    a.flashAttnVersion === b.flashAttnVersion &&
    a.blockSize === b.blockSize &&
    a.error === b.error
  );
}

/** Reasons every selection has; they do not explain a difference. */
const USUAL = new Set(['SELECTED', 'EXPLICIT', 'FA-VERSION', 'BLOCK-SIZE', 'UNKNOWN', 'MLA-PREFILL']);

/** Sets a backend in the releases that read it, before the configuration (reference §1.2). */
const BACKEND_VARIABLE = 'VLLM_ATTENTION_BACKEND';

/** Why a layer group comes out differently in `to` than in `from`; empty when it does not, or when no rule says why. */
export function whyDifferent(from: Evaluation, to: Evaluation, layerGroup: string): readonly VerdictReason[] {
  const before = selectionOf(from, layerGroup);
  const after = selectionOf(to, layerGroup);
  if (sameOutcome(before, after)) return [];
  if (before === null || after === null) {
    const one = before === null ? from : to;
    return [say(`vLLM ${one.catalog.requestedVersion} builds no such layers from this config`)];
  }
  const own = (selection: GroupSelection, code: string): readonly VerdictReason[] =>
    selection.reasons.filter((reason) => reason.code === code);
  const rewrites = newRewrites(before, after);
  const backends = before.backend === after.backend ? [] : backendReasons(from, to, before, after);
  // Not selected before although no rule refused it: start-up stopped for another reason, or nothing was known.
  const earlier =
    before.backend !== null || backends.length > 0
      ? []
      : before.error === null
        ? own(before, 'UNKNOWN').map((reason) => prefixed('not known before: ', reason))
        : [say(`before: ${before.error}`)];
  return [
    ...(after.error === null ? [] : [say(after.error)]),
    ...(after.answer === 'unknown' ? own(after, 'UNKNOWN') : []),
    ...rewrites,
    ...backends,
    ...earlier,
    ...(before.flashAttnVersion === after.flashAttnVersion
      ? []
      : [...own(after, 'FA-VERSION'), ...own(before, 'FA-VERSION').map((reason) => prefixed('before: ', reason))]),
    ...(before.blockSize === after.blockSize ? [] : own(after, 'BLOCK-SIZE')),
  ];
}

/** What the release of `after` changes in the configuration and that of `before` does not. */
function newRewrites(before: GroupSelection, after: GroupSelection): readonly VerdictReason[] {
  return after.reasons.filter(
    (reason) => !USUAL.has(reason.code) && !before.reasons.some((each) => each.text === reason.text),
  );
}

/** Whether the release set the backend itself, so that nothing else was tried. */
function isForced(selection: GroupSelection): boolean {
  return !selection.explicit && selection.reasons.some((reason) => reason.code === 'EXPLICIT');
}

/** What is said where the user's own setting chose one of the two backends: no rule and no order did. */
function settingReasons(
  from: Evaluation,
  to: Evaluation,
  before: GroupSelection,
  after: GroupSelection,
): readonly VerdictReason[] {
  const now = after.explicit ? `${after.backend ?? ''} counts as the set backend` : 'no backend counts as set';
  const earlier = before.explicit ? `before it was ${before.backend ?? ''}` : 'before none did';
  return [say(`${now}, ${earlier}`), ...unreadVariable(from, to), ...unreadVariable(to, from)];
}

/** The variable that sets a backend, where one of two releases alone does not read it. */
function unreadVariable(reads: Evaluation, ignores: Evaluation): readonly VerdictReason[] {
  const dead = ({ findings }: Evaluation): Finding | undefined =>
    findings.find((finding) => finding.id === `dead-env-variable:${BACKEND_VARIABLE}`);
  const finding = dead(ignores);
  return finding === undefined || dead(reads) !== undefined
    ? []
    : [
        {
          ...say(`vLLM ${ignores.catalog.requestedVersion} does not read ${BACKEND_VARIABLE}`),
          source: finding.source,
        },
      ];
}

/** Whether `one` is tried before `other`. */
function comesBefore(evaluation: Evaluation, layerGroup: string, one: string, other: string): boolean {
  const order = evaluation.verdicts
    .filter((each) => each.question === 'selects' && each.layerGroup === layerGroup)
    .map((each) => each.subject);
  return order.indexOf(one) < order.indexOf(other);
}

/** What is said of the backend that is lost and of the one that takes its place. */
function backendReasons(
  from: Evaluation,
  to: Evaluation,
  before: GroupSelection,
  after: GroupSelection,
): readonly VerdictReason[] {
  const { layerGroup } = before;
  if ((before.explicit || after.explicit) && before.backend !== null && after.backend !== null) {
    return settingReasons(from, to, before, after);
  }
  const reasons: VerdictReason[] = isForced(before)
    ? newRewrites(after, before).map((reason) => prefixed('before: ', reason))
    : [];
  if (before.backend !== null) {
    const refused = refusals(to, layerGroup, before.backend);
    if (refused === null) reasons.push(say(`${before.backend} is not tried any more`));
    else reasons.push(...refused.map((reason) => prefixed(`${before.backend ?? ''} is refused: `, reason)));
  }
  if (after.backend !== null) {
    const refused = refusals(from, layerGroup, after.backend);
    if (refused === null) reasons.push(say(`${after.backend} was not tried before`));
    else reasons.push(...refused.map((reason) => prefixed(`${after.backend ?? ''} was refused before: `, reason)));
    // Valid on both sides: the order of the two may have changed.
    if (
      reasons.length === 0 &&
      before.backend !== null &&
      !isForced(after) &&
      comesBefore(from, layerGroup, before.backend, after.backend) &&
      comesBefore(to, layerGroup, after.backend, before.backend)
    ) {
      reasons.push(say(`${after.backend} now comes before ${before.backend} in the priority order`));
    }
  }
  return reasons;
}

/** Why a backend is refused; empty = it is valid, `null` = it is not tried at all. */
function refusals(evaluation: Evaluation, layerGroup: string, backend: string): readonly VerdictReason[] | null {
  const verdict = evaluation.verdicts.find(
    (each) => each.question === 'selects' && each.layerGroup === layerGroup && each.subject === backend,
  );
  if (verdict === undefined) return null;
  return verdict.answer === 'yes' ? [] : verdict.reasons.filter((reason) => reason.code !== 'LOWER_PRIORITY');
}

const say = (text: string): VerdictReason => ({ code: 'DIFFERENCE', text, source: null });

const prefixed = (prefix: string, reason: VerdictReason): VerdictReason => ({ ...reason, text: prefix + reason.text });
