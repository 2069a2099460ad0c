/** Device facts against a stand-in driver: no library, no device, N devices, MIG, hidden devices and every refusal. */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { test } from 'node:test';
import * as v from 'valibot';
import { systemFactsSchema, type DeviceFacts, type SystemFacts } from '../../extension/core/facts';
import { ADDON_PATH, fakeDriverEnv, loadAddon, probeFake, probeInChild, runScript } from './support/addon';
import { buildFakeDriver } from './support/compile';

const UUID_A = 'GPU-a0111111-1111-1111-1111-111111111111';
const UUID_B = 'GPU-a1111111-1111-1111-1111-111111111111';
const UUID_C = 'GPU-a2111111-1111-1111-1111-111111111111';
const MIG_1 = 'MIG-b0111111-1111-1111-1111-111111111111';
const MIG_2 = 'MIG-c0111111-1111-1111-1111-111111111111';

function gpus(facts: SystemFacts): DeviceFacts[] {
  return facts.devices.filter((device) => device.kind === 'gpu');
}

/** CUDA index by device id. */
function indices(facts: SystemFacts): Record<string, number | null> {
  return Object.fromEntries(gpus(facts).map((device) => [device.id, device.cudaIndex]));
}

test('without driver libraries every attempt is kept and the CPU device is there', async () => {
  const end = await probeInChild('driver', {
    ATTN_DIAG_CUDA_LIBRARY: '/nowhere/libcuda.so.1:/elsewhere/libcuda.so.1',
    ATTN_DIAG_NVML_LIBRARY: '/nowhere/libnvidia-ml.so.1',
  });
  const facts = v.parse(systemFactsSchema, JSON.parse(end.stdout));
  assert.deepEqual(
    facts.loadAttempts.map((attempt) => [attempt.library, attempt.path, attempt.ok]),
    [
      ['nvml', '/nowhere/libnvidia-ml.so.1', false],
      ['cuda', '/nowhere/libcuda.so.1', false],
      ['cuda', '/elsewhere/libcuda.so.1', false],
    ],
  );
  for (const attempt of facts.loadAttempts) assert.match(attempt.error ?? '', /cannot open shared object file/);
  assert.equal(facts.driverVersion, null);
  assert.equal(facts.cudaDriverApiVersion, null);
  const [cpu, ...others] = facts.devices;
  assert.deepEqual(others, []);
  assert.equal(cpu?.id, 'cpu');
  assert.equal(cpu.cpuThreads, os.availableParallelism());
  assert.equal(cpu.memoryTotalBytes, os.totalmem());
  assert.notEqual(cpu.name, '');
});

test('the usual places are tried when nothing overrides them, WSL among them', async () => {
  const end = await probeInChild('driver', {});
  const facts = v.parse(systemFactsSchema, JSON.parse(end.stdout));
  for (const library of ['cuda', 'nvml'] as const) {
    const attempts = facts.loadAttempts.filter((attempt) => attempt.library === library);
    if (attempts.at(-1)?.ok === true) continue; // a machine with a driver stops at the first that loads
    assert.ok(attempts.some((attempt) => attempt.path.startsWith('/usr/lib/wsl/lib/')));
  }
});

test('a library that is no driver is named with what it lacks', async () => {
  const { cuda } = buildFakeDriver();
  const end = await probeInChild('driver', { ATTN_DIAG_CUDA_LIBRARY: 'libc.so.6', ATTN_DIAG_NVML_LIBRARY: cuda });
  const facts = v.parse(systemFactsSchema, JSON.parse(end.stdout));
  assert.match(facts.loadAttempts.find((attempt) => attempt.library === 'cuda')?.error ?? '', /has no cuInit/);
  assert.match(facts.loadAttempts.find((attempt) => attempt.library === 'nvml')?.error ?? '', /lacks functions/);
  assert.equal(facts.devices.length, 1);
});

test('NVML alone gives what it knows and leaves the rest unknown', async () => {
  const script = 'devices=9.0;used=1073741824;process=4711;process=4712;utilization=97;computeMode=3;apiVersion=12080';
  const facts = await probeFake('nvml', script);
  assert.equal(facts.level, 'nvml');
  assert.equal(facts.driverVersion, '580.159.03');
  assert.equal(facts.cudaDriverApiVersion, 12080);
  assert.deepEqual(
    facts.loadAttempts.map((attempt) => attempt.library),
    ['nvml'],
  );
  assert.deepEqual(gpus(facts), [
    {
      id: UUID_A,
      kind: 'gpu',
      name: 'Stand-in GPU A',
      computeCapability: [9, 0],
      smCount: null,
      memoryTotalBytes: 8 * 1024 ** 3,
      memoryFreeBytes: 7 * 1024 ** 3,
      sharedMemoryPerBlockOptinBytes: null,
      l2Bytes: null,
      smClockMHz: 1755,
      smClockMaxMHz: 1980,
      memoryClockMHz: 3201,
      pciBusId: '00000000:3B:00.0',
      uuid: UUID_A,
      migEnabled: false,
      computeMode: 'exclusiveProcess',
      cudaIndex: 0,
      nvmlIndex: 0,
      utilizationPercent: 97,
      processes: [
        { pid: 4711, kind: 'compute', usedMemoryBytes: 1024 ** 3 },
        { pid: 4712, kind: 'compute', usedMemoryBytes: null },
      ],
      cpuThreads: null,
    },
  ]);
});

test('the NVML level never starts CUDA, even where CUDA would crash', async () => {
  const facts = await probeFake('nvml', 'devices=9.0;crash=cuInit:segv;crash=cuDriverGetVersion:segv');
  assert.equal(gpus(facts).length, 1);
});

test('the driver level adds what only CUDA knows, without a context', async () => {
  const facts = await probeFake('driver', 'devices=9.0,8.6;crash=cuCtxCreate:abort');
  assert.deepEqual(
    gpus(facts).map((device) => [device.id, device.smCount, device.sharedMemoryPerBlockOptinBytes, device.l2Bytes]),
    [
      [UUID_A, 132, 232448, 62914560],
      [UUID_B, 132, 101376, 62914560],
    ],
  );
});

test('without NVML the driver still tells its devices', async () => {
  const facts = await probeFake('driver', 'devices=8.9;computeMode=2', { ATTN_DIAG_NVML_LIBRARY: '/nowhere.so' });
  const [gpu] = gpus(facts);
  assert.equal(gpu?.id, UUID_A);
  assert.deepEqual(gpu.computeCapability, [8, 9]);
  assert.equal(gpu.nvmlIndex, null);
  assert.equal(gpu.pciBusId, '00000000:3B:00.0');
  assert.equal(gpu.computeMode, 'prohibited');
  assert.equal(gpu.processes, null);
  assert.equal(gpu.smClockMaxMHz, 1980);
  assert.equal(gpu.memoryFreeBytes, null);
});

test('devices come in CUDA order, hidden ones after them', async () => {
  const facts = await probeFake('driver', 'devices=9.0,9.0,9.0;cudaOrder=2,0', { CUDA_VISIBLE_DEVICES: '2,0' });
  assert.deepEqual(
    gpus(facts).map((device) => [device.id, device.cudaIndex, device.nvmlIndex]),
    [
      [UUID_C, 0, 2],
      [UUID_A, 1, 0],
      [UUID_B, null, 1],
    ],
  );
  assert.equal(facts.cudaVisibleDevices, '2,0');
});

/** Expected CUDA indices of three GPUs in PCI order under CUDA_VISIBLE_DEVICES, worked out without CUDA. */
const VISIBLE: ReadonlyArray<readonly [value: string, expected: readonly (number | null)[], why: string]> = [
  ['0,1,2', [0, 1, 2], 'all by index'],
  ['2,0', [1, null, 0], 'order of the list counts'],
  [' 1 , 2 ', [null, 0, 1], 'spaces do not matter'],
  ['', [null, null, null], 'empty hides all'],
  ['-1', [null, null, null], 'the usual way to hide all'],
  ['0,-1,1', [0, null, null], 'the first invalid entry ends the list'],
  ['1,7,0', [null, 0, null], 'so does an index that does not exist'],
  ['1gpu,2', [null, 0, 1], 'leading digits count'],
  ['0,0', [null, null, null], 'named twice leaves none'],
  [UUID_B, [null, 0, null], 'whole UUID'],
  ['GPU-a2', [null, null, 0], 'shortened UUID'],
  ['GPU-A1,GPU-a0', [1, 0, null], 'letters of either case'],
  ['GPU-a', [null, null, null], 'ambiguous prefix'],
  ['GPU-a0,1', [0, null, null], 'an index cannot follow a UUID'],
  ['GPU-ff,GPU-a0', [null, null, null], 'an unknown UUID ends the list'],
  ['NoDevFiles', [null, null, null], 'what some schedulers write'],
];

for (const [value, expected, why] of VISIBLE) {
  test(`CUDA_VISIBLE_DEVICES='${value}': ${why}`, async () => {
    const facts = await probeFake('nvml', 'devices=9.0,9.0,9.0', { CUDA_VISIBLE_DEVICES: value });
    assert.deepEqual(indices(facts), { [UUID_A]: expected[0], [UUID_B]: expected[1], [UUID_C]: expected[2] });
  });
}

test('indices of unlike GPUs are known only in PCI order', async () => {
  const script = 'devices=8.6,9.0';
  assert.deepEqual(indices(await probeFake('nvml', script, { CUDA_VISIBLE_DEVICES: '1' })), {
    [UUID_A]: null,
    [UUID_B]: null,
  });
  const inPciOrder = { CUDA_VISIBLE_DEVICES: '1', CUDA_DEVICE_ORDER: 'PCI_BUS_ID' };
  assert.deepEqual(indices(await probeFake('nvml', script, inPciOrder)), { [UUID_A]: null, [UUID_B]: 0 });
});

test('MIG instances are devices of their own, and only the first one named is visible', async () => {
  const facts = await probeFake('nvml', 'devices=9.0;mig=0', { CUDA_VISIBLE_DEVICES: `${MIG_2},${MIG_1}` });
  assert.deepEqual(
    gpus(facts).map((device) => [device.id, device.migEnabled, device.cudaIndex, device.smCount]),
    [
      [MIG_2, true, 0, 60],
      [UUID_A, true, null, null],
      [MIG_1, true, null, 60],
    ],
  );
  assert.deepEqual(gpus(facts)[0]?.computeCapability, [9, 0]);
});

/** Statuses of cuInit that users meet, with the name CUDA gives them. */
const CU_INIT_ERRORS: ReadonlyArray<readonly [code: number, name: string]> = [
  [35, 'CUDA_ERROR_INSUFFICIENT_DRIVER'],
  [100, 'CUDA_ERROR_NO_DEVICE'],
  [802, 'CUDA_ERROR_SYSTEM_NOT_READY'],
  [803, 'CUDA_ERROR_SYSTEM_DRIVER_MISMATCH'],
  [804, 'CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE'],
  [999, 'CUDA_ERROR_UNKNOWN'],
];

for (const [code, name] of CU_INIT_ERRORS) {
  test(`cuInit refusing with ${name} is reported beside what NVML knows`, async () => {
    const facts = await probeFake('driver', `devices=9.0;fail=cuInit:${String(code)}`);
    assert.equal(facts.driverErrors.length, 1);
    const [error] = facts.driverErrors;
    assert.deepEqual([error?.call, error?.code, error?.name], ['cuInit', code, name]);
    assert.notEqual(error?.text, '');
    const [gpu] = gpus(facts);
    assert.equal(gpu?.name, 'Stand-in GPU A');
    assert.equal(gpu.cudaIndex, null, 'CUDA can use nothing, whatever NVML counts');
  });
}

test('a driver without devices is a refusal of cuInit, not of loading', async () => {
  const facts = await probeFake('driver', 'devices=');
  assert.ok(facts.loadAttempts.every((attempt) => attempt.ok));
  assert.equal(facts.driverErrors[0]?.name, 'CUDA_ERROR_NO_DEVICE');
  assert.equal(facts.devices.length, 1);
});

test('a status the driver has no name for keeps its number', async () => {
  const facts = await probeFake('driver', 'devices=9.0;fail=cuInit:12345');
  assert.equal(facts.driverErrors[0]?.name, 'CUDA_ERROR_12345');
});

test('NVML refusing is reported, and CUDA still asked', async () => {
  const facts = await probeFake('driver', 'devices=9.0;fail=nvmlInit:18');
  assert.deepEqual(facts.driverErrors, [
    {
      call: 'nvmlInit',
      code: 18,
      name: 'NVML_ERROR_LIB_RM_VERSION_MISMATCH',
      text: 'Driver/library version mismatch',
    },
  ]);
  assert.equal(gpus(facts).length, 1);
});

test('a question NVML does not permit leaves that fact unknown', async () => {
  const script = 'devices=9.0;fail=nvmlDeviceGetComputeRunningProcesses:4;fail=nvmlDeviceGetGraphicsRunningProcesses:4';
  const [gpu] = gpus(await probeFake('nvml', `${script};fail=nvmlDeviceGetUtilizationRates:3`));
  assert.equal(gpu?.processes, null);
  assert.equal(gpu.utilizationPercent, null);
  assert.equal(gpu.smClockMHz, 1755);
});

test('a slow cuInit does not block the JavaScript thread', async () => {
  const script = `
    let ticks = 0;
    setInterval(() => ticks++, 20);
    require(process.argv[1]).probe('driver', null).then((facts) => {
      process.stdout.write(JSON.stringify({ ticks, devices: facts.devices.length }));
      process.exit(0);
    });`;
  const end = await runScript(script, [ADDON_PATH], fakeDriverEnv('devices=9.0;sleepMs=cuInit:600'));
  const { ticks, devices } = JSON.parse(end.stdout) as { ticks: number; devices: number };
  assert.equal(devices, 2);
  assert.ok(ticks >= 10, `only ${String(ticks)} timer ticks in 600 ms`);
});

test('a crashing or hanging driver ends the process, which is why it is one of its own', async () => {
  assert.equal((await probeInChild('driver', fakeDriverEnv('devices=9.0;crash=cuInit:segv'))).signal, 'SIGSEGV');
  assert.equal((await probeInChild('driver', fakeDriverEnv('devices=9.0;crash=cuInit:abort'))).signal, 'SIGABRT');
  const hung = await probeInChild('driver', fakeDriverEnv('devices=9.0;crash=cuInit:hang'), 1500);
  assert.equal(hung.signal, 'SIGKILL');
  assert.equal(hung.stdout, '');
});

test('the kernel build comes from the manifest, and a damaged manifest is no build', async () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'attn-manifest-'));
  try {
    const build = {
      hash: 'abc',
      compiler: 'nvcc 12.8',
      flags: ['-O3'],
      minDriverApiVersion: 12080,
      targets: ['sm_80'],
    };
    const manifest = path.join(dir, 'manifest.json');
    fs.writeFileSync(manifest, JSON.stringify({ ...build, modules: [1, 2] }));
    const addon = loadAddon();
    assert.deepEqual((await addon.probe('nvml', dir)).kernelBuild, build);
    fs.writeFileSync(manifest, JSON.stringify(build).slice(0, 30));
    assert.equal((await addon.probe('nvml', dir)).kernelBuild, null);
    fs.writeFileSync(manifest, '{"hash":"abc"}');
    assert.equal((await addon.probe('nvml', dir)).kernelBuild, null);
    fs.rmSync(manifest);
    assert.equal((await addon.probe('nvml', dir)).kernelBuild, null);
  } finally {
    fs.rmSync(dir, { recursive: true });
  }
});

test('an unknown level is refused', async () => {
  await assert.rejects(loadAddon().probe('deep' as 'nvml', null), { code: 'invalidArgument' });
});
