/** The whole path below the user interface: client → helper process → addon → CPU device, or a stand-in driver. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import type { CaseResult } from '../../extension/core/attentionCase';
import type { Clock } from '../../extension/core/async';
import { DiagError } from '../../extension/core/errors';
import { errorText } from '../../extension/core/errorText';
import { silentLogger } from '../../extension/core/logger';
import { HelperClient } from '../../extension/node/helperClient';
import { KILL_LADDER_MS } from '../../extension/node/helperProcess';
import { runKernels } from '../../extension/node/runSession';
import { systemClock } from '../../extension/node/systemClock';
import { DEFAULT_RUN_OPTIONS } from '../../extension/protocol/helperApi';
import { sampleCase } from '../unit/node/sampleCase';
import { ADDON_PATH, fakeDriverEnv } from './support/addon';

const folder = await mkdtemp(path.join(os.tmpdir(), 'helper-native-'));
after(() => rm(folder, { recursive: true, force: true }));

/** A kernel build that needs CUDA 12.8; no module of it is ever loaded here. */
await writeFile(
  path.join(folder, 'manifest.json'),
  JSON.stringify({
    hash: 'ab',
    compiler: 'c',
    flags: [],
    minDriverApiVersion: 12_080,
    targets: ['sm_90'],
    modules: [],
  }),
);

/** Real time, but the deadline of a probe passes five times as fast. */
const fastDeadlines: Clock = {
  nowMs: () => systemClock.nowMs(),
  schedule: (delayMs, callback) => systemClock.schedule(delayMs === 10_000 ? 2000 : delayMs, callback),
};

/** Real time, but the kill ladder waits: on a loaded machine a helper that heard the cancel is not to be overtaken by it. */
const patientLadder: Clock = {
  nowMs: () => systemClock.nowMs(),
  schedule: (delayMs, callback) => systemClock.schedule(delayMs <= KILL_LADDER_MS.giveUp ? 60_000 : delayMs, callback),
};

async function withClient<T>(
  env: Readonly<Record<string, string>>,
  use: (client: HelperClient) => Promise<T>,
  clock: Clock = systemClock,
): Promise<T> {
  const client = new HelperClient({
    helperPath: path.join(__dirname, 'helperMain.child.mjs'),
    addonPaths: [ADDON_PATH],
    kernelDir: folder,
    clock,
    restartBackoffMs: [10, 20, 40],
    env: { ...process.env, ...env },
  });
  try {
    return await use(client);
  } finally {
    await client.dispose();
  }
}

test('the CPU device answers every case: right, refused with a reason, nothing thrown', async () => {
  await withClient({}, async (client) => {
    const { rows, ended } = await runKernels({
      client,
      params: {
        deviceId: 'cpu',
        cases: [
          sampleCase(1),
          sampleCase(2, { headDim: 0, headDimV: 0 }),
          sampleCase(3, { headDim: 7, headDimV: 7 }),
          sampleCase(4, { headDim: 100_000, headDimV: 100_000 }),
          sampleCase(5, { pageSize: 24 }),
          sampleCase(6, { qHeads: 3, kvHeads: 2 }),
          sampleCase(7, { kvLens: 0 }),
          sampleCase(8, { qLens: 65_536, kvLens: 1_048_576, qHeads: 32, kvHeads: 8 }),
          sampleCase(9, { pageSize: 16, kvLens: 37 }),
        ],
        options: { ...DEFAULT_RUN_OPTIONS, checkOnly: true },
      },
      logger: silentLogger,
      onRow: () => undefined,
      confirmBusy: () => Promise.resolve(false),
    });
    assert.equal(ended, 'complete');
    const outcome = (index: number): CaseResult | undefined => rows[index]?.result;
    assert.equal(rows.length, 9);
    for (const index of [0, 6, 8]) assert.equal(outcome(index)?.status, 'ok', JSON.stringify(outcome(index)));
    assert.equal(outcome(0)?.kernel?.target, 'cpu');
    assert.ok((outcome(0)?.checkedRows ?? 0) > 0);
    for (const index of [1, 2, 3, 4, 5, 7]) {
      assert.equal(outcome(index)?.status, 'unsupported', JSON.stringify(outcome(index)));
      assert.match(outcome(index)?.reason?.text ?? '', /\w \w.*\.$/);
    }
    assert.match(outcome(7)?.reason?.text ?? '', /Too large for the CPU device/);
  });
});

test('a device that is held serves the next run, and the one after it that does not hold it', async () => {
  await withClient({}, async (client) => {
    for (const hold of [true, true, false, false]) {
      const statuses: string[] = [];
      const options = { ...DEFAULT_RUN_OPTIONS, checkOnly: true, hold };
      const { ended } = await client.run(
        { deviceId: 'cpu', cases: [sampleCase(1)], options },
        { onProgress: (progress) => progress.kind === 'row' && statuses.push(progress.result.status) },
      );
      assert.deepEqual([ended, statuses], ['complete', ['ok']]);
    }
  });
});

test('cancel is heard in the middle of a long CPU case, and the run ends', async (t) => {
  await withClient(
    {},
    async (client) => {
      const abort = new AbortController();
      let abortedMs = 0;
      let ackMs: number | null = null;
      const statuses: string[] = [];
      const long = sampleCase(2, { qLens: 4096, kvLens: 4096, qHeads: 16, kvHeads: 16, headDim: 128, headDimV: 128 });
      const { ended } = await client.run(
        {
          deviceId: 'cpu',
          cases: [sampleCase(1), long, sampleCase(3)],
          options: { ...DEFAULT_RUN_OPTIONS, checkOnly: true, checkRows: 'all', allowSlowCpu: true },
        },
        {
          signal: abort.signal,
          onCancelAck: () => (ackMs = performance.now() - abortedMs),
          onProgress: (progress) => {
            if (progress.kind === 'row') statuses.push(progress.result.status);
            if (progress.kind === 'phase' && progress.caseIndex === 1 && progress.phase === 'check') {
              setTimeout(() => {
                abortedMs = performance.now();
                abort.abort();
              }, 200);
            }
          },
        },
      );
      const tookMs = performance.now() - abortedMs;
      assert.equal(ended, 'cancelled');
      assert.notEqual(ackMs, null, 'the cancel was acknowledged');
      t.diagnostic(`heard after ${Number(ackMs).toFixed(1)} ms, ended after ${tookMs.toFixed(1)} ms`);
      assert.deepEqual(statuses, ['ok', 'cancelled', 'cancelled']);
      assert.equal((await client.probe('nvml')).level, 'nvml');
    },
    patientLadder,
  );
});

const GPU = 'GPU-a0111111-1111-1111-1111-111111111111';
const refusals: readonly [string, string, RegExp][] = [
  ['devices=9.0;apiVersion=12020', 'driverTooOld', /CUDA 12\.8 or newer; installed is 580\.159\.03, CUDA 12\.2/],
  ['devices=9.0;computeMode=2', 'deviceProhibited', /prohibited/],
  ['devices=9.0;computeMode=3;process=4711', 'deviceExclusive', /exclusive-process mode and process 4711/],
  ['devices=9.0;process=4711;utilization=97', 'deviceBusy', /1 other process .*97 % utilisation/],
  ['devices=9.0;mig=0', 'deviceIsMigParent', /MIG/],
  ['', 'deviceNotFound', /There is no device/],
];
for (const [script, code, sentence] of refusals) {
  test(`before a GPU run: ${code} under "${script}"`, async () => {
    await withClient(fakeDriverEnv(script), async (client) => {
      const error = await runKernels({
        client,
        params: { deviceId: GPU, cases: [sampleCase(1)], options: DEFAULT_RUN_OPTIONS },
        logger: silentLogger,
        onRow: () => undefined,
        confirmBusy: () => Promise.resolve(false),
        lockFolder: folder,
      }).catch((caught: unknown) => caught);
      assert.ok(error instanceof DiagError, JSON.stringify(error));
      assert.equal(error.code, code);
      const { what, next } = errorText(error);
      assert.match(`${what} ${next}`, sentence);
    });
  });
}

test('a driver that crashes in cuInit costs the helper, not us, and NVML still answers', async () => {
  await withClient(
    fakeDriverEnv('devices=9.0;crash=cuInit:segv'),
    async (client) => {
      const error = await client.probe('driver').catch((caught: unknown) => caught);
      assert.ok(DiagError.is(error, 'helperGaveUp'));
      assert.match(errorText(error).what, /SIGSEGV/);
      const facts = await client.probe('nvml');
      assert.ok(facts.devices.some((device) => device.kind === 'gpu'));
    },
    fastDeadlines,
  );
});

test('a driver that hangs in cuInit is given up at the deadline, and the CPU device still runs', async () => {
  await withClient(
    fakeDriverEnv('devices=9.0;crash=cuInit:hang'),
    async (client) => {
      const error = await client.probe('driver').catch((caught: unknown) => caught);
      assert.ok(DiagError.is(error, 'requestTimeout'));
      const rows: string[] = [];
      await client.run(
        { deviceId: 'cpu', cases: [sampleCase(1)], options: { ...DEFAULT_RUN_OPTIONS, checkOnly: true } },
        { onProgress: (progress) => void (progress.kind === 'row' && rows.push(progress.result.status)) },
      );
      assert.deepEqual(rows, ['ok']);
    },
    fastDeadlines,
  );
});
