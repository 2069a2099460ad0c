/** State → what is shown about the devices and the SM family that is asked about. */
import { askedCapability, currentDevice, type AppState } from '../state/appState';
import { smFamily, type DeviceFacts, type SystemFacts } from '../facts';
import { formatBytes, formatDriverApiVersion, formatPercent } from '../format';
import { known } from '../state/store';

/** One line of the device list. */
export interface DeviceOption {
  readonly id: string;
  readonly label: string;
}

/** A named figure. */
export interface LabelledValue {
  readonly label: string;
  readonly value: string;
}

/** The SM family on the badge: `SM90`, `Hopper`. */
export interface FamilyBadge {
  readonly label: string;
  readonly architecture: string;
  readonly capability: readonly [number, number];
}

/** The device part of the panel. */
export interface DeviceSection {
  readonly status: 'notProbed' | 'probing' | 'ready' | 'failed';
  /** The facts are from an earlier session. */
  readonly stale: boolean;
  readonly options: readonly DeviceOption[];
  readonly selectedId: string | null;
  readonly selectedKind: 'gpu' | 'cpu' | null;
  /** Family of the selected device; `null` for the CPU or before a probe. */
  readonly badge: FamilyBadge | null;
  readonly details: readonly LabelledValue[];
  /** Plain sentences about what is missing and the next step; empty when all is well. */
  readonly sentences: readonly string[];
  /** Every attempt to open a driver library, for the "why" disclosure when there is no GPU. */
  readonly attempts: readonly string[];
}

/** The family part: what the rules are asked about. */
export interface FamilySection {
  readonly asked: FamilyBadge | null;
  readonly whatIf: boolean;
  readonly options: readonly FamilyBadge[];
}

/** Capabilities offered as a what-if; every family vLLM's rules tell apart has at least one. */
const WHAT_IF_CAPABILITIES: readonly (readonly [number, number])[] = [
  [7, 5],
  [8, 0],
  [8, 6],
  [8, 9],
  [9, 0],
  [10, 0],
  [10, 3],
  [12, 0],
  [12, 1],
];

/** The device part of the panel. */
export function deviceSection(state: AppState): DeviceSection {
  const facts = known(state.facts);
  const device = currentDevice(state);
  return {
    status: facts === null && state.facts.status === 'idle' ? 'notProbed' : probeStatus(state),
    stale: state.facts.status === 'ready' && state.facts.stale,
    options: (facts?.devices ?? []).map((each) => ({ id: each.id, label: deviceLabel(each) })),
    selectedId: device?.id ?? null,
    selectedKind: device?.kind ?? null,
    badge: device?.computeCapability ? smFamily(device.computeCapability) : null,
    details: device === null || facts === null ? [] : deviceDetails(device, facts),
    sentences: deviceSentences(state, facts),
    attempts: (facts?.loadAttempts ?? []).map((attempt) =>
      attempt.ok ? `${attempt.path}: loaded` : `${attempt.path}: ${attempt.error ?? 'not loaded'}`,
    ),
  };
}

/** The family part of the panel. */
export function familySection(state: AppState): FamilySection {
  const capability = askedCapability(state);
  const offered = WHAT_IF_CAPABILITIES.some((each) => capability !== null && sameCapability(each, capability))
    ? WHAT_IF_CAPABILITIES
    : [...WHAT_IF_CAPABILITIES, ...(capability === null ? [] : [capability])];
  return {
    asked: capability === null ? null : smFamily(capability),
    whatIf: state.whatIfCapability !== null,
    options: offered.map((each) => smFamily(each)),
  };
}

/** `0: NVIDIA H200 · SM90`, or `CPU reference device (AMD EPYC, 16 threads)`. */
export function deviceLabel(device: DeviceFacts): string {
  if (device.kind === 'cpu') {
    const threads = device.cpuThreads === null ? '' : `, ${device.cpuThreads} threads`;
    return `CPU reference device (${device.name}${threads})`;
  }
  const index = device.cudaIndex ?? device.nvmlIndex;
  const family = device.computeCapability === null ? 'SM unknown' : smFamily(device.computeCapability).label;
  return `${index === null ? '' : `${index}: `}${device.name} · ${family}`;
}

/** Same two numbers. */
export function sameCapability(a: readonly [number, number], b: readonly [number, number]): boolean {
  return a[0] === b[0] && a[1] === b[1];
}

function probeStatus(state: AppState): DeviceSection['status'] {
  switch (state.facts.status) {
    case 'idle':
      return 'notProbed';
    case 'loading':
      return 'probing';
    case 'ready':
      return 'ready';
    case 'failed':
      return 'failed';
  }
}

function deviceSentences(state: AppState, facts: SystemFacts | null): readonly string[] {
  const sentences: string[] = [];
  if (state.facts.status === 'failed') sentences.push(state.facts.failure.what, state.facts.failure.next);
  if (facts === null) return sentences;
  if (!facts.devices.some((device) => device.kind === 'gpu')) {
    // A report's machine is not this installation's.
    const blocked = state.report === null ? state.capabilities.measureBlocked : null;
    sentences.push(...(blocked === null ? noGpuSentences(facts) : [blocked]));
  } else if (
    facts.devices.every((device) => device.kind === 'cpu' || device.cudaIndex === null) &&
    facts.level === 'driver'
  ) {
    sentences.push(
      `CUDA_VISIBLE_DEVICES=${facts.cudaVisibleDevices ?? ''} hides every GPU from CUDA. Change it before VS Code starts to run kernels on one.`,
    );
  }
  const device = currentDevice(state);
  if (device?.migEnabled === true && !device.id.startsWith('MIG-')) {
    sentences.push(
      'MIG is enabled on this GPU: kernels run on its instances. Choose a device whose id starts with MIG-.',
    );
  }
  if (device?.computeMode === 'prohibited') {
    sentences.push(
      'This GPU is in compute mode "prohibited". An administrator can allow runs with: nvidia-smi -c DEFAULT.',
    );
  }
  if (device?.computeMode === 'exclusiveProcess') {
    sentences.push('This GPU is in exclusive-process mode: a run only starts while no other process holds it.');
  }
  return sentences;
}

/** Why there is no GPU: no driver library, a library that refuses, or simply none installed. */
function noGpuSentences(facts: SystemFacts): readonly string[] {
  const refusal = facts.driverErrors[0];
  const loaded = facts.loadAttempts.some((attempt) => attempt.ok);
  const why =
    refusal !== undefined
      ? `No GPU was found: ${refusal.call} answered ${refusal.name} (${refusal.code}).`
      : loaded
        ? 'No GPU was found: the driver is installed but reports no device.'
        : 'No GPU was found: no NVIDIA driver library could be opened.';
  return [why, 'Kernels run on the CPU reference device: same cases, exact numerics, times labelled as CPU.'];
}

function deviceDetails(device: DeviceFacts, facts: SystemFacts): readonly LabelledValue[] {
  const rows: (LabelledValue | null)[] =
    device.kind === 'cpu'
      ? [
          value('Threads', device.cpuThreads),
          device.memoryFreeBytes === null ? null : { label: 'Free memory', value: formatBytes(device.memoryFreeBytes) },
        ]
      : [
          device.memoryTotalBytes === null
            ? null
            : {
                label: 'Memory free',
                value: `${formatBytes(device.memoryFreeBytes)} of ${formatBytes(device.memoryTotalBytes)}`,
              },
          value('SMs', device.smCount),
          device.sharedMemoryPerBlockOptinBytes === null
            ? null
            : { label: 'Shared memory per block', value: formatBytes(device.sharedMemoryPerBlockOptinBytes) },
          device.l2Bytes === null ? null : { label: 'L2', value: formatBytes(device.l2Bytes) },
          device.smClockMHz === null
            ? null
            : {
                label: 'SM clock',
                value:
                  device.smClockMaxMHz === null
                    ? `${device.smClockMHz} MHz`
                    : `${device.smClockMHz} of ${device.smClockMaxMHz} MHz`,
              },
          device.utilizationPercent === null
            ? null
            : { label: 'Utilisation', value: formatPercent(device.utilizationPercent) },
          device.processes === null ? null : { label: 'Other processes', value: String(device.processes.length) },
          facts.driverVersion === null ? null : { label: 'Driver', value: facts.driverVersion },
          facts.cudaDriverApiVersion === null
            ? null
            : { label: 'CUDA driver API', value: formatDriverApiVersion(facts.cudaDriverApiVersion) },
          facts.kernelBuild === null
            ? null
            : {
                label: 'Kernels need CUDA',
                value: `${formatDriverApiVersion(facts.kernelBuild.minDriverApiVersion)} or newer`,
              },
        ];
  return rows.filter((row): row is LabelledValue => row !== null);
}

function value(label: string, figure: number | null): LabelledValue | null {
  return figure === null ? null : { label, value: String(figure) };
}
