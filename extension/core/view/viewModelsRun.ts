/** State → the run controls and the results table. */
import {
  currentDevice,
  finishedCases,
  type AppState,
  type RunPhase,
  type RunState,
  type StatusCounts,
} from '../state/appState';
import type { Ceilings, ResultRow, ResultStatus } from '../attentionCase';
import { countedRate, rateText } from '../measure/countedRate';
import { expandForm, headDimText } from '../measure/caseGrid';
import { BUNDLED_ENGINE, engineLabel, FLAG_ENGINES } from '../measure/engines';
import { besideEachOther } from '../measure/rounds';
import { sideBySide } from '../measure/sideBySide';
import type { DeviceFacts } from '../facts';
import { formatBytes, formatMs, formatPageSize, formatPercent, formatRate, formatError, plural } from '../format';
import { known, type Failure } from '../state/store';
import type { LabelledValue } from './viewModelsDevice';
import { caseShape, measurementGrids, STATUS_WORDS, type GridView } from './viewModelsGrid';

/** The run button, the progress and the question about a busy GPU. */
export interface RunSection {
  readonly kind: RunState['kind'];
  readonly caseCount: number;
  /** `Run 6 cases on NVIDIA H200`. */
  readonly buttonLabel: string;
  /** `Run 6 cases through installed libraries too`. */
  readonly librariesLabel: string;
  /** Why the buttons are disabled; `null` = they are not. */
  readonly blocked: string | null;
  /** Offers the trust editor beside `blocked`. */
  readonly offerTrust: boolean;
  /** Something to know before running (CPU label, driver of another version); never an obstacle. */
  readonly notice: string | null;
  readonly progress: ProgressView | null;
  readonly busy: BusyView | null;
  /** One sentence about the last run, read out when it appears. */
  readonly finished: string | null;
  readonly failure: Failure | null;
}

export interface ProgressView {
  readonly done: number;
  readonly total: number;
  /** `Case 3 of 12: prefill d128, page 16 – checking`. */
  readonly text: string;
  readonly cancelling: boolean;
}

/** What is known of a GPU that others use. */
export interface BusyView {
  readonly question: string;
  readonly figures: readonly LabelledValue[];
}

/** One row of the results table; every text is ready to print, figures that were not established are `–`. */
export interface ResultRowView {
  readonly engine: string;
  /** Who ran it, when not only the bundled kernels did; `null` = nobody asks. */
  readonly engineLabel: string | null;
  /** The row above is of the same case. */
  readonly sameCase: boolean;
  readonly title: string;
  readonly shape: string;
  readonly status: ResultStatus;
  readonly statusText: string;
  /** The engine's own words when it is not ok. */
  readonly reason: string | null;
  readonly kernel: string | null;
  /** Why that kernel ran and no other; `null` = there was no choice, or the report does not say. */
  readonly kernelWhy: string | null;
  readonly median: string;
  readonly spread: string;
  readonly rate: string;
  /** 0…1 of the measured ceiling, without one of the fastest row shown; `null` = no bar. */
  readonly bar: number | null;
  readonly percentOfCeiling: string;
  readonly relError: string;
  /** `floor 2.29e-3`, `log-sum-exp 1.43e-6`, `256 rows checked`. */
  readonly errorDetail: readonly string[];
  readonly hostTime: string;
  /** Time of the first call, with what it compiled; `null` = not stated. */
  readonly firstCall: string | null;
  readonly clock: string;
  readonly contended: boolean;
  readonly onCpu: boolean;
}

/** An installed library as it was found. */
export interface LibraryView {
  readonly label: string;
  readonly available: boolean;
  /** Version, or why it cannot be called. */
  readonly text: string;
}

/** What `use_system_flash_attn` exchanges, on one case. */
export interface FlagPairView {
  readonly title: string;
  readonly shape: string;
  readonly system: PairSideView;
  readonly vendored: PairSideView;
  /** Time of vLLM's FA4 ÷ time of the system library, `×1.04`. */
  readonly ratio: string;
}

export interface PairSideView {
  readonly answer: 'yes' | 'no' | 'unknown';
  /** `ok`, or how it ended with its words. */
  readonly outcome: string;
  readonly time: string;
  readonly rate: string;
  readonly host: string;
}

/** The results table. */
export interface ResultsSection {
  /** The same measurements at a glance, page layouts × head sizes. */
  readonly grids: readonly GridView[];
  /** Rows of a case stand together. */
  readonly rows: readonly ResultRowView[];
  readonly libraries: readonly LibraryView[];
  /** Empty unless both FlashAttention 4 were measured. */
  readonly flagPairs: readonly FlagPairView[];
  readonly hidden: number;
  /** Denominators of the percentages. */
  readonly ceilings: readonly LabelledValue[];
  /** Any row ran on the CPU device. */
  readonly anyCpu: boolean;
  readonly anyContended: boolean;
  /** Shown in place of the table; `null` = there are rows. */
  readonly empty: string | null;
}

/** Rows sent to the panel; a report holds all of them. */
export const MAX_RESULT_ROWS = 100;

/** Cases of the two FlashAttention 4 shown beside each other. */
const MAX_FLAG_PAIRS = 40;

/** A compiler's refusal can be pages long; a report has all of it. */
const MAX_REASON = 300;
const MAX_PAIR_REASON = 120;

const NOTHING_MEASURED =
  'Nothing has been measured yet. Run the cases above to see which head sizes and page layouts work here, how exact and how fast.';

const PHASE_WORDS: Record<RunPhase, string> = {
  context: 'opening the device',
  ceilings: "measuring this device's ceilings",
  import: 'importing',
  jit: 'compiling',
  allocate: 'allocating',
  check: 'checking against the reference',
  warmup: 'warming up',
  time: 'timing',
};

/** The run controls. */
export function runSection(state: AppState): RunSection {
  const device = currentDevice(state);
  const cases = expandForm(state.form);
  const { run } = state;
  const block = runBlocked(state);
  return {
    kind: run.kind,
    caseCount: cases.length,
    buttonLabel: `Run ${plural(cases.length, 'case')} on ${device === null ? 'this machine' : device.kind === 'cpu' ? 'the CPU reference device' : device.name}`,
    librariesLabel: `Run ${plural(cases.length, 'case')} through installed libraries too`,
    blocked: block?.sentence ?? null,
    offerTrust: block?.trust ?? false,
    notice:
      device?.kind === 'cpu'
        ? 'Runs on the CPU reference device: the numerics are exact, the times say nothing about a GPU.'
        : null,
    progress:
      run.kind === 'running' || run.kind === 'cancelling'
        ? {
            done: finishedCases(run.counts),
            total: run.libraries?.total ?? run.cases.length,
            text: progressText(run),
            cancelling: run.kind === 'cancelling',
          }
        : null,
    busy: run.kind === 'confirmBusy' ? busyView(run.summary, device) : null,
    finished: run.kind === 'finished' ? finishedText(run) : null,
    failure: run.kind === 'finished' ? run.failure : null,
  };
}

/** Why no run can start now; `null` = it can. Commands ask this again, because a button is only presentation. */
export function runBlocked(state: AppState): { readonly sentence: string; readonly trust: boolean } | null {
  if (!state.trusted) {
    return {
      sentence:
        'Kernels run only in a trusted workspace. Trust this folder to measure; what vLLM declares is shown without it.',
      trust: true,
    };
  }
  if (state.capabilities.measureBlocked !== null) return { sentence: state.capabilities.measureBlocked, trust: false };
  if (state.report !== null)
    return { sentence: 'A report is open. Close it to run kernels on this machine.', trust: false };
  if (state.form.qHeads % state.form.kvHeads !== 0) {
    return {
      sentence: `Query heads (${state.form.qHeads}) must be a multiple of KV heads (${state.form.kvHeads}). Change one of them.`,
      trust: false,
    };
  }
  return null;
}

/** The results table. */
export function resultsSection(state: AppState): ResultsSection {
  const { rows } = state;
  const devices = known(state.facts)?.devices ?? [];
  const cpuIds = new Set(devices.filter((device) => device.kind === 'cpu').map((device) => device.id));
  const device = currentDevice(state);
  const ceilings = device === null ? null : (state.ceilings[device.id] ?? null);
  const isCpu = (row: ResultRow): boolean => cpuIds.has(row.deviceId) || row.result.kernel?.target === 'cpu';
  const shown = besideEachOther(rows.slice(-MAX_RESULT_ROWS));
  const onlyBundled = shown.every((row) => row.engine === BUNDLED_ENGINE);
  const fastest = { tflops: largest(shown, 'tflops'), tbps: largest(shown, 'tbps') };
  return {
    grids: measurementGrids(rows, isCpu),
    rows: shown.map((row, index) => ({
      ...resultRowView(row, isCpu(row), fastest),
      engineLabel: onlyBundled ? null : engineLabel(row.engine),
      sameCase: isSameCase(row, shown[index - 1]),
    })),
    libraries: state.libraries.map(({ engine, available, version, torch, reason }) => ({
      label: engineLabel(engine),
      available,
      text: available
        ? `${version ?? 'version not stated'}${torch === null ? '' : `, torch ${torch}`}`
        : brief(reason?.text ?? 'It cannot be called; no reason was given.', MAX_REASON),
    })),
    flagPairs: flagPairs(rows),
    hidden: rows.length - shown.length,
    ceilings: ceilings === null ? [] : ceilingLines(ceilings),
    anyCpu: shown.some(isCpu),
    anyContended: shown.some((row) => row.result.contended),
    empty: rows.length > 0 ? null : state.report === null ? NOTHING_MEASURED : 'This report holds no measurements.',
  };
}

function resultRowView(
  row: ResultRow,
  onCpu: boolean,
  fastest: { readonly tflops: number; readonly tbps: number },
): Omit<ResultRowView, 'engineLabel' | 'sameCase'> {
  const { result } = row;
  const attentionCase = row.case;
  const counted = countedRate(attentionCase);
  const rateValue = result[counted];
  const best = fastest[counted];
  return {
    engine: row.engine,
    title: `${attentionCase.op} d${headDimText(attentionCase)}, ${formatPageSize(attentionCase.pageSize)}`,
    shape: caseShape(attentionCase),
    status: result.status,
    statusText: STATUS_WORDS[result.status],
    reason: result.reason === null ? null : brief(result.reason.text, MAX_REASON),
    kernel:
      result.kernel === null
        ? null
        : [
            result.kernel.name,
            ...(result.kernel.headDimTile === null ? [] : [`tile ${result.kernel.headDimTile}`]),
            result.kernel.target,
            ...(result.kernel.numSplits === null || result.kernel.numSplits === 1
              ? []
              : [`${result.kernel.numSplits} splits`]),
          ].join(' · '),
    kernelWhy: result.kernel?.why === undefined ? null : brief(result.kernel.why, MAX_REASON),
    median: formatMs(result.gpuMs?.median ?? null),
    spread: result.gpuMs === null ? '' : `${formatMs(result.gpuMs.p10)} – ${formatMs(result.gpuMs.p90)}`,
    rate: rateText(attentionCase, result),
    bar:
      result.percentOfCeiling !== null
        ? Math.min(1, result.percentOfCeiling / 100)
        : rateValue === null || best <= 0
          ? null
          : rateValue / best,
    percentOfCeiling: formatPercent(result.percentOfCeiling),
    relError: formatError(result.relError),
    errorDetail:
      result.relError === null
        ? []
        : [
            ...(result.roundingFloor === null ? [] : [`floor ${formatError(result.roundingFloor)}`]),
            ...(result.lseError === null ? [] : [`log-sum-exp ${formatError(result.lseError)}`]),
            `${plural(result.checkedRows, 'row')} checked`,
          ],
    hostTime: result.hostUs === null ? formatMs(null) : formatMs(result.hostUs / 1000),
    firstCall: result.jitMs === null ? null : formatMs(result.jitMs),
    clock: result.smClockMHz === null ? formatMs(null) : `${Math.round(result.smClockMHz)} MHz`,
    contended: result.contended,
    onCpu,
  };
}

function isSameCase(row: ResultRow, above: ResultRow | undefined): boolean {
  return (
    above !== undefined &&
    above.deviceId === row.deviceId &&
    above.case.headDim === row.case.headDim &&
    above.case.pageSize === row.case.pageSize &&
    JSON.stringify(above.case) === JSON.stringify(row.case)
  );
}

/** Both FlashAttention 4 beside each other; nothing unless both have rows. */
function flagPairs(rows: readonly ResultRow[]): readonly FlagPairView[] {
  const [system, vendored] = FLAG_ENGINES;
  const pairs = sideBySide(rows, system, vendored);
  if (!pairs.some(({ first }) => first !== null) || !pairs.some(({ second }) => second !== null)) return [];
  return pairs.slice(0, MAX_FLAG_PAIRS).map((pair) => ({
    title: `${pair.case.op} d${headDimText(pair.case)}, ${formatPageSize(pair.case.pageSize)}`,
    shape: caseShape(pair.case),
    system: pairSide(pair.first),
    vendored: pairSide(pair.second),
    ratio: pair.timeRatio === null ? formatMs(null) : `×${pair.timeRatio.toFixed(2)}`,
  }));
}

function pairSide(row: ResultRow | null): PairSideView {
  const result = row?.result ?? null;
  const status = result?.status ?? null;
  const rate = row === null ? formatRate(null, 'TB/s') : rateText(row.case, result);
  return {
    answer:
      status === 'ok'
        ? 'yes'
        : status === 'wrong' || status === 'unsupported' || status === 'crashed'
          ? 'no'
          : 'unknown',
    outcome:
      status === null
        ? 'not measured'
        : `${STATUS_WORDS[status]}${result?.reason === undefined || result.reason === null ? '' : `: ${brief(result.reason.text, MAX_PAIR_REASON)}`}`,
    time: formatMs(result?.gpuMs?.median ?? null),
    rate,
    host: formatMs(result?.hostUs === undefined || result.hostUs === null ? null : result.hostUs / 1000),
  };
}

function largest(rows: readonly ResultRow[], figure: 'tflops' | 'tbps'): number {
  return rows.reduce((most, row) => Math.max(most, row.result[figure] ?? 0), 0);
}

function ceilingLines(ceilings: Ceilings): readonly LabelledValue[] {
  return [
    {
      label: 'Read stream',
      value: formatRate(ceilings.readStreamTbps, 'TB/s'),
      known: ceilings.readStreamTbps !== null,
    },
    { label: 'Copy', value: formatRate(ceilings.copyTbps, 'TB/s'), known: ceilings.copyTbps !== null },
    {
      label:
        ceilings.tensorCoreInstruction === null ? 'Tensor cores' : `Tensor cores (${ceilings.tensorCoreInstruction})`,
      value: formatRate(ceilings.tensorCoreTflops, 'TFLOP/s'),
      known: ceilings.tensorCoreTflops !== null,
    },
  ]
    .filter((line) => line.known)
    .map(({ label, value }) => ({ label, value }));
}

function progressText(run: Extract<RunState, { kind: 'running' | 'cancelling' }>): string {
  if (run.kind === 'cancelling') return 'Cancelling: the run ends at the current launch. Finished rows are kept.';
  const phase = run.phase === null ? 'starting' : PHASE_WORDS[run.phase];
  const current = run.caseIndex === null ? undefined : run.cases[run.caseIndex];
  const who = run.libraries === undefined ? '' : `${engineAtWork(run.libraries.engine)}: `;
  if (run.caseIndex === null || current === undefined) return `${who === '' ? 'Preparing: ' : who}${phase}`;
  return `${who}${who === '' ? 'Case' : 'case'} ${run.caseIndex + 1} of ${run.cases.length} (${current.op} d${current.headDim}, ${formatPageSize(current.pageSize)}): ${phase}`;
}

function brief(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most)}…`;
}

function engineAtWork(engine: string | null): string {
  return engine === null ? 'Installed libraries' : engineLabel(engine);
}

function busyView(summary: string, device: DeviceFacts | null): BusyView {
  const figures: LabelledValue[] = [{ label: 'Found', value: summary }];
  if (device?.processes) {
    for (const process of device.processes.slice(0, 5)) {
      figures.push({
        label: `Process ${process.pid}`,
        value: `${process.kind}, ${process.usedMemoryBytes === null ? 'memory not permitted to see' : formatBytes(process.usedMemoryBytes)}`,
      });
    }
  }
  if (device !== null && device.utilizationPercent !== null)
    figures.push({ label: 'Utilisation', value: formatPercent(device.utilizationPercent) });
  if (device !== null && device.memoryFreeBytes !== null) {
    figures.push({
      label: 'Free memory',
      value: `${formatBytes(device.memoryFreeBytes)} of ${formatBytes(device.memoryTotalBytes)}`,
    });
  }
  return {
    question: `${device?.name ?? 'The GPU'} is in use by others. Running now slows them down, and the times are marked as contended.`,
    figures,
  };
}

function finishedText(run: Extract<RunState, { kind: 'finished' }>): string {
  const tally = tallyText(run.counts);
  switch (run.ended) {
    case 'complete':
      return `Finished: ${tally ?? 'no rows'}.`;
    case 'cancelled':
      return tally === null
        ? 'Cancelled before the first case was finished.'
        : `Cancelled. Finished rows are kept: ${tally}.`;
    case 'failed':
      return tally === null ? 'The run failed.' : `The run failed. Finished rows are kept: ${tally}.`;
  }
}

/** `4 ok, 2 unsupported`; `null` when nothing finished. */
function tallyText(counts: StatusCounts): string | null {
  const parts = (Object.keys(STATUS_WORDS) as ResultStatus[]).flatMap((status) => {
    const count = counts[status] ?? 0;
    return count === 0 ? [] : [`${count} ${STATUS_WORDS[status]}`];
  });
  return parts.length === 0 ? null : parts.join(', ');
}
