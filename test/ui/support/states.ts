/** States that the panel must show well, built from real parts: the rules answer for them, nothing of the matrix is made up here. */
import gemma4 from '../../fixtures/models/gemma-4-31b.json' with { type: 'json' };
import { initialState, openedReport, type AppState } from '../../../extension/core/state/appState';
import type { AttentionCase, CaseResult, ResultRow } from '../../../extension/core/attentionCase';
import { expandForm } from '../../../extension/core/measure/caseGrid';
import { deriveAnswer } from '../../../extension/core/state/derive';
import { loadModel, loadServeFile } from '../../../extension/core/state/loadedFiles';
import { whatIfAnswer, whatIfInputs } from '../../../extension/core/state/whatIf';
import { emptyResult } from '../../../extension/core/measure/emptyResult';
import type { DeviceFacts, SystemFacts } from '../../../extension/core/facts';
import type { RequestForm } from '../../../extension/core/measure/requestForm';
import { IDLE, ready } from '../../../extension/core/state/store';

const GPU_ID = 'GPU-5f2e0000-1111-2222-3333-444455556666';

const UNKNOWN_DEVICE: DeviceFacts = {
  id: '',
  kind: 'gpu',
  name: '',
  computeCapability: null,
  smCount: null,
  memoryTotalBytes: null,
  memoryFreeBytes: null,
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
  cpuThreads: null,
};

/** An H200 as a driver probe describes one. */
export const H200: DeviceFacts = {
  ...UNKNOWN_DEVICE,
  id: GPU_ID,
  name: 'NVIDIA H200',
  computeCapability: [9, 0],
  smCount: 132,
  memoryTotalBytes: 150_754_820_096,
  memoryFreeBytes: 149_900_000_000,
  sharedMemoryPerBlockOptinBytes: 232_448,
  l2Bytes: 62_914_560,
  smClockMHz: 345,
  smClockMaxMHz: 1980,
  memoryClockMHz: 3201,
  pciBusId: '0000:3b:00.0',
  uuid: GPU_ID,
  migEnabled: false,
  computeMode: 'default',
  cudaIndex: 0,
  nvmlIndex: 0,
  utilizationPercent: 0,
  processes: [],
};

/** The device that is always there. */
export const CPU: DeviceFacts = {
  ...UNKNOWN_DEVICE,
  id: 'cpu',
  kind: 'cpu',
  name: 'AMD EPYC 9555',
  memoryFreeBytes: 23_622_320_128,
  cpuThreads: 16,
};

/** Facts with these devices. */
export function factsOf(devices: readonly DeviceFacts[]): SystemFacts {
  const hasGpu = devices.some((device) => device.kind === 'gpu');
  return {
    level: 'driver',
    takenAtMs: 1_795_000_000_000,
    driverVersion: hasGpu ? '580.95.05' : null,
    cudaDriverApiVersion: hasGpu ? 13_000 : null,
    cudaVisibleDevices: null,
    loadAttempts: hasGpu
      ? [{ library: 'cuda', path: 'libcuda.so.1', ok: true, error: null }]
      : [
          {
            library: 'cuda',
            path: 'libcuda.so.1',
            ok: false,
            error: 'libcuda.so.1: cannot open shared object file: No such file or directory',
          },
          {
            library: 'nvml',
            path: 'libnvidia-ml.so.1',
            ok: false,
            error: 'libnvidia-ml.so.1: cannot open shared object file: No such file or directory',
          },
        ],
    driverErrors: [],
    devices: [...devices],
    kernelBuild: hasGpu
      ? {
          hash: 'a'.repeat(64),
          compiler: 'nvrtc 12.8',
          flags: [],
          minDriverApiVersion: 12_080,
          targets: ['sm_80', 'sm_90'],
        }
      : null,
  };
}

/** A request that shows the interesting cells: 512, contiguous and paged. */
export const WIDE_FORM: RequestForm = {
  op: 'prefill',
  dtype: 'bf16',
  headDims: [64, 96, 128, 192, 256, 512],
  pageSizes: [null, 16, 64, 128],
  qHeads: 32,
  kvHeads: 8,
  batch: 1,
  qLen: 8192,
  kvLen: 8192,
  causal: true,
};

/** Before anything was asked. */
export function freshState(): AppState {
  return initialState({
    flag: { value: false, setIn: 'default' },
    vllmVersion: { value: 'newest', setIn: 'default' },
    hasFolder: true,
    selectedDeviceId: null,
    trusted: true,
    capabilities: { platform: 'linux-x64', measureBlocked: null, virtualWorkspace: false },
  });
}

/** With the rules' own answer for everything in it. */
export function evaluated(state: AppState): AppState {
  const inputs = whatIfInputs(state);
  const answer = deriveAnswer(inputs);
  return { ...state, derived: answer === null ? IDLE : ready(answer), whatIf: whatIfAnswer(inputs) };
}

/** An H200, nothing run yet. */
export function hopperState(): AppState {
  return evaluated({ ...freshState(), facts: ready(factsOf([H200, CPU])), form: WIDE_FORM, presetId: null });
}

/** A serve file with something wrong for every kind of fix, and a model whose layers are long to name. */
export function fixableState(): AppState {
  const text = [
    '# ours',
    'attention-config:',
    '  backend: FLASH_ATTN # fast',
    '  flash_attn_version: "4"',
    '  use_system_flash_attn: true',
    'block-size: 64',
    '',
  ].join('\n');
  return evaluated({
    ...hopperState(),
    vllmVersion: { value: '0.24.0', setIn: 'workspace' },
    flag: { value: true, setIn: 'workspace' },
    model: ready(
      loadModel('/models/gemma-4-31b/config.json', JSON.stringify(gemma4), {
        vllmVersion: '0.24.0',
        tensorParallelSize: 1,
        mlaDisabled: false,
      }),
    ),
    serve: ready(loadServeFile('/work/serve.yaml', text)),
  });
}

/** A machine without a GPU. */
export function noGpuState(): AppState {
  return evaluated({ ...freshState(), facts: ready(factsOf([CPU])) });
}

/** A measured row with figures of a plausible size for its place in the table. */
export function okRow(attentionCase: AttentionCase, deviceId: string, rank: number): ResultRow {
  const result: CaseResult = {
    ...emptyResult('ok', '', ''),
    status: 'ok',
    reason: null,
    kernel: {
      name: `${attentionCase.op}_mma_${attentionCase.dtype}_d${attentionCase.headDim}`,
      headDimTile: attentionCase.headDim,
      target: deviceId === 'cpu' ? 'cpu' : 'sm_90',
      numSplits: null,
      ...(deviceId === 'cpu'
        ? {}
        : { why: 'Has a tile of this head size; portable instructions (mma.sync, cp.async).' }),
    },
    gpuMs: { median: 1.5 + rank / 3, p10: 1.48 + rank / 3, p90: 1.6 + rank / 3, runs: 40 },
    hostUs: 4.2 + rank / 10,
    tflops: 420 - rank * 31,
    tbps: null,
    percentOfCeiling: deviceId === 'cpu' ? null : 58 - rank * 4,
    ceiling: deviceId === 'cpu' ? null : 'tensorCore',
    relError: 0.00231 + rank * 0.00001,
    roundingFloor: 0.00229,
    lseError: 1.43e-6,
    checkedRows: 256,
    smClockMHz: deviceId === 'cpu' ? null : 1755,
  };
  return { engine: 'bundled', deviceId, case: attentionCase, result };
}

/** Rows of every kind: right, contended, wrong, refused, out of memory. */
export function measuredState(): AppState {
  const state = hopperState();
  const rows = expandForm({ ...WIDE_FORM, headDims: [128, 256, 512, 520], pageSizes: [null, 16] }).map(
    (each, rank): ResultRow => {
      const row = okRow(each, GPU_ID, rank);
      if (rank === 3) return { ...row, result: { ...row.result, contended: true } };
      if (rank === 4) {
        return {
          ...row,
          result: {
            ...emptyResult('wrong', 'WRONG', 'Relative error 4.10e-2 is above 1.25 × the rounding floor (2.86e-3).'),
            kernel: row.result.kernel,
            relError: 0.041,
            roundingFloor: 0.00229,
            checkedRows: 256,
          },
        };
      }
      if (rank === 5) {
        return {
          ...row,
          result: emptyResult(
            'outOfMemory',
            'OUT_OF_MEMORY',
            'The case needs 96.0 GiB, 50 % of free memory is 69.8 GiB.',
          ),
        };
      }
      if (rank >= 6) {
        return {
          ...row,
          result: emptyResult('unsupported', 'HEAD_DIM', 'Head size 520: the kernels take multiples of 8 up to 512.'),
        };
      }
      return row;
    },
  );
  return {
    ...state,
    rows,
    ceilings: {
      [GPU_ID]: {
        readStreamTbps: 4.51,
        copyTbps: 4.3,
        tensorCoreTflops: 728,
        tensorCoreInstruction: 'mma.m16n8k16',
        smClockMHz: 1755,
      },
    },
    run: {
      kind: 'finished',
      ended: 'complete',
      deviceId: GPU_ID,
      counts: { ok: 4, wrong: 1, outOfMemory: 1, unsupported: 2 },
      failure: null,
    },
  };
}

/** The bundled kernels and installed libraries on the same cases; the figures are made up. */
export function librariesState(): AppState {
  const state = measuredState();
  const cases = expandForm({ ...WIDE_FORM, headDims: [128, 512], pageSizes: [null, 16] });
  const engines = ['bundled', 'fa3.vllm', 'fa4.system', 'fa4.vllm'];
  const rows = cases.flatMap((each, rank) =>
    engines.map((engine, place): ResultRow => {
      const row = { ...okRow(each, GPU_ID, rank + place), engine };
      const refuses = each.headDim === 512 && (engine === 'fa3.vllm' || engine === 'fa4.system');
      if (refuses) {
        const words = 'AssertionError: head_dim must be between 8 and 256';
        return { ...row, result: emptyResult('unsupported', 'refusedByLibrary', words) };
      }
      if (engine === 'fa4.vllm' && rank === 3) {
        const words = 'Its process crashed with a memory fault (SIGSEGV): Fatal Python error: Segmentation fault';
        return { ...row, result: emptyResult('crashed', 'SIGSEGV', words) };
      }
      return { ...row, result: { ...row.result, hostUs: 30 + place, jitMs: place > 1 ? 4200 : null } };
    }),
  );
  return {
    ...state,
    rows,
    libraries: [
      { engine: 'fa3.vllm', available: true, version: '0.24.0', torch: '2.11.0+cu130', reason: null },
      { engine: 'fa4.system', available: true, version: '4.0.0b36', torch: '2.11.0+cu130', reason: null },
      { engine: 'fa4.vllm', available: true, version: '0.33.0', torch: '2.11.0+cu130', reason: null },
      {
        engine: 'ffpa',
        available: false,
        version: null,
        torch: '2.11.0+cu130',
        reason: { code: 'notInstalled', text: 'ffpa-attn is not installed in this environment.' },
      },
    ],
  };
}

/** Every state by name, as the screenshots are called. */
export const STATES: Readonly<Record<string, () => AppState>> = {
  fresh: freshState,
  noGpu: noGpuState,
  noGpuWhatIf: () => evaluated({ ...noGpuState(), whatIfCapability: [9, 0], form: WIDE_FORM, presetId: null }),
  hopper: hopperState,
  fixable: fixableState,
  flagOn: () => ({ ...hopperState(), flag: { value: true, setIn: 'workspace' } }),
  measured: measuredState,
  running: () => ({
    ...measuredState(),
    run: {
      kind: 'running',
      deviceId: GPU_ID,
      cases: expandForm(WIDE_FORM),
      counts: { ok: 6, unsupported: 1 },
      caseIndex: 7,
      phase: 'check',
    },
  }),
  libraries: librariesState,
  librariesRunning: () => ({
    ...librariesState(),
    run: {
      kind: 'running',
      deviceId: GPU_ID,
      cases: expandForm(WIDE_FORM),
      counts: { ok: 6, unsupported: 1 },
      caseIndex: 1,
      phase: 'jit',
      libraries: { engine: 'fa4.vllm', total: 40 },
    },
  }),
  busy: () => ({
    ...hopperState(),
    facts: ready(
      factsOf([
        {
          ...H200,
          utilizationPercent: 87,
          memoryFreeBytes: 12_884_901_888,
          processes: [
            { pid: 41_233, kind: 'compute', usedMemoryBytes: 132_070_244_352 },
            { pid: 41_999, kind: 'compute', usedMemoryBytes: null },
          ],
        },
        CPU,
      ]),
    ),
    run: {
      kind: 'confirmBusy',
      deviceId: GPU_ID,
      summary: '2 other processes, 87 % utilisation, 12.0 GiB of 140.4 GiB free',
    },
  }),
  untrusted: () => ({ ...freshState(), trusted: false }),
  failedProbe: () => ({
    ...freshState(),
    facts: {
      status: 'failed',
      lastGood: null,
      failure: {
        code: 'helperExited',
        what: 'The GPU helper crashed with a memory fault (SIGSEGV) during probe.',
        next: 'VS Code is not affected; try again, and look at the log if it repeats.',
      },
    },
  }),
  failedRun: () => ({
    ...hopperState(),
    run: {
      kind: 'finished',
      ended: 'failed',
      deviceId: GPU_ID,
      counts: { ok: 2 },
      failure: {
        code: 'driverTooOld',
        what: 'The kernels need a driver for CUDA 12.8 or newer; installed is 535.183.01, CUDA 12.2.',
        next: 'Update the NVIDIA driver; until then only the CPU device can be measured.',
      },
    },
  }),
  cpuRows: () => ({
    ...noGpuState(),
    rows: expandForm(freshState().form).map((each, rank) => {
      const row = okRow(each, 'cpu', rank);
      return {
        ...row,
        result: {
          ...row.result,
          tflops: 0.021 - rank * 0.002,
          gpuMs: { median: 3.2 + rank, p10: 3.1 + rank, p90: 3.6 + rank, runs: 20 },
        },
      };
    }),
  }),
  report: () => {
    const measured = measuredState();
    return evaluated({
      ...noGpuState(),
      report: openedReport('h200.json', {
        schema: 'attention-diagnostics-report/1',
        tool: { name: 'attention-backend-diagnostics', version: '0.1.0' },
        createdAtMs: 1_795_000_000_000,
        command: 'run',
        redacted: true,
        machine: { platform: 'linux-x64', nodeVersion: '20.20.0', hostName: '<host>' },
        facts: factsOf([H200, CPU]),
        ceilings: Object.entries(measured.ceilings).map(([deviceId, ceilings]) => ({ deviceId, ceilings })),
        rows: [...measured.rows],
        explanation: null,
        failure: null,
      }),
    });
  },
};
