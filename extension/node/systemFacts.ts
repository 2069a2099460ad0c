/** Facts that need no addon: what Linux itself tells about the driver, and the CPU of this machine. */
import { readFile } from 'node:fs/promises';
import os from 'node:os';
import type { DeviceFacts, ProbeLevel, SystemFacts } from '../core/facts';

const DRIVER_VERSION_FILE = '/proc/driver/nvidia/version';

/** The CPU reference device as Node sees it. */
export function cpuDeviceFacts(): DeviceFacts {
  const threads = os.availableParallelism();
  return {
    id: 'cpu',
    kind: 'cpu',
    name: os.cpus()[0]?.model.trim() ?? `${os.arch()} CPU`,
    computeCapability: null,
    smCount: null,
    memoryTotalBytes: os.totalmem(),
    memoryFreeBytes: os.freemem(),
    sharedMemoryPerBlockOptinBytes: null,
    l2Bytes: null,
    smClockMHz: null,
    smClockMaxMHz: null,
    memoryClockMHz: null,
    pciBusId: null,
    uuid: null,
    migEnabled: null,
    computeMode: null,
    cudaIndex: null,
    nvmlIndex: null,
    utilizationPercent: null,
    processes: null,
    cpuThreads: threads,
  };
}

/** The version in the kernel module's own file, e.g. `580.159.03`; `null` without it. */
export function parseDriverVersion(text: string): string | null {
  return /Kernel Module(?: for \S+)?\s+(\d+\.\d+(?:\.\d+)?)/.exec(text)?.[1] ?? null;
}

/**
 * What can be said without the addon: the driver's version if its kernel module is loaded, and the CPU.
 * GPUs are not listed, because nothing here can identify them.
 */
export async function staticSystemFacts(level: ProbeLevel, env: NodeJS.ProcessEnv): Promise<SystemFacts> {
  const versionText = await readFile(DRIVER_VERSION_FILE, 'utf8').catch(() => '');
  return {
    level,
    takenAtMs: Date.now(),
    driverVersion: parseDriverVersion(versionText),
    cudaDriverApiVersion: null,
    cudaVisibleDevices: env['CUDA_VISIBLE_DEVICES'] ?? null,
    loadAttempts: [],
    driverErrors: [],
    devices: [cpuDeviceFacts()],
    kernelBuild: null,
  };
}
