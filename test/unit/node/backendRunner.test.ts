import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import type { CaseResult, ResultRow } from '../../../extension/core/attentionCase';
import { DiagError } from '../../../extension/core/errors';
import { silentLogger } from '../../../extension/core/logger';
import type { BackendEngine } from '../../../extension/core/measure/engines';
import { emptyResult } from '../../../extension/core/measure/emptyResult';
import { runBackends, type BackendProgress, type BackendRunOptions } from '../../../extension/node/backendRunner';
import { DEFAULT_RUN_OPTIONS } from '../../../extension/protocol/helperApi';
import { sampleCase } from './sampleCase';
import { GPU_ID, sampleFacts, sampleGpu } from './sampleFacts';

const python = '/usr/bin/python3';
const folders: string[] = [];
after(() => Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true }))));

interface Logged {
  readonly engine?: string;
  readonly command?: string;
  readonly cases?: readonly number[];
  readonly checkRows?: number;
  readonly checkOnly?: boolean;
  readonly hold?: boolean;
  readonly env?: readonly string[];
  readonly cwd?: string;
  readonly child?: number;
  readonly pid: number;
}

type Plans = Readonly<
  Partial<Record<BackendEngine, { describe?: string; ms?: number; cases?: Record<string, string> }>>
>;

function okResult(ms: number): CaseResult {
  return {
    ...emptyResult('ok', '', ''),
    reason: null,
    gpuMs: { median: ms, p10: ms, p90: ms, runs: 5 },
    tflops: 200,
    relError: 0.001,
    checkedRows: 4,
  };
}

async function run(
  plans: Plans,
  changes: Partial<Omit<BackendRunOptions, 'plan' | 'params'>> & {
    seeds?: readonly number[];
    rounds?: number;
    protocolVersion?: number;
    caseMs?: number;
    contended?: boolean;
    strangers?: number;
    deviceId?: string;
  } = {},
) {
  const home = mkdtempSync(path.join(os.tmpdir(), 'fake-bench-'));
  folders.push(home);
  await writeFile(
    path.join(home, 'behaviour.json'),
    JSON.stringify({
      engines: plans,
      ...(changes.protocolVersion === undefined ? {} : { protocolVersion: changes.protocolVersion }),
    }),
  );
  const rows: ResultRow[] = [];
  const phases: BackendProgress[] = [];
  const turns: string[] = [];
  const strangers = Array.from({ length: changes.strangers ?? 0 }, (_, index) => ({
    pid: 100_000 + index,
    kind: 'compute' as const,
    usedMemoryBytes: 1,
    name: null,
  }));
  let probes = 0;
  const client: BackendRunOptions['client'] = {
    probe: () => {
      probes += 1;
      // The engine's process is there from its first turn on.
      const seen = probes === 1 ? [] : strangers.slice(turns.length > 1 ? 0 : 1);
      return Promise.resolve(sampleFacts(sampleGpu({ processes: seen })));
    },
    run: (params, { onProgress }) => {
      turns.push('bundled');
      if (params.options.ceilings) {
        onProgress({
          kind: 'ceilings',
          ceilings: {
            readStreamTbps: 4.5,
            copyTbps: 4.3,
            tensorCoreTflops: 800,
            tensorCoreInstruction: 'wgmma',
            smClockMHz: 1980,
          },
        });
      }
      for (const caseIndex of params.cases.keys()) {
        onProgress({ kind: 'phase', caseIndex, phase: 'time' });
        onProgress({
          kind: 'row',
          caseIndex,
          result: { ...okResult(1 + turns.length / 100), contended: changes.contended ?? false },
        });
      }
      return Promise.resolve({ ended: 'complete' });
    },
  };
  const result = await runBackends({
    client,
    params: {
      deviceId: changes.deviceId ?? 'cpu',
      cases: (changes.seeds ?? [1, 2, 3]).map((seed) => sampleCase(seed)),
      options: DEFAULT_RUN_OPTIONS,
    },
    logger: silentLogger,
    confirmBusy: () => Promise.resolve(true),
    onRow: (row) => rows.push(row),
    onProgress: (progress) => phases.push(progress),
    signal: new AbortController().signal,
    lockFolder: home,
    plan: {
      interpreter: python,
      scriptPath: path.resolve('test/unit/node/fake_bench.py'),
      env: { PATH: process.env['PATH'], HOME: home, PYTHONPATH: '/nowhere', SECRET: 'x', LD_LIBRARY_PATH: '/lib' },
      engines: Object.keys(plans) as BackendEngine[],
      rounds: changes.rounds ?? 1,
      deadlines: { startMs: 10_000, importMs: 3000, jitMs: 500, caseMs: changes.caseMs ?? 60_000 },
    },
    ...(changes.signal === undefined ? {} : { signal: changes.signal }),
  });
  return { result, rows, phases, home, log: await readLog(home) };
}

async function readLog(home: string): Promise<Logged[]> {
  const text = await readFile(path.join(home, 'log'), 'utf8').catch(() => '');
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Logged);
}

const told = (rows: readonly ResultRow[], engine: string): string[] =>
  rows
    .filter((row) => row.engine === engine)
    .sort((a, b) => a.case.seed - b.case.seed)
    .map(
      ({ case: asked, result }) =>
        `${asked.seed} ${result.status}${result.reason === null ? '' : ` ${result.reason.code}`}`,
    );

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

test('engines are rows beside the bundled kernels; one that is missing is listed with why and costs nothing', async () => {
  const { result, rows, phases, log } = await run({
    'torch.sdpa.math': {},
    'fa3.vllm': { describe: 'missing' },
    'fa2.system': { cases: { '2': 'refuse' } },
  });
  assert.equal(result.ended, 'complete');
  assert.deepEqual(told(rows, 'bundled'), ['1 ok', '2 ok', '3 ok']);
  assert.deepEqual(told(rows, 'torch.sdpa.math'), ['1 ok', '2 ok', '3 ok']);
  assert.deepEqual(told(rows, 'fa2.system'), ['1 ok', '2 unsupported refusedByLibrary', '3 ok']);
  assert.deepEqual(told(rows, 'fa3.vllm'), []);
  assert.deepEqual(
    result.libraries.map(({ engine, available, version, reason }) => [
      engine,
      available,
      version,
      reason?.text ?? null,
    ]),
    [
      ['torch.sdpa.math', true, '1.2.3', null],
      ['fa3.vllm', false, null, 'fa3.vllm is not installed'],
      ['fa2.system', true, '1.2.3', null],
    ],
  );
  const share = rows.find((row) => row.engine === 'torch.sdpa.math')?.result;
  assert.deepEqual([share?.percentOfCeiling, share?.ceiling], [12.5, 'tensorCore']);
  assert.ok(phases.some((each) => each.engine === 'fa2.system' && each.caseIndex === 1 && each.phase === 'allocate'));
  // One process for all cases of an engine, besides the one that described it.
  assert.equal(new Set(log.filter((each) => each.engine === 'fa2.system').map((each) => each.pid)).size, 2);
  assert.ok(log.every((each) => !isAlive(each.pid)));
});

test('a clean environment, a neutral folder: nothing of the workspace reaches the libraries', async () => {
  const { log } = await run({ 'fa2.system': {} });
  for (const entry of log) {
    assert.equal(entry.env?.includes('SECRET'), false);
    assert.equal(entry.env?.includes('PYTHONPATH'), false);
    assert.equal(entry.env?.includes('LD_LIBRARY_PATH'), true);
    assert.equal(entry.cwd, os.tmpdir());
  }
});

const oneBadCase: readonly [string, string, RegExp][] = [
  ['segv', 'crashed SIGSEGV', /crashed with a memory fault \(SIGSEGV\): libfoo\.so: undefined symbol _Z3barv/],
  ['exit', 'crashed exit 3', /exit code 3: CUDA error: an illegal memory access/],
  ['flood', 'crashed flood', /printed more than 64 MiB/],
  ['garbage', 'failed badAnswer', /cannot be read/],
  ['nan', 'failed badAnswer', /no NaN/],
  ['shape', 'failed badAnswer', /cannot be read/],
  ['impossible', 'failed implausible', /compared no rows/],
  ['negative', 'failed implausible', /times are not positive/],
  ['wrong', 'wrong error', /relative error 0\.5/],
  ['skip', 'failed noResult', /without a result/],
  ['rowThenDie', 'failed cuda', /illegal address/],
  ['oom', 'outOfMemory outOfMemory', /CUDA out of memory/],
];
for (const [action, expected, words] of oneBadCase) {
  test(`a case that ends in "${action}" costs its own row only, and the row says why`, async () => {
    const { rows } = await run({ 'fa2.system': { cases: { '2': action } } });
    assert.deepEqual(told(rows, 'fa2.system'), ['1 ok', `2 ${expected}`, '3 ok']);
    const bad = rows.find((row) => row.engine === 'fa2.system' && row.case.seed === 2)?.result;
    assert.match(bad?.reason?.text ?? '', words);
    assert.equal(bad?.gpuMs, null);
  });
}

test('a case that hangs is ended at its deadline, with its process, and the next one runs', async () => {
  const { rows, log } = await run({ 'fa2.system': { cases: { '2': 'hang' } } }, { caseMs: 600 });
  assert.deepEqual(told(rows, 'fa2.system'), ['1 ok', '2 timeout watchdog', '3 ok']);
  assert.ok(log.every((each) => !isAlive(each.pid)));
});

test('rows that were not asked for, or come twice, change nothing', async () => {
  const { rows } = await run({ 'fa2.system': { cases: { '2': 'twice' } } });
  assert.deepEqual(
    rows.filter((row) => row.engine === 'fa2.system').map((row) => [row.case.seed, row.result.gpuMs?.median]),
    [
      [1, 1],
      [2, 2],
      [3, 1],
    ],
  );
});

test('a library whose import crashes or hangs is one that is not there', async () => {
  const { result, rows } = await run({ 'fa2.system': { describe: 'segv' }, 'fa3.vllm': {} });
  assert.equal(result.libraries[0]?.available, false);
  assert.match(result.libraries[0]?.reason?.text ?? '', /SIGSEGV/);
  assert.deepEqual(told(rows, 'fa3.vllm'), ['1 ok', '2 ok', '3 ok']);
});

test('after three processes in a row that finished nothing, the rest of the engine is not tried', async () => {
  const seeds = [1, 2, 3, 4, 5];
  const cases = Object.fromEntries(seeds.map((seed) => [String(seed), 'exit']));
  const { rows, log } = await run({ 'fa2.system': { cases }, 'fa3.vllm': {} }, { seeds });
  assert.deepEqual(told(rows, 'fa2.system'), [
    '1 crashed exit 3',
    '2 crashed exit 3',
    '3 crashed exit 3',
    '4 crashed gaveUp',
    '5 crashed gaveUp',
  ]);
  assert.equal(log.filter((each) => each.engine === 'fa2.system' && each.command === 'run').length, 3);
  assert.equal(told(rows, 'fa3.vllm').length, 5);
});

test('a runner of another version is refused in words', async () => {
  const { result, rows } = await run({ 'fa2.system': {} }, { protocolVersion: 99 });
  assert.match(result.libraries[0]?.reason?.text ?? '', /protocol version 99/);
  assert.deepEqual(told(rows, 'fa2.system'), []);
});

test('libraries that compile are compiled before anything is timed; the time of that is kept apart', async () => {
  const { rows, log } = await run({ 'fa4.system': { cases: { '2': 'hangInJit' } } });
  assert.deepEqual(told(rows, 'fa4.system'), ['1 ok', '2 timeout watchdog', '3 ok']);
  const right = rows.find((row) => row.engine === 'fa4.system' && row.case.seed === 1)?.result;
  assert.equal(right?.jitMs, 1234);
  const commands = log.map((each) => each.command);
  assert.equal(commands[0], 'describe');
  assert.ok(commands.lastIndexOf('warm') < commands.indexOf('run'));
  // What never compiled is not waited for a second time.
  assert.deepEqual(log.find((each) => each.command === 'run')?.cases, [0, 2]);
});

test('rounds: engines take turns case by case in one process each, and the ratio to the bundled kernel has an interval', async () => {
  const { result, rows, log } = await run(
    { 'fa2.system': { ms: 2 }, 'fa3.vllm': { ms: 0.5, cases: { '2': 'refuse' } } },
    { seeds: [1, 2], rounds: 7 },
  );
  const runs = log.filter((each) => each.command === 'run');
  assert.equal(new Set(runs.map((each) => each.pid)).size, 2);
  // Each request is one case, and the first case is finished before the second begins.
  assert.ok(runs.every((each) => each.cases?.length === 1));
  const order = runs.map((each) => each.cases?.[0]);
  assert.equal(order.lastIndexOf(0) < order.indexOf(1), true);
  assert.equal(runs.filter((each) => each.engine === 'fa3.vllm' && each.cases?.[0] === 1).length, 1);
  // Once checked, then timed in every round, and held all along.
  assert.ok(runs.every((each) => each.hold === true));
  assert.deepEqual(
    runs.filter((each) => each.engine === 'fa2.system' && each.cases?.[0] === 0).map((each) => each.checkOnly),
    [true, ...new Array<boolean>(7).fill(false)],
  );
  assert.equal(
    new Set(
      runs
        .filter((each) => each.cases?.[0] === 0)
        .slice(0, 4)
        .map((each) => each.engine),
    ).size,
    2,
  );
  assert.deepEqual(told(rows, 'fa3.vllm'), ['1 ok', '2 unsupported refusedByLibrary']);
  assert.equal(rows.find((row) => row.engine === 'fa2.system')?.roundMs?.length, 7);
  const slower = result.ratios.find((each) => each.engine === 'fa2.system' && each.case.seed === 1);
  assert.equal(slower?.rounds, 7);
  assert.ok(slower.ratio > 1.7 && slower.ratio < 2);
  assert.ok(slower.interval !== null && slower.interval.low <= slower.ratio && slower.ratio <= slower.interval.high);
  assert.equal(
    result.ratios.some((each) => each.engine === 'fa3.vllm' && each.case.seed === 2),
    false,
  );
});

test('in rounds, an engine that is lost after its check is told once, and the others go on', async () => {
  const { rows, log, result } = await run(
    { 'fa2.system': { cases: { '1': 'segvInRound' } }, 'fa3.vllm': {} },
    { seeds: [1, 2], rounds: 7 },
  );
  assert.deepEqual(told(rows, 'fa2.system'), ['1 crashed SIGSEGV', '2 ok']);
  assert.deepEqual(told(rows, 'fa3.vllm'), ['1 ok', '2 ok']);
  assert.deepEqual(told(rows, 'bundled'), ['1 ok', '2 ok']);
  const asked = log.filter((each) => each.engine === 'fa2.system' && each.command === 'run' && each.cases?.[0] === 0);
  assert.deepEqual(
    asked.map((each) => each.checkOnly),
    [true, false],
  );
  assert.deepEqual(
    result.ratios.map((each) => [each.engine, each.case.seed, each.rounds]),
    [
      ['fa3.vllm', 1, 7],
      ['fa2.system', 2, 7],
      ['fa3.vllm', 2, 7],
    ],
  );
});

test('the waiting processes of the other engines are not strangers on the GPU', async () => {
  const calm = await run(
    { 'fa2.system': {} },
    { seeds: [1], rounds: 2, contended: true, strangers: 2, deviceId: GPU_ID },
  );
  assert.equal(calm.rows.find((row) => row.engine === 'bundled')?.result.contended, false);
  const crowded = await run(
    { 'fa2.system': {} },
    { seeds: [1], rounds: 2, contended: true, strangers: 3, deviceId: GPU_ID },
  );
  assert.equal(crowded.rows.find((row) => row.engine === 'bundled')?.result.contended, true);
});

test('cancel ends the process and what it started, although both ignore SIGTERM, within two seconds', async () => {
  const abort = new AbortController();
  const running = run({ 'fa2.system': { cases: { '2': 'hangTree' } } }, { signal: abort.signal, caseMs: 60_000 });
  const home = folders.at(-1) ?? '';
  while (!(await readLog(home)).some((each) => each.child !== undefined)) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const startedMs = performance.now();
  abort.abort();
  const { result, rows } = await running;
  assert.ok(performance.now() - startedMs < 2000);
  assert.equal(result.ended, 'cancelled');
  assert.deepEqual(told(rows, 'fa2.system'), ['1 ok']);
  const log = await readLog(home);
  const pids = log.flatMap((each) => (each.child === undefined ? [each.pid] : [each.pid, each.child]));
  // A killed grandchild is a zombie until init collects it.
  await new Promise((resolve) => setTimeout(resolve, 100));
  const zombie = async (pid: number): Promise<boolean> =>
    / Z /.test(await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ''));
  for (const pid of pids) assert.ok(!isAlive(pid) || (await zombie(pid)), `process ${pid} is still there`);
});

test('an interpreter that cannot be one is refused before anything is started', async () => {
  await assert.rejects(
    runBackends({
      client: { probe: () => Promise.reject(new Error('asked')), run: () => Promise.reject(new Error('asked')) },
      params: { deviceId: 'cpu', cases: [sampleCase(1)], options: DEFAULT_RUN_OPTIONS },
      logger: silentLogger,
      confirmBusy: () => Promise.resolve(true),
      onRow: () => undefined,
      signal: new AbortController().signal,
      plan: {
        interpreter: '/no/such/python',
        scriptPath: '/x.py',
        env: {},
        engines: ['fa2.system'],
        rounds: 1,
      },
    }),
    (error) => DiagError.is(error, 'interpreterUnusable'),
  );
});
