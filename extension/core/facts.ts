/**
 * Facts: everything the collectors can know, as plain data with provenance. No judgement here.
 *
 * Schemas exist for what crosses a process or file boundary (helper → host, report file → host).
 */
import * as v from 'valibot';

/** One attempt to open a driver library and how it ended; kept so that "no GPU" can be explained. */
export const loadAttemptSchema = v.object({
  /** `cuda` (libcuda) or `nvml`. */
  library: v.picklist(['cuda', 'nvml']),
  path: v.string(),
  ok: v.boolean(),
  /** The loader's own words when `ok` is false. */
  error: v.nullable(v.string()),
});
export type LoadAttempt = v.InferOutput<typeof loadAttemptSchema>;

/** Another process on the GPU, as NVML tells it. In a container the pid belongs to the host. */
export const gpuProcessSchema = v.object({
  pid: v.number(),
  kind: v.picklist(['compute', 'graphics']),
  usedMemoryBytes: v.nullable(v.number()),
});
export type GpuProcess = v.InferOutput<typeof gpuProcessSchema>;

/** What is known of one device. `null` = not established (no driver API at the level asked, or not permitted). */
export const deviceFactsSchema = v.object({
  /** Stable id used in requests and rows: the GPU's UUID (`GPU-…`, `MIG-…`), or `cpu`. */
  id: v.string(),
  kind: v.picklist(['gpu', 'cpu']),
  name: v.string(),
  /** [major, minor]; `null` for the CPU device. */
  computeCapability: v.nullable(v.tuple([v.number(), v.number()])),
  smCount: v.nullable(v.number()),
  memoryTotalBytes: v.nullable(v.number()),
  memoryFreeBytes: v.nullable(v.number()),
  /** Shared memory one block may opt in to. */
  sharedMemoryPerBlockOptinBytes: v.nullable(v.number()),
  l2Bytes: v.nullable(v.number()),
  smClockMHz: v.nullable(v.number()),
  smClockMaxMHz: v.nullable(v.number()),
  memoryClockMHz: v.nullable(v.number()),
  pciBusId: v.nullable(v.string()),
  uuid: v.nullable(v.string()),
  migEnabled: v.nullable(v.boolean()),
  computeMode: v.nullable(v.picklist(['default', 'exclusiveProcess', 'prohibited', 'exclusiveThread'])),
  /** Index the CUDA runtime of a child process would use under the present CUDA_VISIBLE_DEVICES; `null` = hidden. */
  cudaIndex: v.nullable(v.number()),
  nvmlIndex: v.nullable(v.number()),
  /** SM utilisation over the driver's last sample period, percent. */
  utilizationPercent: v.nullable(v.number()),
  processes: v.nullable(v.array(gpuProcessSchema)),
  /** CPU device only: hardware threads it will use. */
  cpuThreads: v.nullable(v.number()),
});
export type DeviceFacts = v.InferOutput<typeof deviceFactsSchema>;

/** How far a probe went: `nvml` starts no CUDA at all, `driver` calls cuInit but creates no context. */
export const probeLevelSchema = v.picklist(['nvml', 'driver']);
export type ProbeLevel = v.InferOutput<typeof probeLevelSchema>;

/** The kernel build the addon will use: what was compiled, by what, and what it needs. */
export const kernelBuildSchema = v.object({
  /** SHA-256 over kernel sources, the kernel table, flags and compiler version. */
  hash: v.string(),
  compiler: v.string(),
  flags: v.array(v.string()),
  /** Oldest driver API version that loads the SASS images, as cuDriverGetVersion counts (12080 = 12.8). */
  minDriverApiVersion: v.number(),
  targets: v.array(v.string()),
});
export type KernelBuild = v.InferOutput<typeof kernelBuildSchema>;

/** Answer of a probe. */
export const systemFactsSchema = v.object({
  level: probeLevelSchema,
  /** Milliseconds since the epoch. */
  takenAtMs: v.number(),
  /** `580.159.03`; `null` without NVML. */
  driverVersion: v.nullable(v.string()),
  /** cuDriverGetVersion, e.g. 13000; `null` without libcuda. */
  cudaDriverApiVersion: v.nullable(v.number()),
  cudaVisibleDevices: v.nullable(v.string()),
  loadAttempts: v.array(loadAttemptSchema),
  /** Status name and text when a driver library loaded but refused (`CUDA_ERROR_NO_DEVICE` …). */
  driverErrors: v.array(v.object({ call: v.string(), code: v.number(), name: v.string(), text: v.string() })),
  /** GPUs first, in CUDA order then NVML order, then always exactly one CPU device. */
  devices: v.array(deviceFactsSchema),
  /** `null` when no kernels were built or shipped. */
  kernelBuild: v.nullable(kernelBuildSchema),
});
export type SystemFacts = v.InferOutput<typeof systemFactsSchema>;

/** SM family of a compute capability, with NVIDIA's architecture name. */
export interface SmFamily {
  /** `SM90`, the field's name for the capability. */
  readonly label: string;
  /** `Hopper`. */
  readonly architecture: string;
  readonly capability: readonly [number, number];
}

/** Capabilities NVIDIA has released that CUDA attention libraries name; source: CUDA C++ Programming Guide, compute capabilities. */
const ARCHITECTURES: ReadonlyArray<{
  readonly match: (major: number, minor: number) => boolean;
  readonly name: string;
}> = [
  { match: (major, minor) => major === 7 && minor >= 5, name: 'Turing' },
  { match: (major) => major === 7, name: 'Volta' },
  { match: (major, minor) => major === 8 && minor === 9, name: 'Ada Lovelace' },
  { match: (major) => major === 8, name: 'Ampere' },
  { match: (major) => major === 9, name: 'Hopper' },
  { match: (major) => major === 10 || major === 11 || major === 12, name: 'Blackwell' },
];

/** The SM family of a capability. An unlisted one keeps its number and says `unknown architecture`. */
export function smFamily(capability: readonly [number, number]): SmFamily {
  const [major, minor] = capability;
  const known = ARCHITECTURES.find((row) => row.match(major, minor));
  return { label: `SM${major}${minor}`, architecture: known?.name ?? 'unknown architecture', capability };
}
