/** What `run` and `selftest` have in common: a device, cases, progress on stderr, a table, a report, an exit code. */
import type { AttentionCase, Ceilings, ResultRow } from '../../core/attentionCase';
import { describeCase } from '../../core/caseGrid';
import { DiagError } from '../../core/errors';
import { errorText } from '../../core/errorText';
import type { DeviceFacts, SystemFacts } from '../../core/facts';
import { formatRate, formatRelError } from '../../core/format';
import type { RunOptions } from '../../protocol/helperApi';
import { runKernels } from '../runSession';
import { defaultDevice, namedDevice, shortName, withClient } from './client';
import { cliLogger, deliverReport, EXIT, onlyReport, type CliIo, type ReportTarget } from './io';
import { exitCodeOf, rowsText, tally } from './rows';

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
  /** Rows of the table; the report holds all. */
  readonly shown: 'all' | 'notOk';
  readonly target: ReportTarget;
  readonly redacted: boolean;
}

/** Runs, prints, reports. Rows that were finished are printed and reported even when the run fails as a whole. */
export async function measure(io: CliIo, request: MeasureRequest): Promise<number> {
  const quiet = onlyReport(request.target);
  const rows: ResultRow[] = [];
  let facts: SystemFacts | null = null;
  let ceilings: { deviceId: string; ceilings: Ceilings } | null = null;
  let failure: DiagError | null = null;
  let ended: 'complete' | 'cancelled' = 'complete';
  const progress = new ProgressLine(io);
  try {
    await withClient(io, async (client) => {
      const probed = await client.probe(request.device === 'cpu' ? 'nvml' : 'driver', io.signal);
      facts = probed;
      const device = request.device === null ? defaultDevice(probed) : namedDevice(probed, request.device);
      const cases = [...request.cases(device)];
      io.err(
        `${cases.length} cases on ${shortName(device)} (${device.name})${device.kind === 'cpu' ? ', CPU reference device' : ''}\n`,
      );
      const result = await runKernels({
        client,
        params: { deviceId: device.id, cases, options: request.options },
        logger: cliLogger(io),
        signal: io.signal,
        onFacts: (fresh) => (facts = fresh),
        onPhase: ({ caseIndex, phase }) => {
          const current = caseIndex === null ? undefined : cases[caseIndex];
          progress.show(
            current === undefined
              ? phase
              : `${(caseIndex ?? 0) + 1}/${cases.length} ${describeCase(current)}: ${phase}`,
          );
        },
        onCeilings: (measured) => (ceilings = { deviceId: device.id, ceilings: measured }),
        onRow: (row, caseIndex) => {
          rows.push(row);
          progress.done(`${caseIndex + 1}/${cases.length} ${describeCase(row.case)}: ${row.result.status}`);
        },
        confirmBusy: async (busy) => {
          if (request.busyOk) return true;
          if (io.confirm === null) return false;
          progress.clear();
          return io.confirm(`${device.name} is in use by others: ${busy.summary}. Run all the same? [y/N] `);
        },
      });
      ended = result.ended;
    });
  } catch (error) {
    failure = DiagError.from(error);
    if (failure.code === 'cancelled') ended = 'cancelled';
  }
  progress.clear();
  if (!quiet && rows.length > 0) {
    const shown = request.shown === 'all' ? rows : rows.filter((row) => row.result.status !== 'ok');
    if (shown.length > 0) io.out(rowsText(shown, io));
    if (ceilings !== null) io.out(ceilingsText((ceilings as { ceilings: Ceilings }).ceilings));
    if (rows.some((row) => row.deviceId === 'cpu' && row.result.gpuMs !== null)) {
      io.out('Times of the CPU reference device; they say nothing about a GPU.\n');
    }
    io.out(`${tally(rows)}${largestError(rows)}${ended === 'cancelled' ? ' (cancelled)' : ''}\n`);
  }
  const early = failure === null ? null : { code: failure.code, text: errorText(failure).what };
  await deliverReport(io, request.target, request.redacted, {
    command: request.command,
    facts,
    rows,
    ceilings: ceilings === null ? [] : [ceilings],
    failure: early,
  });
  if (ended === 'cancelled') return EXIT.interrupted;
  if (failure !== null) throw failure;
  return exitCodeOf(rows);
}

function largestError(rows: readonly ResultRow[]): string {
  const errors = rows.flatMap((row) => (row.result.relError === null ? [] : [row.result.relError]));
  return errors.length === 0 ? '' : `; largest relative error ${formatRelError(Math.max(...errors))}`;
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
    const line = text.slice(0, Math.max(20, this.#io.columns - 1));
    this.#io.err(`\r${line}${' '.repeat(Math.max(0, this.#shown - line.length))}`);
    this.#shown = line.length;
  }

  done(text: string): void {
    if (this.#io.errIsTerminal) this.show(text);
    else this.#io.err(`${text}\n`);
  }

  clear(): void {
    if (this.#shown > 0) this.#io.err(`\r${' '.repeat(this.#shown)}\r`);
    this.#shown = 0;
  }
}
