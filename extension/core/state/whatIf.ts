/** The request on screen asked of other SM families, and of another release. Pure. */
import { withEnvironment } from '../findings/environmentFindings';
import { eachOnce } from '../findings/findings';
import { withFixes } from '../findings/fixes';
import { NOTHING_WRITTEN, withServeFile } from '../findings/findingsServe';
import { NEWEST_RELEASE, RELEASES, resolveRelease } from '../catalog/releases';
import type { ComparedColumn } from '../rules/comparison';
import { evaluate } from '../rules/evaluate';
import type { AppState, UpgradeChoice, WhatIfAnswer } from './appState';
import { askedVersion, deriveInputs, fixContext, requestFor, type DeriveInputs, type QuestionInputs } from './derive';
import { known } from './store';

/** Families that the comparison always shows: one of each generation that vLLM's rules tell apart. */
export const COMPARED_FAMILIES: readonly (readonly [number, number])[] = [
  [8, 0],
  [8, 9],
  [9, 0],
  [10, 0],
  [12, 0],
];

/** What the comparisons depend on; compare with `shallowEqual`. */
export type WhatIfInputs = DeriveInputs & { readonly upgrade: UpgradeChoice; readonly flagOn: boolean };

/** Picks the inputs out of a state. */
export function whatIfInputs(state: AppState): WhatIfInputs {
  return { ...deriveInputs(state), upgrade: state.upgrade, flagOn: state.flag.value };
}

/** One column of a comparison, with what the serve file and the environment say under that release. */
export function comparedColumn(
  inputs: QuestionInputs,
  vllmVersion: string,
  capability: readonly [number, number],
  useSystemFlashAttn: boolean,
): ComparedColumn {
  const evaluation = evaluate({ ...requestFor(inputs, vllmVersion, capability), useSystemFlashAttn });
  const written = known(inputs.serve)?.written ?? NOTHING_WRITTEN;
  const found = withEnvironment(
    withServeFile(evaluation.findings, vllmVersion, written),
    known(inputs.environment),
    vllmVersion,
    capability,
  );
  const findings = withFixes(
    eachOnce([...found, ...(known(inputs.serve)?.findings ?? [])]),
    fixContext(inputs, vllmVersion, useSystemFlashAttn),
  );
  return { vllmVersion, capability, evaluation: { ...evaluation, findings } };
}

/** The two releases of the upgrade question: as chosen, else from the one asked about to the newest, or up to the newest. */
export function upgradeReleases(
  asked: string,
  { from, to }: UpgradeChoice,
): { readonly from: string; readonly to: string } {
  const target = to ?? NEWEST_RELEASE;
  const { release, stamp } = resolveRelease(asked);
  const before = RELEASES[RELEASES.indexOf(release) - 1];
  const isTarget = asked === target || (stamp.match !== 'exact' && release === target);
  return { from: from ?? (isTarget && before !== undefined ? before : asked), to: target };
}

/** Answers for other families and for another release; the latter only when a family is asked about. */
export function whatIfAnswer(inputs: WhatIfInputs): WhatIfAnswer {
  const { major, minor, flagOn } = inputs;
  const vllmVersion = askedVersion(inputs.vllmVersion, known(inputs.environment));
  const asked = major === null || minor === null ? null : ([major, minor] as const);
  const families =
    asked === null || COMPARED_FAMILIES.some((each) => each.join() === asked.join())
      ? COMPARED_FAMILIES
      : [...COMPARED_FAMILIES, asked].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const { from, to } = upgradeReleases(vllmVersion, inputs.upgrade);
  return {
    families: families.map((capability) => comparedColumn(inputs, vllmVersion, capability, flagOn)),
    upgrade:
      asked === null
        ? null
        : {
            from: comparedColumn(inputs, from, asked, flagOn),
            to: comparedColumn(inputs, to, asked, flagOn),
          },
  };
}
