/** Facts of a made-up machine with one Hopper GPU, to be changed by tests. */
import type { DeviceFacts, SystemFacts } from '../../../extension/core/facts';
import { cpuDeviceFacts } from '../../../extension/node/systemFacts';

const GIB = 1024 ** 3;

export const GPU_ID = 'GPU-0a1b2c3d-1111-2222-3333-444455556666';

export function sampleGpu(changes: Partial<DeviceFacts> = {}): DeviceFacts {
  return {
    id: GPU_ID,
    kind: 'gpu',
    name: 'NVIDIA H200',
    computeCapability: [9, 0],
    smCount: 132,
    memoryTotalBytes: 140 * GIB,
    memoryFreeBytes: 139 * GIB,
    sharedMemoryPerBlockOptinBytes: 232_448,
    l2Bytes: 60 * 1024 * 1024,
    smClockMHz: 1980,
    smClockMaxMHz: 1980,
    memoryClockMHz: 3201,
    pciBusId: '0000:3B:00.0',
    uuid: GPU_ID,
    migEnabled: false,
    computeMode: 'default',
    cudaIndex: 0,
    nvmlIndex: 2,
    utilizationPercent: 0,
    processes: [],
    cpuThreads: null,
    ...changes,
  };
}

export function sampleFacts(gpu: DeviceFacts | null, changes: Partial<SystemFacts> = {}): SystemFacts {
  return {
    level: 'driver',
    takenAtMs: 1_700_000_000_000,
    driverVersion: '580.159.03',
    cudaDriverApiVersion: 13_000,
    cudaVisibleDevices: null,
    loadAttempts: [],
    driverErrors: [],
    devices: [...(gpu === null ? [] : [gpu]), cpuDeviceFacts()],
    kernelBuild: {
      hash: 'ab'.repeat(32),
      compiler: 'nvrtc 12.8.93',
      flags: ['-O3'],
      minDriverApiVersion: 12_080,
      targets: ['sm_80', 'sm_90'],
    },
    ...changes,
  };
}
