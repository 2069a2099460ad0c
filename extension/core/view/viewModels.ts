/** State → the complete snapshot that the panel shows. Pure: the same state gives the same model. */
import { finishedCases, isRunning, onScreen, type AppState, type SettingLocation } from '../state/appState';
import { askedVersion, fixContext } from '../state/derive';
import { withEnvironment } from '../findings/environmentFindings';
import { eachOnce } from '../findings/findings';
import { withFixes } from '../findings/fixes';
import { NOTHING_WRITTEN, serveFindings } from '../findings/findingsServe';
import type { FlagNote, FlagRow } from '../rules/flashAttnFlag';
import { placeText, sentences } from '../format';
import { PRESETS } from '../measure/presets';
import type { RequestForm } from '../measure/requestForm';
import { known } from '../state/store';
import type { Answer, EvidenceLevel, Finding, Fix, Severity } from '../verdict';
import { measuredFindings } from './measuredFindings';
import { deviceSection, familySection, type DeviceSection, type FamilySection } from './viewModelsDevice';
import {
  answerInForce,
  matrixSection,
  reasonView,
  sourceText,
  type MatrixSection,
  type ReasonView,
} from './viewModelsMatrix';
import { validationView, type ValidationView } from './viewModelsValidation';
import { selectionText, whatIfSection, type WhatIfSection } from './viewModelsWhatIf';
import { resultsSection, runSection, type ResultsSection, type RunSection } from './viewModelsRun';

/** What layer groups with the same outcome get. */
export interface SelectionView {
  /** `d64, d128`. */
  readonly layerGroup: string;
  readonly answer: Answer;
  /** `FLASH_ATTN (FA3)`, or what happens instead. */
  readonly text: string;
  readonly detail: string | null;
  /** What it rests on. */
  readonly level: EvidenceLevel;
  readonly reasons: readonly ReasonView[];
}

/** Which rules were used and what they say for the request. */
export interface RulesSection {
  /** `vLLM 0.33.0`, with what was applied instead when the catalog has no rules for it. */
  readonly release: string;
  /** Full sentence when the rules are not exactly the release's; `null` = they are. */
  readonly caveat: string | null;
  readonly checkedOn: string | null;
  readonly model: string | null;
  readonly modelFailure: string | null;
  readonly selections: readonly SelectionView[];
  readonly assumptions: readonly string[];
  readonly validation: ValidationView;
}

/** The switch and what it does. */
export interface FlagSection {
  readonly on: boolean;
  /** `Set in workspace settings.` */
  readonly where: string;
  /** What the serve file says, and whether it differs; `null` = no serve file. */
  readonly serveFile: string | null;
  readonly differsFromServeFile: boolean;
  /** What it does, but for what the findings say already. */
  readonly notes: readonly FlagNote[];
  /** Effects that are among the findings. */
  readonly notesAmongFindings: number;
  /** What it does to each kind of layer and FlashAttention generation; empty without an SM family. */
  readonly rows: readonly FlagRowView[];
}

/** One kind of layer and one FlashAttention generation. */
export interface FlagRowView {
  /** `MLA` or `other`. */
  readonly layers: string;
  /** `FA3`. */
  readonly version: string;
  /** `fails at the first call`. */
  readonly outcome: string;
  readonly answer: Answer;
  readonly because: string;
}

/** Outcomes of the flag in words, and as answers to "does it work then?". */
export const FLAG_OUTCOMES: Readonly<Record<FlagRow['outcome'], { readonly words: string; readonly answer: Answer }>> =
  {
    noEffect: { words: 'no effect', answer: 'yes' },
    usesSystem: { words: 'runs the system library', answer: 'yes' },
    fails: { words: 'fails', answer: 'no' },
    wrongResult: { words: 'wrong results', answer: 'no' },
    unknown: { words: 'unknown', answer: 'unknown' },
  };

/** A finding as listed. */
export interface FindingView {
  readonly id: string;
  readonly code: string;
  readonly severity: Severity;
  readonly title: string;
  readonly detail: string;
  readonly level: EvidenceLevel;
  readonly source: string | null;
  /** `serve.yaml:3`; `null` = it is about no place in a file. */
  readonly place: string | null;
  /** What can be done about it; the host carries it out by id. */
  readonly fixes: readonly FixView[];
}

/** A fix as a button. */
export type FixView = Pick<Fix, 'id' | 'title' | 'kind'>;

/** The opened report's label. */
export interface ReportBanner {
  readonly text: string;
  /** Why the command that wrote it ended early; `null` = it did not. */
  readonly failure: string | null;
}

/** The request form with its presets. */
export interface RequestSection {
  readonly form: RequestForm;
  readonly presets: readonly { readonly id: string; readonly title: string; readonly description: string }[];
  readonly presetId: string | null;
}

/** Everything the panel shows. Complete every time: a hidden panel that comes back needs nothing else. */
export interface PanelModel {
  readonly report: ReportBanner | null;
  /** The workspace is not trusted: what that takes away, in one sentence; `null` = trusted. */
  readonly trustNotice: string | null;
  readonly device: DeviceSection;
  readonly family: FamilySection;
  readonly flag: FlagSection;
  readonly request: RequestSection;
  readonly rules: RulesSection;
  readonly whatIf: WhatIfSection;
  readonly matrix: MatrixSection;
  readonly run: RunSection;
  readonly results: ResultsSection;
  readonly findings: readonly FindingView[];
}

const LOCATION_SENTENCES: Record<SettingLocation, string> = {
  default: 'Not set: this is the default.',
  user: 'Set in user settings.',
  workspace: 'Set in workspace settings.',
  folder: 'Set in folder settings.',
};

/** Findings shown at most; a model with more has one cause. */
const MAX_FINDINGS = 50;

/** The snapshot of a state. */
export function panelModel(state: AppState): PanelModel {
  const shown = onScreen(state);
  return {
    report: reportBanner(state),
    trustNotice: state.trusted
      ? null
      : 'This folder is not trusted: rules and reports are shown, but no probe, interpreter or kernel is started.',
    device: deviceSection(shown),
    family: familySection(shown),
    flag: flagSection(state),
    request: {
      form: state.form,
      presets: PRESETS.map(({ id, title, description }) => ({ id, title, description })),
      presetId: state.presetId,
    },
    rules: rulesSection(shown),
    whatIf: whatIfSection(shown),
    matrix: matrixSection(shown),
    run: runSection(shown),
    results: resultsSection(shown),
    findings: findingViews(state),
  };
}

/** Findings of the serve file, of the rules in force with what was inspected, and of what was measured, in that order. */
export function allFindings(state: AppState): readonly Finding[] {
  const derived = known(state.derived);
  const serve = known(state.serve);
  return eachOnce([
    ...(serve?.findings ?? []),
    ...environmentFailure(state),
    ...(serve?.useSystemFlashAttn === true ? (derived?.flagFindings ?? []) : []),
    ...(derived === null ? findingsWithoutFamily(state) : answerInForce(state, derived).evaluation.findings),
    ...measuredFindings(state),
  ]);
}

/** The Python environment was to be inspected and could not be. */
function environmentFailure({ environment }: AppState): readonly Finding[] {
  if (environment.status !== 'failed') return [];
  const { code, what, next } = environment.failure;
  return [
    {
      id: `environment:${code}`,
      code: `environment-${code}`,
      severity: 'warning',
      title: 'The Python environment was not inspected',
      detail: `${what} ${next}`,
      level: 'inspected',
      source: null,
      range: null,
      fixes: [],
    },
  ];
}

/** What a serve file and an environment are told without an SM family to ask about. */
function findingsWithoutFamily(state: AppState): readonly Finding[] {
  const environment = known(state.environment);
  const version = askedVersion(state.vllmVersion, environment);
  const written = known(state.serve)?.written ?? NOTHING_WRITTEN;
  return withFixes(
    withEnvironment(serveFindings(version, written), environment, version, null),
    fixContext(state, version, state.flag.value),
  );
}

/** Findings as listed, worst first. */
function findingViews(state: AppState): readonly FindingView[] {
  const order: readonly Severity[] = ['error', 'warning', 'info'];
  return [...allFindings(state)]
    .sort((a, b) => order.indexOf(a.severity) - order.indexOf(b.severity))
    .slice(0, MAX_FINDINGS)
    .map((finding) => ({
      id: finding.id,
      code: finding.code,
      severity: finding.severity,
      title: finding.title,
      detail: finding.detail,
      level: finding.level,
      source: sourceText(finding.source),
      place: finding.range === null ? null : placeText(finding.range),
      fixes: finding.fixes.map(({ id, title, kind }) => ({ id, title, kind })),
    }));
}

/** What every selection comes to, each text once, in group order; `null` before anything was evaluated. */
export function selectionTexts(state: AppState): readonly string[] | null {
  const derived = known(state.derived);
  if (derived === null) return null;
  return [...new Set(answerInForce(state, derived).evaluation.selections.map((each) => selectionText(each)))];
}

function reportBanner(state: AppState): ReportBanner | null {
  if (state.report === null) return null;
  const { fileName, report } = state.report;
  const when = new Date(report.createdAtMs).toISOString().slice(0, 16).replace('T', ' ');
  return {
    text: `Report ${fileName}, written ${when} UTC by version ${report.tool.version}${report.redacted ? ', redacted' : ''}. Devices and measurements below are from that machine, not from this one.`,
    failure: report.failure === null ? null : `The run that wrote it ended early: ${report.failure.text}`,
  };
}

function flagSection(state: AppState): FlagSection {
  const all = known(state.derived)?.flagNotes ?? [];
  const listed = new Set(allFindings(state).map((finding) => sentences(finding.title, finding.detail)));
  const notes = all.filter((note) => !listed.has(note.text));
  const serve = known(state.serve);
  const inFile = serve?.useSystemFlashAttn ?? null;
  const differs = inFile !== null && inFile !== state.flag.value;
  return {
    on: state.flag.value,
    where: LOCATION_SENTENCES[state.flag.setIn],
    serveFile:
      serve === null
        ? null
        : inFile === null
          ? `${serve.name} does not set it.`
          : `${serve.name} sets it to ${inFile}${differs ? ', which differs from this switch: vLLM follows the file, this switch only asks "what if"' : ''}.`,
    differsFromServeFile: differs,
    notes,
    notesAmongFindings: all.length - notes.length,
    rows: (known(state.derived)?.flagRows ?? []).map(({ mla, flashAttnVersion, outcome, text }) => ({
      layers: mla ? 'MLA' : 'other',
      version: `FA${flashAttnVersion}`,
      outcome: FLAG_OUTCOMES[outcome].words,
      answer: FLAG_OUTCOMES[outcome].answer,
      because: text,
    })),
  };
}

function rulesSection(state: AppState): RulesSection {
  const derived = known(state.derived);
  const environment = known(state.environment);
  const model = known(state.model);
  const modelFailure =
    state.model.status === 'failed' ? `${state.model.failure.what} ${state.model.failure.next}` : null;
  if (derived === null) {
    return {
      release:
        state.vllmVersion.value === 'newest' && environment === null
          ? 'The newest vLLM in the catalog'
          : `vLLM ${askedVersion(state.vllmVersion, environment)}`,
      caveat: null,
      checkedOn: null,
      model: model?.name ?? null,
      modelFailure,
      selections: [],
      assumptions: [],
      validation: validationView(state),
    };
  }
  const { evaluation } = answerInForce(state, derived);
  const { catalog } = evaluation;
  const caveats: Record<typeof catalog.match, string | null> = {
    exact: null,
    newer: `vLLM ${catalog.requestedVersion} is newer than the catalog (${catalog.newestKnown}): the rules of ${catalog.evaluatedAs} are used.`,
    development: `vLLM ${catalog.requestedVersion} is a development build: the rules of ${catalog.evaluatedAs} are used.`,
    tooOld: `vLLM ${catalog.requestedVersion} is older than the catalog: the rules of ${catalog.evaluatedAs} are used and may not hold.`,
  };
  return {
    release: `vLLM ${catalog.requestedVersion}`,
    caveat: caveats[catalog.match],
    checkedOn: catalog.checkedOn,
    model: model?.name ?? null,
    modelFailure,
    selections: mergedSelections(
      evaluation.selections.map((selection) => ({
        layerGroup: selection.layerGroup,
        answer: selection.answer,
        text: selectionText(selection),
        detail:
          selection.error ??
          (selection.blockSize === null
            ? null
            : `block size ${selection.blockSize}${selection.explicit ? ', because it is set' : ''}`),
        level: selection.level ?? 'declared',
        reasons: selection.reasons.map(reasonView),
      })),
    ),
    assumptions: evaluation.assumptions,
    validation: validationView(state),
  };
}

/** Groups whose outcome is the same to the word share a line. */
function mergedSelections(selections: readonly SelectionView[]): readonly SelectionView[] {
  const merged = new Map<string, SelectionView>();
  for (const selection of selections) {
    const { layerGroup, ...outcome } = selection;
    const key = JSON.stringify(outcome);
    const present = merged.get(key);
    merged.set(
      key,
      present === undefined ? selection : { ...present, layerGroup: `${present.layerGroup}, ${layerGroup}` },
    );
  }
  return [...merged.values()];
}

/** `3/12` while a run goes on; `null` otherwise. For the status bar. */
export function runCounter(state: AppState): string | null {
  if (!isRunning(state.run) || state.run.kind === 'confirmBusy' || !('cases' in state.run)) return null;
  return `${finishedCases(state.run.counts)}/${state.run.cases.length}`;
}
