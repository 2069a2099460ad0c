/**
 * Everything the extension knows at one moment. Collectors and intents change it, surfaces format it, nothing else
 * holds state.
 */
import type { AttentionCase, Ceilings, ResultRow, ResultStatus } from '../attentionCase';
import type { EnvironmentFacts } from '../environment';
import type { Evaluation, MatrixCell, MatrixSubject } from '../evaluation';
import type { JudgedServe } from '../findings/findingsServe';
import type { FlagNote, FlagRow } from '../rules/flashAttnFlag';
import type { Validation } from '../rules/validation';
import type { DeviceFacts, SystemFacts } from '../facts';
import type { ComparedColumn } from '../rules/comparison';
import type { MatrixColumn } from '../rules/matrix';
import { findPreset } from '../measure/presets';
import type { LibraryState, Report } from '../report/report';
import type { ModelShapeOptions } from '../model/modelShape';
import type { ModelFacts, ServeSettings } from '../request';
import type { RequestForm } from '../measure/requestForm';
import { IDLE, known, type Async, type Failure } from './store';
import type { Finding } from '../verdict';

/** Where the value of a setting comes from, weakest first. */
export type SettingLocation = 'default' | 'user' | 'workspace' | 'folder';

/** A setting's value and the place that decides it. */
export interface Setting<T> {
  readonly value: T;
  readonly setIn: SettingLocation;
}

/** The model that the questions are about. */
export interface LoadedModel {
  /** What to call it: the folder's name, or the file's. */
  readonly name: string;
  readonly facts: ModelFacts;
  /** What the reader had to guess or skip, as plain sentences. */
  readonly notes: readonly string[];
  /** What it was read from, to read it as another release does; absent = the same for every release. */
  readonly source?: { readonly json: unknown; readonly options: ModelShapeOptions };
}

/** The serve file, as far as it was understood. */
export interface LoadedServeFile {
  readonly name: string;
  readonly settings: ServeSettings;
  /** `use_system_flash_attn` in the file; `null` = not written there. */
  readonly useSystemFlashAttn: boolean | null;
  readonly mlaDisabled: boolean;
  readonly findings: readonly Finding[];
  /** Settings and variables with their places; what is wrong with them depends on the release asked about. */
  readonly written?: JudgedServe;
  /** The file as it was read, for fixes; `null` or absent = there is none to edit. */
  readonly file?: { readonly path: string; readonly text: string } | null;
}

/** One complete answer of the rules: the evaluation and the matrix it belongs to. */
export interface RuleAnswer {
  readonly evaluation: Evaluation;
  /** What each column of the matrix asks about, in order. */
  readonly columns: readonly MatrixColumn[];
  readonly subjects: readonly MatrixSubject[];
  readonly cells: readonly MatrixCell[];
}

/** What the rules say for the request on screen, with the flag off and on. */
export interface DerivedAnswer {
  readonly capability: readonly [number, number];
  readonly flagOff: RuleAnswer;
  readonly flagOn: RuleAnswer;
  /** What the flag does beyond single cells: effect on the installed or chosen release, traps; plain sentences. */
  readonly flagNotes: readonly FlagNote[];
  /** What the flag does to each kind of layer and FlashAttention generation on this GPU. */
  readonly flagRows: readonly FlagRow[];
  /** The same as findings, for a serve file that really sets the flag. */
  readonly flagFindings: readonly Finding[];
}

/** The same request on other SM families, and under another release. */
export interface WhatIfAnswer {
  readonly families: readonly ComparedColumn[];
  /** `null` when no SM family is asked about. */
  readonly upgrade: { readonly from: ComparedColumn; readonly to: ComparedColumn } | null;
}

/** Steps of one case; the names of the progress messages of the helper and of the runner of libraries. */
export type RunPhase = 'context' | 'ceilings' | 'import' | 'jit' | 'allocate' | 'check' | 'warmup' | 'time';

/** How many cases ended how. */
export type StatusCounts = Readonly<Partial<Record<ResultStatus, number>>>;

/** Where a run stands. */
export interface RunProgressState {
  readonly deviceId: string;
  readonly cases: readonly AttentionCase[];
  /** Finished cases by how they ended. */
  readonly counts: StatusCounts;
  readonly caseIndex: number | null;
  readonly phase: RunPhase | null;
  /** Installed libraries run too. */
  readonly libraries?: {
    /** At work now; `null` = several at once. */
    readonly engine: string | null;
    /** Rows to come: cases × engines that are there. */
    readonly total: number;
  };
}

/** The life of a run, from the button to the last row. */
export type RunState =
  | { readonly kind: 'idle' }
  /** Waiting for an answer; the figures are those of the device's facts, `summary` is what was found in use. */
  | { readonly kind: 'confirmBusy'; readonly deviceId: string; readonly summary: string }
  | ({ readonly kind: 'running' } & RunProgressState)
  | ({ readonly kind: 'cancelling' } & RunProgressState)
  | {
      readonly kind: 'finished';
      readonly ended: 'complete' | 'cancelled' | 'failed';
      readonly deviceId: string;
      readonly counts: StatusCounts;
      readonly failure: Failure | null;
    };

/** A report read from a file, shown in place of the live data. */
export interface OpenedReport {
  readonly fileName: string;
  readonly report: Report;
  /** What its rows answer; `null` = it has none. */
  readonly form: RequestForm | null;
}

/** What this installation can do here, decided once at activation. */
export interface Capabilities {
  /** `linux-x64` … */
  readonly platform: string;
  /** Full sentence why nothing can be measured in this installation; `null` = it can. */
  readonly measureBlocked: string | null;
  /** The workspace has no files on this machine. */
  readonly virtualWorkspace: boolean;
}

/** Two releases that are compared; `null` = by itself. */
export interface UpgradeChoice {
  readonly from: string | null;
  readonly to: string | null;
}

/** The one state. */
export interface AppState {
  readonly facts: Async<SystemFacts>;
  /** `null` = choose by itself: the first GPU, else the CPU device. */
  readonly selectedDeviceId: string | null;
  /** Family asked for instead of the device's own; `null` = the device's. */
  readonly whatIfCapability: readonly [number, number] | null;
  readonly flag: Setting<boolean>;
  /** Release asked for: `newest` or a version. */
  readonly vllmVersion: Setting<string>;
  /** Releases of the upgrade what-if; `null` = the one asked about, and the newest known. */
  readonly upgrade: UpgradeChoice;
  readonly hasFolder: boolean;
  readonly model: Async<LoadedModel>;
  readonly serve: Async<LoadedServeFile>;
  /** The interpreter that `environment` and `validation` are about, as it was found; `null` = none. */
  readonly interpreter: string | null;
  /** The Python environment, when an interpreter was inspected. */
  readonly environment: Async<EnvironmentFacts>;
  /** What the installed vLLM said when it was asked itself; counts only for the question it was asked. */
  readonly validation: Async<Validation>;
  readonly form: RequestForm;
  /** Preset the form was filled from and still equals. */
  readonly presetId: string | null;
  readonly derived: Async<DerivedAnswer>;
  /** Other families and another release; `null` before it was evaluated. */
  readonly whatIf: WhatIfAnswer | null;
  readonly run: RunState;
  /** Newest run last; a repeated case replaces its older row. */
  readonly rows: readonly ResultRow[];
  /** Installed libraries, as the last run that asked for them found them. */
  readonly libraries: readonly LibraryState[];
  /** Ceilings measured here, by device id. */
  readonly ceilings: Readonly<Record<string, Ceilings>>;
  readonly report: OpenedReport | null;
  readonly trusted: boolean;
  readonly capabilities: Capabilities;
}

/** Preset of a fresh window. */
const FIRST_PRESET = 'quick';

/** The state before anything was asked. */
export function initialState(
  environment: Pick<AppState, 'flag' | 'vllmVersion' | 'hasFolder' | 'selectedDeviceId' | 'trusted' | 'capabilities'>,
): AppState {
  const preset = findPreset(FIRST_PRESET);
  if (preset === undefined) throw new Error(`there is no preset "${FIRST_PRESET}"`);
  return {
    facts: IDLE,
    whatIfCapability: null,
    upgrade: { from: null, to: null },
    model: IDLE,
    serve: IDLE,
    interpreter: null,
    environment: IDLE,
    validation: IDLE,
    form: preset.cpu,
    presetId: preset.id,
    derived: IDLE,
    whatIf: null,
    run: { kind: 'idle' },
    rows: [],
    libraries: [],
    ceilings: {},
    report: null,
    ...environment,
  };
}

/** The device that is asked about: the chosen one while it exists, else the first GPU, else the CPU; `null` before a probe. */
export function selectedDevice(facts: SystemFacts | null, selectedDeviceId: string | null): DeviceFacts | null {
  if (facts === null) return null;
  return (
    facts.devices.find((device) => device.id === selectedDeviceId) ??
    facts.devices.find((device) => device.kind === 'gpu') ??
    facts.devices[0] ??
    null
  );
}

/** The selected device of a state. */
export function currentDevice(state: AppState): DeviceFacts | null {
  return selectedDevice(known(state.facts), state.selectedDeviceId);
}

/** The capability the rules are asked for: the what-if, else the device's own; `null` when there is neither. */
export function askedCapability(state: AppState): readonly [number, number] | null {
  return state.whatIfCapability ?? currentDevice(state)?.computeCapability ?? null;
}

/**
 * The state as it is shown: an opened report takes the place of this machine's facts, rows and ceilings, so that every
 * section is built by the same code for both.
 */
export function onScreen(state: AppState): AppState {
  if (state.report === null) return state;
  const { report } = state.report;
  return {
    ...state,
    facts: report.facts === null ? IDLE : { status: 'ready', value: report.facts, stale: false },
    selectedDeviceId: report.rows[0]?.deviceId ?? null,
    form: state.report.form ?? state.form,
    rows: report.rows,
    libraries: report.libraries ?? [],
    ceilings: Object.fromEntries(report.ceilings.map(({ deviceId, ceilings }) => [deviceId, ceilings])),
  };
}

/** A report as it is opened. The request is the operation that most rows ran, with all its head sizes and layouts. */
export function openedReport(fileName: string, report: Report): OpenedReport {
  return { fileName, report, form: formOfRows(report.rows) };
}

function formOfRows(rows: readonly ResultRow[]): RequestForm | null {
  const counts = new Map<RequestForm['op'], number>();
  for (const { case: asked } of rows) counts.set(asked.op, (counts.get(asked.op) ?? 0) + 1);
  const [most] = [...counts].sort(([, a], [, b]) => b - a);
  const first = rows.find((row) => row.case.op === most?.[0])?.case;
  if (first === undefined) return null;
  const same = rows.map((row) => row.case).filter((each) => each.op === first.op && each.dtype === first.dtype);
  const ascending = (a: number | null, b: number | null): number => (a ?? 0) - (b ?? 0);
  const longest = (lengths: number | readonly number[]): number =>
    typeof lengths === 'number' ? lengths : Math.max(...lengths);
  return {
    op: first.op,
    dtype: first.dtype,
    headDims: [...new Set(same.map((each) => each.headDim))].sort(ascending),
    pageSizes: [...new Set(same.map((each) => each.pageSize))].sort(ascending),
    qHeads: first.qHeads,
    kvHeads: first.kvHeads,
    batch: first.batch,
    qLen: longest(first.qLens),
    kvLen: longest(first.kvLens),
    causal: first.causal,
  };
}

/** Cases finished so far. */
export function finishedCases(counts: StatusCounts): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

/** True while a run holds a device. */
export function isRunning(run: RunState): boolean {
  return run.kind === 'running' || run.kind === 'cancelling' || run.kind === 'confirmBusy';
}

/** Same engine, device and case: the newer row replaces the older. */
export function addRow(rows: readonly ResultRow[], row: ResultRow): readonly ResultRow[] {
  return [...rows.filter((each) => !sameQuestion(each, row)), row];
}

/** The cheap members first: a sweep adds thousands of rows, and almost all differ in one of them. */
function sameQuestion(a: ResultRow, b: ResultRow): boolean {
  return (
    a.engine === b.engine &&
    a.deviceId === b.deviceId &&
    a.case.op === b.case.op &&
    a.case.headDim === b.case.headDim &&
    a.case.pageSize === b.case.pageSize &&
    JSON.stringify(a.case) === JSON.stringify(b.case)
  );
}
