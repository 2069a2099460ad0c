/** What `run` and `selftest` have in common: a device, cases, progress on stderr, a table, a report, an exit code. */
import type { AttentionCase, Ceilings } from '../../core/attentionCase';
import { describeCase } from '../../core/measure/caseGrid';
import type { DeviceFacts } from '../../core/facts';
import { formatRate } from '../../core/format';
import { largestErrorsText } from '../../core/report/reportMarkdown';
import type { RunOptions } from '../../protocol/helperApi';
import type { BackendPlan } from '../backendRunner';
import { runMeasurement } from '../measurement';
import { checkWritable } from '../reportFile';
import {
  contradictionsOf,
  contradictionsText,
  engineProgress,
  flagPairText,
  librariesText,
  ratiosText,
} from './backends';
import { defaultDevice, namedDevice, shortName, withClient } from './client';
import { cliLogger, deliverReport, EXIT, onlyReport, type CliIo, type ReportTarget } from './io';
import { exitCodeOf, rowsText, tally } from './rows';
import { ownControl } from './terminalText';

/** Options that choose the device. */
export const DEVICE_OPTIONS = {
  device: { type: 'string' },
  cpu: { type: 'boolean', default: false },
  'busy-ok': { type: 'boolean', default: false },
} as const;

export const DEVICE_HELP = `  --device NAME        cpu, a CUDA index (0, cuda:0), nvml:0, or a UUID or the start of one
  --cpu                the CPU reference device (same as --device cpu)
  --busy-ok            run although other processes use the GPU (rows are then marked contended)`;

export interface MeasureRequest {
  readonly command: string;
  readonly device: string | null;
  readonly busyOk: boolean;
  /** The cases for this device: presets are smaller on the CPU. */
  readonly cases: (device: DeviceFacts) => readonly AttentionCase[];
  readonly options: RunOptions;
  /** Installed libraries beside the bundled kernels; `null` = none. */
  readonly backends: BackendPlan | null;
  /** Rows of the table; the report holds all. */
  readonly shown: 'all' | 'notOk';
  readonly target: ReportTarget;
  readonly redacted: boolean;
}

/** Runs, prints, reports. Rows that were finished are printed and reported even when the run fails as a whole. */
export async function measure(io: CliIo, request: MeasureRequest): Promise<number> {
  if (request.target !== null && request.target !== '-') await checkWritable(request.target);
  const quiet = onlyReport(request.target);
  const progress = new ProgressLine(io);
  const { backends } = request;
  const { rows, ceilings, failure, ended, libraries, ratios, report } = await withClient(io, (client) =>
    runMeasurement(
      {
        probeLevel: request.device === 'cpu' ? 'nvml' : 'driver',
        device: (facts) => (request.device === null ? defaultDevice(facts) : namedDevice(facts, request.device)),
        cases: request.cases,
        options: request.options,
        ...(backends === null ? {} : { backends }),
      },
      {
        client,
        logger: cliLogger(io),
        signal: io.signal,
        onStart: (device, cases) =>
          io.err(
            `${cases.length} cases on ${shortName(device)} (${device.name})${device.kind === 'cpu' ? ', CPU reference device' : ''}\n`,
          ),
        onPhase: ({ caseIndex, phase }, cases) => {
          const current = caseIndex === null ? undefined : cases[caseIndex];
          progress.show(
            current === undefined
              ? phase
              : `${(caseIndex ?? 0) + 1}/${cases.length} ${describeCase(current)}: ${phase}`,
          );
        },
        onBackend: ({ engine, caseIndex, phase, round }, cases) => {
          const current = caseIndex === null ? undefined : cases[caseIndex];
          const what =
            current === undefined
              ? phase
              : `${(caseIndex ?? 0) + 1}/${cases.length} ${describeCase(current)}: ${phase}`;
          progress.show(`${engineProgress(engine, round)}: ${what}`);
        },
        onRow: (row, caseIndex, cases) =>
          progress.done(
            `${caseIndex + 1}/${cases.length} ${backends === null ? '' : `${row.engine} `}${describeCase(row.case)}: ${row.result.status}`,
          ),
        confirmBusy: async (busy) => {
          if (request.busyOk) return true;
          if (io.confirm === null) return false;
          progress.clear();
          return io.confirm(`${busy.device.name} is in use by others: ${busy.summary}. Run all the same? [y/N] `);
        },
      },
    ),
  );
  progress.clear();
  // Before anything that a cancelled command, or one whose reader has gone, may no longer do: what was measured is kept.
  await deliverReport(io, request.target, request.redacted, { command: request.command, ...report });
  if (!quiet && libraries.length > 0) io.out(librariesText(libraries, io));
  if (!quiet && rows.length > 0) {
    const shown = request.shown === 'all' ? rows : rows.filter((row) => row.result.status !== 'ok');
    if (shown.length > 0) io.out(rowsText(shown, io));
    if (ceilings !== null) io.out(ceilingsText(ceilings));
    if (rows.some((row) => row.deviceId === 'cpu' && row.result.gpuMs !== null)) {
      io.out('Times of the CPU reference device; they say nothing about a GPU.\n');
    }
    if (ratios.length > 0) io.out(ratiosText(ratios, io));
    io.out(flagPairText(rows, io));
    io.out(`${tally(rows)}${largestErrorsText(rows)}${ended === 'cancelled' ? ' (cancelled)' : ''}\n`);
  }
  if (ended === 'cancelled') return EXIT.interrupted;
  const device = report.facts?.devices.find((each) => each.id === rows[0]?.deviceId);
  if (!quiet && backends !== null && device !== undefined) {
    io.out(contradictionsText(await contradictionsOf(rows, device, backends, io), io));
  }
  if (failure !== null) throw failure;
  return exitCodeOf(rows);
}

function ceilingsText(ceilings: Ceilings): string {
  const parts = [
    ...(ceilings.readStreamTbps === null ? [] : [`read stream ${formatRate(ceilings.readStreamTbps, 'TB/s')}`]),
    ...(ceilings.copyTbps === null ? [] : [`copy ${formatRate(ceilings.copyTbps, 'TB/s')}`]),
    ...(ceilings.tensorCoreTflops === null
      ? []
      : [
          `tensor cores ${formatRate(ceilings.tensorCoreTflops, 'TFLOP/s')} (${ceilings.tensorCoreInstruction ?? 'mma'})`,
        ]),
  ];
  return parts.length === 0 ? '' : `Measured ceilings: ${parts.join(', ')}\n`;
}

/** On a terminal one line that is rewritten; elsewhere a line per finished case. */
class ProgressLine {
  #shown = 0;
  readonly #io: CliIo;

  constructor(io: CliIo) {
    this.#io = io;
  }

  show(text: string): void {
    if (!this.#io.errIsTerminal) return;
    const line = text.slice(0, this.#io.errColumns() - 1);
    this.#io.err(`${ownControl('\r')}${line}${' '.repeat(Math.max(0, this.#shown - line.length))}`);
    this.#shown = line.length;
  }

  done(text: string): void {
    if (this.#io.errIsTerminal) this.show(text);
    else this.#io.err(`${text}\n`);
  }

  clear(): void {
    if (this.#shown > 0) this.#io.err(`${ownControl('\r')}${' '.repeat(this.#shown)}${ownControl('\r')}`);
    this.#shown = 0;
  }
}
