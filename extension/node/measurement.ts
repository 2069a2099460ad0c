/** A run with everything it left behind, also when it failed half way: what a report of a run is made of. */
import type { CancelSignal } from '../core/async';
import type { AttentionCase, Ceilings, ResultRow } from '../core/attentionCase';
import { DiagError } from '../core/errors';
import { errorText } from '../core/errorText';
import type { DeviceFacts, SystemFacts } from '../core/facts';
import type { Logger } from '../core/logger';
import type { ReportParts } from '../core/report/report';
import type { RunOptions, RunProgress } from '../protocol/helperApi';
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
}

/** Who hears of it. */
export interface MeasurementPorts {
  readonly client: Pick<HelperClient, 'probe' | 'run'>;
  readonly logger: Logger;
  readonly signal: CancelSignal;
  readonly confirmBusy: (busy: BusyGpu) => Promise<boolean>;
  readonly onStart?: (device: DeviceFacts, cases: readonly AttentionCase[]) => void;
  readonly onPhase?: (phase: Extract<RunProgress, { kind: 'phase' }>, cases: readonly AttentionCase[]) => void;
  readonly onRow?: (row: ResultRow, caseIndex: number, cases: readonly AttentionCase[]) => void;
}

/** What came of it. */
export interface Measurement {
  readonly ended: 'complete' | 'cancelled';
  /** Why the run ended as a whole; finished rows stand all the same. */
  readonly failure: DiagError | null;
  readonly rows: readonly ResultRow[];
  readonly ceilings: Ceilings | null;
  /** `facts`, `rows`, `ceilings` and `failure` of the report. */
  readonly report: Pick<ReportParts, 'facts' | 'rows' | 'ceilings' | 'failure'>;
}

/** Runs the plan. Never rejects: the failure is part of the outcome. */
export async function runMeasurement(plan: MeasurementPlan, ports: MeasurementPorts): Promise<Measurement> {
  const { client, signal, logger } = ports;
  const rows: ResultRow[] = [];
  let facts: SystemFacts | null = null;
  const measured: { deviceId: string; ceilings: Ceilings }[] = [];
  let failure: DiagError | null = null;
  let ended: 'complete' | 'cancelled' = 'complete';
  try {
    const probed = await client.probe(plan.probeLevel, signal);
    facts = probed;
    const device = plan.device(probed);
    const cases = [...plan.cases(device)];
    ports.onStart?.(device, cases);
    const result = await runKernels({
      client,
      params: { deviceId: device.id, cases, options: plan.options },
      logger,
      signal,
      onFacts: (fresh) => (facts = fresh),
      onPhase: (phase) => ports.onPhase?.(phase, cases),
      onCeilings: (ceilings) => measured.splice(0, 1, { deviceId: device.id, ceilings }),
      onRow: (row, caseIndex) => {
        rows.push(row);
        ports.onRow?.(row, caseIndex, cases);
      },
      confirmBusy: ports.confirmBusy,
    });
    ended = result.ended;
  } catch (error) {
    failure = DiagError.from(error);
    if (failure.code === 'cancelled') ended = 'cancelled';
  }
  const early = failure === null ? null : { code: failure.code, text: errorText(failure).what };
  return {
    ended,
    failure,
    rows,
    ceilings: measured[0]?.ceilings ?? null,
    report: { facts, rows, ceilings: measured, failure: early },
  };
}
