/** A run with everything it left behind, also when it failed half way: what a report of a run is made of. */
import type { CancelSignal } from '../core/async';
import type { AttentionCase, Ceilings, ResultRow } from '../core/attentionCase';
import { DiagError } from '../core/errors';
import { errorText } from '../core/errorText';
import type { DeviceFacts, SystemFacts } from '../core/facts';
import type { Logger } from '../core/logger';
import type { RunOptions, RunProgress } from '../protocol/helperApi';
import { besideEachOther, type RoundRatio } from '../core/measure/rounds';
import type { LibraryState, ReportParts } from '../core/report/report';
import { runBackends, type BackendPlan, type BackendProgress } from './backendRunner';
import type { HelperClient } from './helperClient';
import { runKernels, type BusyGpu } from './runSession';

/** What is to be measured. */
export interface MeasurementPlan {
  /** How far to look for the device; `nvml` starts no CUDA. */
  readonly probeLevel: 'nvml' | 'driver';
  /** Throws `deviceNotFound`. */
  readonly device: (facts: SystemFacts) => DeviceFacts;
  /** The cases for this device: presets are smaller on the CPU. May throw to refuse the run before it starts. */
  readonly cases: (device: DeviceFacts) => readonly AttentionCase[];
  readonly options: RunOptions;
  /** Installed libraries to measure beside the bundled kernels; absent = none. */
  readonly backends?: BackendPlan;
}

/** Who hears of it. */
export interface MeasurementPorts {
  readonly client: Pick<HelperClient, 'probe' | 'run'>;
  readonly logger: Logger;
  readonly signal: CancelSignal;
  readonly confirmBusy: (busy: BusyGpu) => Promise<boolean>;
  readonly onStart?: (device: DeviceFacts, cases: readonly AttentionCase[]) => void;
  readonly onPhase?: (phase: Extract<RunProgress, { kind: 'phase' }>, cases: readonly AttentionCase[]) => void;
  /** Instead of `onPhase` when libraries are measured too. */
  readonly onBackend?: (progress: BackendProgress, cases: readonly AttentionCase[]) => void;
  readonly onLibraries?: (libraries: readonly LibraryState[]) => void;
  readonly onRow?: (row: ResultRow, caseIndex: number, cases: readonly AttentionCase[]) => void;
}

/** What came of it. */
export interface Measurement {
  readonly ended: 'complete' | 'cancelled';
  /** Why the run ended as a whole; finished rows stand all the same. */
  readonly failure: DiagError | null;
  readonly rows: readonly ResultRow[];
  readonly ceilings: Ceilings | null;
  /** Libraries that were asked for, with why one is not there. */
  readonly libraries: readonly LibraryState[];
  /** Engines beside the bundled kernels, when they took turns. */
  readonly ratios: readonly RoundRatio[];
  /** What the report of it is made of. */
  readonly report: Pick<ReportParts, 'facts' | 'rows' | 'libraries' | 'ratios' | 'ceilings' | 'failure'>;
}

/** Runs the plan. Never rejects: the failure is part of the outcome. */
export async function runMeasurement(plan: MeasurementPlan, ports: MeasurementPorts): Promise<Measurement> {
  const { client, signal, logger } = ports;
  const rows: ResultRow[] = [];
  let facts: SystemFacts | null = null;
  const measured: { deviceId: string; ceilings: Ceilings }[] = [];
  let failure: DiagError | null = null;
  let ended: 'complete' | 'cancelled' = 'complete';
  let libraries: readonly LibraryState[] = [];
  let ratios: readonly RoundRatio[] = [];
  try {
    const probed = await client.probe(plan.probeLevel, signal);
    facts = probed;
    const device = plan.device(probed);
    const cases = [...plan.cases(device)];
    ports.onStart?.(device, cases);
    const common = {
      client,
      params: { deviceId: device.id, cases, options: plan.options },
      logger,
      signal,
      onFacts: (fresh: SystemFacts) => (facts = fresh),
      onCeilings: (ceilings: Ceilings) => measured.splice(0, 1, { deviceId: device.id, ceilings }),
      onRow: (row: ResultRow, caseIndex: number) => {
        rows.push(row);
        ports.onRow?.(row, caseIndex, cases);
      },
      confirmBusy: ports.confirmBusy,
    };
    if (plan.backends === undefined) {
      const result = await runKernels({ ...common, onPhase: (phase) => ports.onPhase?.(phase, cases) });
      ended = result.ended;
    } else {
      const result = await runBackends({
        ...common,
        plan: plan.backends,
        onProgress: (progress) => ports.onBackend?.(progress, cases),
        onLibraries: (found) => {
          libraries = found;
          ports.onLibraries?.(found);
        },
      });
      ended = result.ended;
      ratios = result.ratios;
    }
  } catch (error) {
    failure = DiagError.from(error);
    if (failure.code === 'cancelled') ended = 'cancelled';
  }
  const early = failure === null ? null : { code: failure.code, text: errorText(failure).what };
  const inOrder = libraries.length === 0 ? rows : besideEachOther(rows);
  return {
    ended,
    failure,
    rows: inOrder,
    ceilings: measured[0]?.ceilings ?? null,
    libraries,
    ratios,
    report: { facts, rows: inOrder, libraries, ratios, ceilings: measured, failure: early },
  };
}
