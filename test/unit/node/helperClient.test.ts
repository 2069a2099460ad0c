import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { after, afterEach, test } from 'node:test';
import { MAX_RUN_CASES, type CaseResult } from '../../../extension/core/attentionCase';
import type { Clock } from '../../../extension/core/async';
import { DiagError, type DiagErrorCode } from '../../../extension/core/errors';
import { errorText } from '../../../extension/core/errorText';
import type { Logger } from '../../../extension/core/logger';
import { silentLogger } from '../../../extension/core/logger';
import { HelperClient, IDLE_EXIT_MS, RESTART_BACKOFF_MS } from '../../../extension/node/helperClient';
import { KILL_LADDER_MS, spawnHelper, type SpawnHelper } from '../../../extension/node/helperProcess';
import { systemClock } from '../../../extension/node/systemClock';
import { DEFAULT_RUN_OPTIONS, type RunProgress } from '../../../extension/protocol/helperApi';
import type { FakeBehaviour } from './fakeBehaviour';
import { sampleCase } from './sampleCase';

const folder = await mkdtemp(path.join(os.tmpdir(), 'helper-client-'));
const clients: HelperClient[] = [];
let made = 0;

/** A helper may take this long to say hello; longer than any other deadline that is under test here. */
const HELLO_DEADLINE_MS = 15_000;

/**
 * Real time, but a deadline of ten seconds and more is this: for helpers that hang. Long enough for an answer on a loaded machine, and
 * the start of a process takes its time.
 */
const SHORT_DEADLINE_MS = 1500;
const fastDeadlines: Clock = {
  nowMs: () => systemClock.nowMs(),
  schedule: (delayMs, callback) =>
    systemClock.schedule(delayMs >= 10_000 && delayMs !== HELLO_DEADLINE_MS ? SHORT_DEADLINE_MS : delayMs, callback),
};

/** The same, for helpers that never become ready. */
const fastHello: Clock = {
  nowMs: () => systemClock.nowMs(),
  schedule: (delayMs, callback) => systemClock.schedule(delayMs >= 10_000 ? delayMs / 30 : delayMs, callback),
};

interface Fixture {
  readonly client: HelperClient;
  /** Process ids of all helpers started so far. */
  readonly starts: () => Promise<number[]>;
}

function fixture(
  behaviour: Omit<FakeBehaviour, 'counterFile'>,
  options: {
    clock?: Clock;
    spawn?: SpawnHelper;
    logger?: Logger;
    env?: NodeJS.ProcessEnv;
    restartBackoffMs?: readonly number[];
  } = {},
): Fixture {
  made += 1;
  const counterFile = path.join(folder, `starts-${made}`);
  const client = new HelperClient({
    helperPath: path.join(__dirname, 'fakeHelper.child.mjs'),
    addonPaths: [],
    kernelDir: null,
    clock: options.clock ?? systemClock,
    restartBackoffMs: options.restartBackoffMs ?? [10, 20, 40],
    logger: options.logger ?? silentLogger,
    env: { ...process.env, ...options.env, FAKE_HELPER: JSON.stringify({ ...behaviour, counterFile }) },
    ...(options.spawn === undefined ? {} : { spawn: options.spawn }),
  });
  clients.push(client);
  return {
    client,
    starts: async () => (await readFile(counterFile, 'utf8').catch(() => '')).split('\n').filter(Boolean).map(Number),
  };
}

async function codeOf(work: Promise<unknown>): Promise<DiagErrorCode | 'none'> {
  return work.then(
    () => 'none' as const,
    (error: unknown) => DiagError.from(error).code,
  );
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Far beyond what anything here takes, so that only what never happens fails. */
const EVENTUALLY_MS = 60_000;

async function eventually(
  what: string,
  holds: () => boolean | Promise<boolean>,
  withinMs = EVENTUALLY_MS,
): Promise<void> {
  const endMs = Date.now() + withinMs;
  while (!(await holds())) {
    assert.ok(Date.now() < endMs, `not within ${withinMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Runs cases with these seeds and returns the rows by seed. */
async function run(
  client: HelperClient,
  seeds: readonly number[],
  signal?: AbortSignal,
  onProgress: (progress: RunProgress) => void = () => undefined,
): Promise<{ ended: string; rows: Map<number, CaseResult>; progress: RunProgress[] }> {
  const rows = new Map<number, CaseResult>();
  const progress: RunProgress[] = [];
  const { ended } = await client.run(
    { deviceId: 'GPU-0', cases: seeds.map((seed) => sampleCase(seed)), options: DEFAULT_RUN_OPTIONS },
    {
      signal,
      onProgress: (each) => {
        progress.push(each);
        onProgress(each);
        if (each.kind === 'row') {
          assert.ok(!rows.has(seeds[each.caseIndex] ?? -1), 'one row per case');
          rows.set(seeds[each.caseIndex] ?? -1, each.result);
        }
      },
    },
  );
  return { ended, rows, progress };
}

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.dispose()));
});
after(() => rm(folder, { recursive: true, force: true }));

test('a probe starts one helper, which answers and is gone after dispose', async () => {
  const { client, starts } = fixture({});
  const facts = await client.probe('nvml');
  assert.equal(facts.level, 'nvml');
  assert.equal(client.hello?.protocolVersion, 2);
  const [pid = -1] = await starts();
  assert.ok(alive(pid));
  await client.dispose();
  assert.ok(!alive(pid));
  assert.equal(await codeOf(client.probe('nvml')), 'helperDisposed');
});

test('concurrent probes of one level are one request, and aborting one caller leaves the others', async () => {
  const { client, starts } = fixture({ probeDelayMs: 100 });
  const abort = new AbortController();
  const first = client.probe('nvml');
  const second = client.probe('nvml', abort.signal);
  abort.abort();
  assert.equal(await codeOf(second), 'cancelled');
  assert.equal((await first).level, 'nvml');
  assert.equal((await starts()).length, 1);
});

test('the helper does not inherit the editor its debug flags', async () => {
  const environmentFile = path.join(folder, 'environment');
  const { client } = fixture(
    { environmentFile },
    {
      env: {
        VSCODE_IPC_HOOK: 'x',
        NODE_OPTIONS: '--no-warnings',
        ELECTRON_NO_ATTACH_CONSOLE: '1',
        CUDA_VISIBLE_DEVICES: '1',
      },
    },
  );
  await client.probe('nvml');
  const seen = JSON.parse(await readFile(environmentFile, 'utf8')) as Record<string, string>;
  assert.equal(seen['VSCODE_IPC_HOOK'], undefined);
  assert.equal(seen['NODE_OPTIONS'], undefined);
  assert.equal(seen['ELECTRON_NO_ATTACH_CONSOLE'], undefined);
  assert.equal(seen['ELECTRON_RUN_AS_NODE'], '1');
  assert.equal(seen['CUDA_VISIBLE_DEVICES'], '1');
});

test('a helper that crashes during a probe is started again after a back-off', async () => {
  const { client, starts } = fixture({ probe: 'segv', onlyFirstStart: true });
  assert.equal((await client.probe('nvml')).driverVersion, 'start 2');
  assert.equal((await starts()).length, 2);
});

test('after three restarts it gives up, names the signal, and tries once when asked again', async () => {
  const { client, starts } = fixture({ probe: 'segv' });
  const error = await client.probe('nvml').catch((caught: unknown) => caught);
  assert.ok(DiagError.is(error, 'helperGaveUp'));
  assert.match(errorText(error).what, /4 times in a row.*memory fault \(SIGSEGV\)/);
  assert.equal((await starts()).length, 4);
  assert.equal(await codeOf(client.probe('nvml')), 'helperGaveUp');
  assert.equal((await starts()).length, 5);
});

test('the waits before the restarts are 1, 2 and 4 seconds', async () => {
  const waits: number[] = [];
  const clock: Clock = {
    nowMs: () => systemClock.nowMs(),
    schedule: (delayMs, callback) => {
      if ([1000, 2000, 4000].includes(delayMs)) {
        waits.push(delayMs);
        return systemClock.schedule(1, callback);
      }
      return systemClock.schedule(delayMs, callback);
    },
  };
  const { client } = fixture({ dieAtStart: 'always' }, { clock, restartBackoffMs: RESTART_BACKOFF_MS });
  assert.equal(await codeOf(client.probe('nvml')), 'helperGaveUp');
  assert.deepEqual(waits, [1000, 2000, 4000]);
});

test('a helper of another protocol version is refused and not tried again', async () => {
  const { client, starts } = fixture({ hello: 'otherVersion' });
  assert.equal(await codeOf(client.probe('nvml')), 'helperVersion');
  assert.equal((await starts()).length, 1);
});

test('a missing helper file is a start that ends, told as such', async () => {
  const client = new HelperClient({
    helperPath: path.join(folder, 'nothing.js'),
    addonPaths: [],
    kernelDir: null,
    restartBackoffMs: [1, 1, 1],
  });
  clients.push(client);
  assert.equal(await codeOf(client.probe('nvml')), 'helperGaveUp');
});

test('an executable that cannot be started is helperStartFailed', async () => {
  const { client } = fixture(
    {},
    { spawn: (launch) => spawnHelperWith(path.join(folder, 'no-such-executable'))(launch) },
  );
  assert.equal(await codeOf(client.probe('nvml')), 'helperStartFailed');
});

test('a helper that never says hello is killed at the deadline', async () => {
  const { client, starts } = fixture({ hello: 'never' }, { clock: fastHello });
  assert.equal(await codeOf(client.probe('nvml')), 'helperGaveUp');
  for (const pid of await starts()) await eventually('killed', () => !alive(pid));
});

for (const [action, code] of [
  ['garbage', 'invalidMessage'],
  ['oversize', 'messageTooLarge'],
  ['hang', 'requestTimeout'],
  ['block', 'requestTimeout'],
] as const) {
  test(`a probe that answers with ${action} fails as ${code}, and the next one works`, async () => {
    const { client, starts } = fixture({ probe: action, onlyFirstStart: true }, { clock: fastDeadlines });
    assert.equal(await codeOf(client.probe('nvml')), code);
    const [first = -1] = await starts();
    await eventually('the first helper is gone', () => !alive(first));
    assert.equal((await client.probe('nvml')).driverVersion, 'start 2');
  });
}

test('unknown messages and a flood of them are tolerated, and stdout is not the channel', async () => {
  const flooded = fixture({ probe: 'flood' });
  assert.equal((await flooded.client.probe('nvml')).level, 'nvml');
  const printed: string[] = [];
  const printing = fixture({ probe: 'print' }, { logger: { ...silentLogger, warn: (line) => printed.push(line) } });
  assert.equal((await printing.client.probe('nvml')).level, 'nvml');
  await eventually('chatter is logged', () => printed.some((line) => line.includes('library chatter')));
});

test('a case that crashes costs its own row, and the run goes on in a new helper', async () => {
  const { client, starts } = fixture({ cases: { 2: 'segv', 4: 'exit' } });
  const { ended, rows } = await run(client, [1, 2, 3, 4, 5]);
  assert.equal(ended, 'complete');
  assert.deepEqual(
    [...rows].sort((a, b) => a[0] - b[0]).map(([seed, row]) => [seed, row.status, row.reason?.code, row.reason?.text]),
    [
      [1, 'unsupported', 'fake', 'start 1'],
      [2, 'crashed', 'SIGSEGV', 'The helper crashed with a memory fault (SIGSEGV).'],
      [3, 'unsupported', 'fake', 'start 2'],
      [4, 'crashed', 'exit 4', 'The helper ended with exit code 4.'],
      [5, 'unsupported', 'fake', 'start 3'],
    ],
  );
  assert.equal((await starts()).length, 3);
});

test('a request that no helper would take is refused before one is started, and is no crash', async () => {
  const { client, starts } = fixture({});
  const tooMany = Array.from({ length: MAX_RUN_CASES + 1 }, (_, seed) => seed);
  assert.equal(await codeOf(run(client, tooMany)), 'invalidMessage');
  assert.deepEqual(await starts(), []);
  assert.equal((await run(client, [1])).rows.get(1)?.status, 'unsupported');
});

test('rows sent just before the helper exits are not lost', async () => {
  const { client } = fixture({ exitAfterRow: 1 });
  const { rows } = await run(client, [1, 2]);
  assert.equal(rows.get(1)?.status, 'unsupported');
  assert.equal(rows.get(2)?.status, 'unsupported');
});

test('a killed helper is told as killed, garbage during a case as garbage', async () => {
  const { client } = fixture({ cases: { 1: 'kill', 3: 'garbage' } });
  const { rows } = await run(client, [1, 2, 3, 4]);
  assert.equal(rows.get(1)?.status, 'crashed');
  assert.match(rows.get(1)?.reason?.text ?? '', /SIGKILL/);
  assert.equal(rows.get(3)?.status, 'crashed');
  assert.equal(rows.get(3)?.reason?.code, 'invalidMessage');
  assert.equal(rows.get(4)?.status, 'unsupported');
});

test('a case that hangs becomes a timeout row and its helper is ended, even when it ignores SIGTERM', async () => {
  const { client, starts } = fixture(
    { cases: { 1: 'block' }, ignoreSigterm: true, ignoreStdinEnd: true },
    { clock: fastDeadlines },
  );
  const { rows } = await run(client, [1, 2]);
  assert.equal(rows.get(1)?.status, 'timeout');
  assert.equal(rows.get(2)?.status, 'unsupported');
  const [first = -1] = await starts();
  assert.ok(!alive(first));
});

test('when every case crashes the run gives up after the budget and says so in the remaining rows', async () => {
  const seeds = [1, 2, 3, 4, 5, 6];
  const { client, starts } = fixture({ cases: Object.fromEntries(seeds.map((seed) => [seed, 'segv'])) });
  const { rows } = await run(client, seeds);
  assert.deepEqual(
    seeds.map((seed) => rows.get(seed)?.status),
    ['crashed', 'crashed', 'crashed', 'crashed', 'failed', 'failed'],
  );
  assert.equal(rows.get(6)?.reason?.code, 'helperGaveUp');
  assert.equal((await starts()).length, 4);
});

/** Real time, but the kill ladder waits: on a loaded machine a helper that heard the cancel is not to be overtaken by it. */
const patientLadder: Clock = {
  nowMs: () => systemClock.nowMs(),
  schedule: (delayMs, callback) => systemClock.schedule(delayMs <= KILL_LADDER_MS.giveUp ? 60_000 : delayMs, callback),
};

test('cancel is heard, finished rows stay, the helper lives on', async (t) => {
  const { client, starts } = fixture({ cases: { 2: 'untilCancelled' } }, { clock: patientLadder });
  const abort = new AbortController();
  let ackMs: number | null = null;
  const rows = new Map<number, string>();
  let abortedMs = 0;
  const { ended } = await client.run(
    { deviceId: 'GPU-0', cases: [sampleCase(1), sampleCase(2), sampleCase(3)], options: DEFAULT_RUN_OPTIONS },
    {
      signal: abort.signal,
      onCancelAck: () => (ackMs = performance.now() - abortedMs),
      onProgress: (progress) => {
        if (progress.kind === 'row') rows.set(progress.caseIndex, progress.result.status);
        if (progress.kind === 'phase' && progress.caseIndex === 1) {
          abortedMs = performance.now();
          abort.abort();
        }
      },
    },
  );
  assert.equal(ended, 'cancelled');
  assert.notEqual(ackMs, null, 'the cancel was acknowledged');
  t.diagnostic(`cancel acknowledged after ${Number(ackMs).toFixed(1)} ms`);
  assert.deepEqual(
    [...rows],
    [
      [0, 'unsupported'],
      [1, 'cancelled'],
      [2, 'cancelled'],
    ],
  );
  assert.equal(await codeOf(client.probe('nvml')), 'none');
  assert.equal((await starts()).length, 1);
});

test('a launch that does not end is cancelled by the kill ladder, whose last rung is at 2.5 s', async () => {
  assert.equal(KILL_LADDER_MS.giveUp, 2500);
  for (const ignoreSigterm of [false, true]) {
    const waits: number[] = [];
    const clock: Clock = {
      nowMs: () => systemClock.nowMs(),
      schedule: (delayMs, callback) => {
        if (delayMs <= KILL_LADDER_MS.giveUp) waits.push(delayMs);
        return systemClock.schedule(delayMs, callback);
      },
    };
    const { client, starts } = fixture(
      { cases: { 1: ignoreSigterm ? 'block' : 'hang' }, ignoreSigterm, ignoreStdinEnd: true },
      { clock },
    );
    const abort = new AbortController();
    let began = (): void => undefined;
    const inTheCase = new Promise<void>((resolve) => (began = resolve));
    const running = run(client, [1, 2], abort.signal, (progress) => progress.kind === 'phase' && began());
    await inTheCase;
    waits.length = 0;
    abort.abort();
    const { ended, rows } = await running;
    assert.equal(ended, 'cancelled');
    // The first wait is for the helper's own answer, the others are the rungs counted from it.
    assert.deepEqual(waits.slice(0, 4), [500, 0, 1500, 2000]);
    assert.equal(rows.size, 2);
    const [pid = -1] = await starts();
    assert.ok(!alive(pid));
  }
});

test('a helper that survives SIGKILL is given up, named, and no second one goes to that GPU', async () => {
  const pids: number[] = [];
  // What the kernel does with a process in uninterruptible sleep: signals are accepted and nothing happens.
  const unkillable: SpawnHelper = (launch) => {
    const child = spawnHelper(launch);
    pids.push(child.pid ?? -1);
    child.kill = () => true;
    return child;
  };
  const { client, starts } = fixture(
    { cases: { 1: 'hang' }, ignoreStdinEnd: true },
    { clock: fastDeadlines, spawn: unkillable },
  );
  try {
    const error = await run(client, [1, 2]).catch((caught: unknown) => caught);
    assert.ok(DiagError.is(error, 'helperStuck'));
    assert.match(errorText(error).what, /stuck in the driver/);
    assert.equal(await codeOf(run(client, [2])), 'helperStuck');
    assert.equal(await codeOf(client.probe('nvml')), 'helperStuck');
    assert.equal((await starts()).length, 1);
    // The CPU device has nothing to do with that driver.
    const cpu = await client.run(
      { deviceId: 'cpu', cases: [sampleCase(2)], options: DEFAULT_RUN_OPTIONS },
      { onProgress: () => undefined },
    );
    assert.equal(cpu.ended, 'complete');
    // Once it is gone after all, the GPU is free again.
    process.kill(pids[0] ?? -1, 'SIGKILL');
    await eventually('the block is lifted', async () => (await codeOf(client.probe('nvml'))) === 'none');
  } finally {
    for (const pid of pids) if (alive(pid)) process.kill(pid, 'SIGKILL');
  }
});

test('one run at a time; a second one is refused with who holds it', async () => {
  const { client } = fixture({ cases: { 1: 'untilCancelled' } });
  const abort = new AbortController();
  const first = run(client, [1], abort.signal);
  assert.equal(await codeOf(run(client, [2])), 'runLocked');
  abort.abort();
  assert.equal((await first).ended, 'cancelled');
});

test('an idle helper leaves by itself', async () => {
  let idleExit = (): void => undefined;
  const clock: Clock = {
    nowMs: () => systemClock.nowMs(),
    schedule: (delayMs, callback) => {
      if (delayMs !== IDLE_EXIT_MS) return systemClock.schedule(delayMs, callback);
      idleExit = callback;
      return () => (idleExit = () => undefined);
    },
  };
  const { client, starts } = fixture({}, { clock });
  await client.probe('nvml');
  const [pid = -1] = await starts();
  assert.ok(alive(pid));
  idleExit();
  await eventually('it left', () => !alive(pid));
  assert.equal((await client.probe('nvml')).driverVersion, 'start 2');
});

function spawnHelperWith(executable: string): SpawnHelper {
  return (launch) => {
    const original = process.execPath;
    process.execPath = executable;
    try {
      return spawnHelper(launch);
    } finally {
      process.execPath = original;
    }
  };
}
