/**
 * What `AttentionConfig.use_system_flash_attn` would change, and what passing it does to a release that does not have
 * it (none has). Semantics: the change proposed in vllm-project/vllm#38823, closed the day it was opened.
 */
import { fieldEffect, type FieldEffect } from '../catalog/configFields';
import { isFlashAttnFamily } from '../catalog/flashAttnFamily';
import { resolveRelease, within } from '../catalog/releases';
import { evaluate, selectionChanges, type SelectionChange } from './evaluate';
import type { CatalogStamp, Evaluation } from '../evaluation';
import { sentences } from '../format';
import type { EvaluateRequest } from '../request';
import type { Finding, Severity, Source, Verdict } from '../verdict';

/** The field's name in vLLM's configuration. */
export const SYSTEM_FLASH_ATTN_FIELD = 'use_system_flash_attn';

/** What one combination of model kind and generation would see with the flag on. */
export interface FlagRow {
  readonly mla: boolean;
  readonly flashAttnVersion: 2 | 3 | 4;
  /** `noEffect`: ignored; `usesSystem`: runs the system library; `fails`, `wrongResult`: as named; `unknown`: the change does not say. */
  readonly outcome: 'noEffect' | 'usesSystem' | 'fails' | 'wrongResult' | 'unknown';
  readonly text: string;
  readonly source: Source;
}

/** One verdict that differs between off and on. */
export interface VerdictChange {
  readonly off: Verdict;
  readonly on: Verdict;
}

/** One plain sentence about the flag. */
export interface FlagNote {
  readonly severity: Severity;
  readonly text: string;
  readonly source: string | null;
}

/** Everything about flipping the flag for one request. */
export interface FlagEffect {
  readonly catalog: CatalogStamp;
  /** Whether the release declares the field, or what it does with it instead. */
  readonly passing: FieldEffect;
  readonly off: Evaluation;
  readonly on: Evaluation;
  readonly selectionChanges: readonly SelectionChange[];
  readonly verdictChanges: readonly VerdictChange[];
  readonly rows: readonly FlagRow[];
  readonly findings: readonly Finding[];
  readonly notes: readonly FlagNote[];
}

const SEED = 'vllm-project/vllm#38823';
const SEED_SOURCE: Source = { where: SEED, ruleId: 'FLAG' };

/** What passing the field does to the release asked for, in one sentence. */
export function passingText(stamp: CatalogStamp, effect: FieldEffect): string {
  const release = stamp.evaluatedAs;
  switch (effect) {
    case 'declared':
      return `vLLM ${release} declares ${SYSTEM_FLASH_ATTN_FIELD}.`;
    case 'ignored':
      return `vLLM ${release} does not declare ${SYSTEM_FLASH_ATTN_FIELD} and silently ignores it, so setting it changes nothing.`;
    case 'aborts':
      return `vLLM ${release} does not declare ${SYSTEM_FLASH_ATTN_FIELD}; passing it stops start-up with "Unexpected keyword argument".`;
    case 'noConfigClass':
      return `vLLM ${release} has no attention config to pass ${SYSTEM_FLASH_ATTN_FIELD} to.`;
  }
}

/** One row per {MLA, non-MLA} × {FA2, FA3, FA4}: what the seed change would do on this capability. */
export function flagRows(capability: readonly [number, number], systemFa4: string | false | null): readonly FlagRow[] {
  const hopper = capability[0] === 9;
  const hasFa4 = capability[0] >= 9 && capability[0] <= 11;
  const noFa4 = 'vLLM gives FlashAttention 4 to 9.x, 10.x and 11.x only';
  const row = (mla: boolean, flashAttnVersion: 2 | 3 | 4, outcome: FlagRow['outcome'], text: string): FlagRow => ({
    mla,
    flashAttnVersion,
    outcome,
    text,
    source: SEED_SOURCE,
  });
  const mlaDecode =
    'decode hard-codes fa_version 3 and passes the flag, so the first decode raises NotImplementedError';
  const mlaPrefill = (version: number) =>
    `prefill warns once that the flag needs FlashAttention 4 and drops it (version resolves to ${version})`;
  const missing =
    systemFa4 === false
      ? 'flash-attn-4 is not installed: the import fails and the vendored FA4 is used without a word'
      : systemFa4 === null
        ? 'runs flash-attn-4 if it is installed, else silently the vendored FA4'
        : `runs flash-attn-4 ${systemFa4}, imported, looked up and checked inside every forward call`;
  return [
    row(
      true,
      2,
      hopper ? 'fails' : 'noEffect',
      hopper
        ? `${mlaPrefill(2)}; FLASH_ATTN_MLA ${mlaDecode}`
        : `${mlaPrefill(2)}; no FlashAttention decode backend for MLA here`,
    ),
    row(
      true,
      3,
      hopper ? 'fails' : 'noEffect',
      hopper ? `${mlaPrefill(3)}; FLASH_ATTN_MLA ${mlaDecode}` : 'FA3 does not run on this capability',
    ),
    row(
      true,
      4,
      hopper ? 'fails' : hasFa4 ? 'wrongResult' : 'noEffect',
      hopper
        ? `FLASH_ATTN_MLA ${mlaDecode}; the FA4 path also lacks q_v`
        : hasFa4
          ? 'the FA4 path lacks q_v, so MLA through it gives wrong results'
          : noFa4,
    ),
    row(false, 2, 'unknown', 'the change does not say what FlashAttention 2 does with the flag'),
    row(
      false,
      3,
      hopper ? 'fails' : 'noEffect',
      hopper
        ? 'the wrapper raises NotImplementedError for fa_version 3 with the flag on'
        : 'FA3 does not run on this capability',
    ),
    hasFa4 ? row(false, 4, systemFa4 === false ? 'noEffect' : 'usesSystem', missing) : row(false, 4, 'noEffect', noFa4),
  ];
}

function finding(code: string, severity: Severity, title: string, detail: string): Finding {
  return { id: code, code, severity, title, detail, level: 'declared', source: SEED_SOURCE, range: null, fixes: [] };
}

/** What fails with the flag on and not with it off, beyond what the review findings say of FA3 and MLA. */
function broughtBy(off: Evaluation, on: Evaluation): readonly Finding[] {
  const before = new Set(off.findings.map((each) => each.id));
  const told = new Set(['FLAG-FA3', 'FLAG-MLA']);
  return on.findings.filter(
    (each) =>
      each.code.startsWith('flag-') ||
      (each.code === 'selected-but-fails' && !before.has(each.id) && !told.has(each.source?.ruleId ?? '')),
  );
}

/** The five review findings of the change, as far as they apply to the request, and what the release does with the flag. */
function flagFindings(
  request: EvaluateRequest,
  off: Evaluation,
  on: Evaluation,
  passing: FieldEffect,
): readonly Finding[] {
  const groups = request.model.layerGroups;
  const mla = groups.some((group) => group.mla !== null);
  const { systemFa4 } = request.availability;
  const hopper = request.capability[0] === 9;
  const hasFa4 = request.capability[0] >= 9 && request.capability[0] <= 11;
  const flashLayers = on.selections.filter((selection) => isFlashAttnFamily(selection.backend));
  const notOnFa4 = flashLayers.filter((selection) => selection.flashAttnVersion !== 4);
  const findings: Finding[] = [];
  if (passing === 'aborts' || passing === 'ignored' || passing === 'noConfigClass') {
    findings.push(
      finding(
        'flag-not-declared',
        passing === 'aborts' ? 'error' : 'warning',
        'This vLLM does not have use_system_flash_attn',
        `${passingText(on.catalog, passing)} No release uses a pip-installed flash_attn.cute on CUDA; ${
          within(resolveRelease(request.vllmVersion).release, '0.17.0')
            ? 'use flash_attn_version: 4 for the vendored FA4 instead.'
            : 'upgrade to 0.20.0 or newer for the vendored FA4 instead.'
        }`,
      ),
    );
  }
  findings.push(...broughtBy(off, on));
  if (mla && hopper) {
    findings.push(
      finding(
        'flag-mla-decode-fails',
        'error',
        'With the flag on, MLA fails at the first decode',
        'MLA decode hard-codes FlashAttention 3 and also passes the flag, which raises NotImplementedError. Turn the flag off for MLA models.',
      ),
    );
  }
  if (mla && hasFa4) {
    findings.push(
      finding(
        'flag-mla-no-qv',
        'error',
        'MLA through system FA4 gives wrong results',
        'The FA4 path of the change does not pass q_v. Turn the flag off for MLA models; a numeric check fails there.',
      ),
    );
  }
  if (systemFa4 === false) {
    const large = groups.filter((group) => group.headDim > 256).map((group) => group.headDim);
    findings.push(
      finding(
        'flag-library-missing',
        'error',
        'use_system_flash_attn needs flash-attn-4, which is not installed',
        `The flag is trusted without looking: ${large.length > 0 ? `head size ${[...new Set(large)].join(', ')} is reported as supported` : 'support is reported'}, then the vendored FA4 runs instead or the call fails. Install flash-attn-4 or turn the flag off.`,
      ),
    );
  }
  if (flashLayers.some((selection) => selection.flashAttnVersion === 4) && systemFa4 !== false) {
    findings.push(
      finding(
        'flag-host-time',
        'warning',
        'Every call pays for the flag on the CPU',
        'The check, the import and the config look-up happen inside each forward. Measured per call on one H200: 70–95 µs with the vendored FA4, 88–115 µs with system FA4 (up to 157). Compare GPU time and host time before switching.',
      ),
    );
  }
  if (notOnFa4.length > 0 && !mla) {
    const layers = notOnFa4.map((selection) => selection.layerGroup).join(', ');
    const resolved = [...new Set(notOnFa4.map((selection) => selection.flashAttnVersion ?? 'none'))].join(', ');
    const takesVersion4 = within(resolveRelease(request.vllmVersion).release, '0.17.0');
    findings.push(
      notOnFa4.some((selection) => selection.flashAttnVersion === 3)
        ? finding(
            'flag-needs-fa4',
            'error',
            'With the flag on, FlashAttention 3 layers fail',
            `The wrapper raises NotImplementedError when the version is 3 and the flag is on: ${layers}. ${takesVersion4 ? 'Set flash_attn_version: 4 as well, or turn the flag off.' : 'This release has no flash_attn_version 4; turn the flag off.'}`,
          )
        : finding(
            'flag-without-effect',
            'warning',
            `The flag has no effect${notOnFa4.length === on.selections.length ? '' : ` for ${layers}`}: the FlashAttention version resolves to ${resolved}`,
            'Only version 4 would run the system library. Turn the flag off, or use a GPU and head size that resolve to 4.',
          ),
    );
  }
  if (mla && !hopper) {
    findings.push(
      finding(
        'flag-without-effect',
        'warning',
        'The flag is dropped for MLA prefill unless the version is 4',
        'A one-time warning says that system FlashAttention is only compatible with FlashAttention 4. Turn the flag off.',
      ),
    );
  }
  if (flashLayers.length === 0 && !mla && on.selections.length > 0) {
    findings.push(
      finding(
        'flag-without-effect',
        'info',
        'The flag changes nothing: no layer runs on FLASH_ATTN',
        'Choose FLASH_ATTN as the backend to see what the flag would do.',
      ),
    );
  }
  return findings;
}

const sameReasons = (a: Verdict, b: Verdict): boolean =>
  a.reasons.length === b.reasons.length && a.reasons.every((reason, index) => reason.text === b.reasons[index]?.text);

/** What flipping the flag changes for a request. The request's own flag value does not matter. */
export function flagEffect(request: EvaluateRequest): FlagEffect {
  const { release, stamp } = resolveRelease(request.vllmVersion);
  const passing = fieldEffect(release, SYSTEM_FLASH_ATTN_FIELD);
  const off = evaluate({ ...request, useSystemFlashAttn: false });
  const on = evaluate({ ...request, useSystemFlashAttn: true });
  const verdictChanges = off.verdicts.flatMap((before): readonly VerdictChange[] => {
    const after = on.verdicts.find(
      (verdict) =>
        verdict.subject === before.subject &&
        verdict.question === before.question &&
        verdict.layerGroup === before.layerGroup,
    );
    return after === undefined || (after.answer === before.answer && sameReasons(before, after))
      ? []
      : [{ off: before, on: after }];
  });
  const findings = stamp.match === 'tooOld' ? [] : flagFindings(request, off, on, passing);
  return {
    catalog: stamp,
    passing,
    off,
    on,
    selectionChanges: selectionChanges(off, on),
    verdictChanges,
    rows: flagRows(request.capability, request.availability.systemFa4),
    findings,
    notes: [
      {
        severity: passing === 'aborts' ? 'error' : passing === 'declared' ? 'info' : 'warning',
        text: passingText(stamp, passing),
        source: `vllm ${release} config/attention.py`,
      },
      ...findings
        .filter((entry) => entry.code !== 'flag-not-declared')
        .map((entry): FlagNote => ({
          severity: entry.severity,
          text: sentences(entry.title, entry.detail),
          source: entry.source?.where ?? SEED,
        })),
    ],
  };
}
