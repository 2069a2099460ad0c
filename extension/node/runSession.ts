/**
 * A run from question to rows: looks at the GPU first, asks when it is in use, takes the lock, and turns the helper's
 * messages into result rows. Used by the editor and the command line alike.
 */
import { onCancel, sleep, type CancelSignal, type Clock } from '../core/async';
import type { Ceilings, ResultRow } from '../core/attentionCase';
import { DiagError } from '../core/errors';
import { BUNDLED_ENGINE } from '../core/measure/engines';
import type { DeviceFacts, SystemFacts } from '../core/facts';
import { formatBytes, formatPercent } from '../core/format';
import type { Logger } from '../core/logger';
import type { RunParams, RunProgress } from '../protocol/helperApi';
import type { HelperClient } from './helperClient';
import { acquireRunLock } from './runLock';
import { systemClock } from './systemClock';

/** Above this a GPU counts as in use even when no process may be seen (containers hide them). */
const BUSY_UTILIZATION_PERCENT = 10;

/** Less free than this share of the memory means that somebody keeps something there. */
const BUSY_FREE_SHARE = 0.7;

/**
 * Utilisation is a mean over the driver's last sample period, up to a second, and freed memory shows with a delay: right
 * after a run of ours both still speak of us. Asked again after this.
 */
const SETTLE_MS = 1200;

/** What somebody else does on a GPU, in one sentence part. */
export interface BusyGpu {
  readonly device: DeviceFacts;
  /** `2 other processes (38.1 GiB), 87 % utilisation, 12.0 GiB of 139.8 GiB free`. */
  readonly summary: string;
}

export interface RunSessionOptions {
  readonly client: Pick<HelperClient, 'probe' | 'run'>;
  readonly params: RunParams;
  readonly logger: Logger;
  /** Called with facts taken just before the run. */
  readonly onFacts?: (facts: SystemFacts) => void;
  readonly onRow: (row: ResultRow, caseIndex: number) => void;
  readonly onCeilings?: (ceilings: Ceilings) => void;
  readonly onPhase?: (phase: Extract<RunProgress, { kind: 'phase' }>) => void;
  readonly onCancelAck?: () => void;
  /** Asked when others use the GPU; `false` ends with `deviceBusy`. */
  readonly confirmBusy: (busy: BusyGpu) => Promise<boolean>;
  readonly signal?: CancelSignal;
  readonly clock?: Clock;
  /** Folder of the lock files; the temporary folder unless a test says otherwise. */
  readonly lockFolder?: string;
}

export interface RunSessionResult {
  /** Facts taken just before the run. */
  readonly facts: SystemFacts;
  /** In the order of the cases. */
  readonly rows: readonly ResultRow[];
  readonly ceilings: Ceilings | null;
  readonly ended: 'complete' | 'cancelled';
}

/**
 * Runs bundled kernels on one device.
 * Rejects with a reason that concerns the run as a whole (`deviceNotFound`, `deviceHidden`, `deviceBusy`,
 * `deviceExclusive`, `deviceProhibited`, `deviceIsMigParent`, `driverTooOld`, `kernelsMissing`, `runLocked`, `cancelled`
 * before it began, and the client's); rows reported until then stand.
 */
export function runKernels(options: RunSessionOptions): Promise<RunSessionResult> {
  return holdDevice(options, ({ facts }) => run(options, facts));
}

/** A device that is ours for the time of a run. */
export interface HeldDevice {
  /** Taken just before. */
  readonly facts: SystemFacts;
  readonly device: DeviceFacts;
  /** Others use it, and the user said to go on all the same. */
  readonly busy: boolean;
}

/**
 * Looks at the device, asks when others use it, takes the lock, and gives it back when `use` is done. Rejects as
 * `runKernels` does.
 */
export async function holdDevice<T>(
  options: Omit<RunSessionOptions, 'onRow'>,
  use: (held: HeldDevice) => Promise<T>,
): Promise<T> {
  const { params, signal } = options;
  const facts = await probe(options);
  const device = findDevice(facts, params.deviceId);
  let giveBack = (): Promise<void> => Promise.resolve();
  if (device.kind === 'gpu') {
    refuseUnusable(facts, device);
    giveBack = await acquireRunLock(device.uuid ?? device.id, options.logger, options.lockFolder);
  }
  try {
    const busy = await settledBusyGpu(options, device);
    if (busy !== null && !(await confirmed(options.confirmBusy(busy), signal))) {
      if (signal?.aborted === true) throw new DiagError('cancelled', {});
      throw new DiagError('deviceBusy', { deviceId: device.id, summary: busy.summary });
    }
    return await use({ facts, device, busy: busy !== null });
  } finally {
    await giveBack();
  }
}

async function probe({ client, params, signal, onFacts }: Omit<RunSessionOptions, 'onRow'>): Promise<SystemFacts> {
  const facts = await client.probe(params.deviceId === 'cpu' ? 'nvml' : 'driver', signal);
  onFacts?.(facts);
  return facts;
}

/** What others do on the GPU, looked at twice: a process that has just ended is listed for a moment, too. */
async function settledBusyGpu(options: Omit<RunSessionOptions, 'onRow'>, device: DeviceFacts): Promise<BusyGpu | null> {
  if (busyGpu(device) === null) return null;
  if (!(await sleep(options.clock ?? systemClock, SETTLE_MS, options.signal))) throw new DiagError('cancelled', {});
  return busyGpu(findDevice(await probe(options), device.id));
}

async function run(options: RunSessionOptions, facts: SystemFacts): Promise<RunSessionResult> {
  const { client, params } = options;
  const rows = new Map<number, ResultRow>();
  let ceilings: Ceilings | null = null;
  const { ended } = await client.run(params, {
    signal: options.signal,
    ...(options.onCancelAck === undefined ? {} : { onCancelAck: options.onCancelAck }),
    onProgress: (progress) => {
      switch (progress.kind) {
        case 'phase':
          options.onPhase?.(progress);
          return;
        case 'ceilings':
          ceilings = progress.ceilings;
          options.onCeilings?.(progress.ceilings);
          return;
        case 'row': {
          const attentionCase = params.cases[progress.caseIndex];
          if (attentionCase === undefined) return;
          const row: ResultRow = {
            engine: BUNDLED_ENGINE,
            deviceId: params.deviceId,
            case: attentionCase,
            result: progress.result,
          };
          rows.set(progress.caseIndex, row);
          options.onRow(row, progress.caseIndex);
          return;
        }
      }
    },
  });
  const inOrder = [...rows].sort(([a], [b]) => a - b).map(([, row]) => row);
  return { facts, rows: inOrder, ceilings, ended };
}

/** The device of this id. Throws `deviceNotFound` naming what there is. */
export function findDevice(facts: SystemFacts, deviceId: string): DeviceFacts {
  const device = facts.devices.find((each) => each.id === deviceId);
  if (device === undefined) {
    throw new DiagError('deviceNotFound', { asked: deviceId, present: facts.devices.map((each) => each.id) });
  }
  return device;
}

/** Throws the reason why this GPU cannot run the kernels at all, if there is one. */
function refuseUnusable(facts: SystemFacts, device: DeviceFacts): void {
  const deviceId = device.id;
  if (facts.kernelBuild === null) throw new DiagError('kernelsMissing', {});
  const installed = facts.cudaDriverApiVersion;
  const needed = facts.kernelBuild.minDriverApiVersion;
  if (installed !== null && installed < needed) {
    throw new DiagError('driverTooOld', { installed, needed, driverVersion: facts.driverVersion });
  }
  if (device.computeMode === 'prohibited') throw new DiagError('deviceProhibited', { deviceId });
  if (device.computeMode === 'exclusiveProcess' || device.computeMode === 'exclusiveThread') {
    const holders = computeProcesses(device);
    if (holders.length > 0) throw new DiagError('deviceExclusive', { deviceId, pids: holders.map(({ pid }) => pid) });
  }
  if (device.migEnabled === true && !deviceId.startsWith('MIG-'))
    throw new DiagError('deviceIsMigParent', { deviceId });
  if (device.cudaIndex === null && installed !== null) {
    throw new DiagError('deviceHidden', { deviceId, cudaVisibleDevices: facts.cudaVisibleDevices });
  }
}

/** Compute processes on the GPU other than this one. */
export function computeProcesses(device: DeviceFacts): NonNullable<DeviceFacts['processes']> {
  return (device.processes ?? []).filter((each) => each.kind === 'compute' && each.pid !== process.pid);
}

/** What others do on this GPU; `null` when nothing was seen. */
export function busyGpu(device: DeviceFacts): BusyGpu | null {
  if (device.kind !== 'gpu') return null;
  const others = computeProcesses(device);
  const utilization = device.utilizationPercent ?? 0;
  const { memoryFreeBytes: free, memoryTotalBytes: total } = device;
  const littleFree = free !== null && total !== null && free < BUSY_FREE_SHARE * total;
  if (others.length === 0 && utilization < BUSY_UTILIZATION_PERCENT && !littleFree) return null;
  const used = others.reduce<number | null>(
    (sum, each) => (sum === null || each.usedMemoryBytes === null ? null : sum + each.usedMemoryBytes),
    0,
  );
  const parts = [
    ...(others.length === 0
      ? []
      : [
          `${others.length} other ${others.length === 1 ? 'process' : 'processes'}${used === null ? '' : ` (${formatBytes(used)})`}`,
        ]),
    ...(device.utilizationPercent === null ? [] : [`${formatPercent(device.utilizationPercent)} utilisation`]),
    ...(free === null || total === null ? [] : [`${formatBytes(free)} of ${formatBytes(total)} free`]),
  ];
  return { device, summary: parts.join(', ') };
}

/** The answer, or `false` when the run is cancelled while the question is open. */
function confirmed(answer: Promise<boolean>, signal: CancelSignal | undefined): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const stopListening = onCancel(signal, () => resolve(false));
    answer.then(resolve, reject).finally(stopListening);
  });
}
