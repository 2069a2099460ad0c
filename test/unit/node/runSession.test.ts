import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import type { Clock } from '../../../extension/core/async';
import { DiagError } from '../../../extension/core/errors';
import { errorText } from '../../../extension/core/errorText';
import { emptyResult } from '../../../extension/core/measure/emptyResult';
import type { DeviceFacts, SystemFacts } from '../../../extension/core/facts';
import { silentLogger } from '../../../extension/core/logger';
import { acquireRunLock } from '../../../extension/node/runLock';
import { runKernels, type BusyGpu, type RunSessionOptions } from '../../../extension/node/runSession';
import { DEFAULT_RUN_OPTIONS, type RunParams } from '../../../extension/protocol/helperApi';
import { sampleCase } from './sampleCase';
import { GPU_ID, sampleFacts, sampleGpu } from './sampleFacts';

const lockFolder = await mkdtemp(path.join(os.tmpdir(), 'run-session-'));
after(() => rm(lockFolder, { recursive: true, force: true }));

interface Outcome {
  readonly ran: RunParams[];
  readonly asked: BusyGpu[];
  readonly error: DiagError | null;
  readonly result: Awaited<ReturnType<typeof runKernels>> | null;
}

/** Waits pass at once. */
const clock: Clock = {
  nowMs: () => 0,
  schedule: (_, callback) => {
    queueMicrotask(callback);
    return () => undefined;
  },
};

/** @param facts what the probes answer, the last one for ever */
async function session(
  facts: SystemFacts | readonly SystemFacts[],
  changes: Partial<RunSessionOptions> & { deviceId?: string; answer?: boolean } = {},
): Promise<Outcome> {
  const ran: RunParams[] = [];
  const asked: BusyGpu[] = [];
  const answers = 'devices' in facts ? [facts] : [...facts];
  const client: RunSessionOptions['client'] = {
    probe: () => {
      const answer = answers.length > 1 ? answers.shift() : answers[0];
      return answer === undefined ? Promise.reject(new Error('no facts')) : Promise.resolve(answer);
    },
    run: (params, { onProgress }) => {
      ran.push(params);
      for (const caseIndex of [1, 0]) {
        onProgress({ kind: 'row', caseIndex, result: emptyResult('unsupported', 'fake', `case ${caseIndex}`) });
      }
      return Promise.resolve({ ended: 'complete' });
    },
  };
  try {
    const result = await runKernels({
      client,
      params: {
        deviceId: changes.deviceId ?? GPU_ID,
        cases: [sampleCase(1), sampleCase(2)],
        options: DEFAULT_RUN_OPTIONS,
      },
      logger: silentLogger,
      onRow: () => undefined,
      confirmBusy: (busy) => {
        asked.push(busy);
        return Promise.resolve(changes.answer ?? false);
      },
      lockFolder,
      clock,
      ...changes,
    });
    return { ran, asked, error: null, result };
  } catch (error) {
    return { ran, asked, error: DiagError.from(error), result: null };
  }
}

test('an idle GPU runs without a question, rows come back in the order of the cases, the lock is given back', async () => {
  const { asked, result } = await session(sampleFacts(sampleGpu()));
  assert.deepEqual(asked, []);
  assert.deepEqual(
    result?.rows.map((row) => [row.case.seed, row.engine, row.deviceId]),
    [
      [1, 'bundled', GPU_ID],
      [2, 'bundled', GPU_ID],
    ],
  );
  assert.deepEqual(await readdir(lockFolder), []);
});

const other = { pid: 4242, kind: 'compute', usedMemoryBytes: 38 * 1024 ** 3 } as const;
const busyGpus: readonly [string, Partial<DeviceFacts>, RegExp][] = [
  ['another process', { processes: [other] }, /1 other process \(38\.0 GiB\)/],
  ['utilisation without visible processes', { utilizationPercent: 87, processes: null }, /87 % utilisation/],
  ['memory somebody holds', { memoryFreeBytes: 12 * 1024 ** 3 }, /12\.0 GiB of 140\.0 GiB free/],
];
for (const [what, changes, figures] of busyGpus) {
  test(`${what} is asked about with the figures, and only a yes runs`, async () => {
    const facts = sampleFacts(sampleGpu(changes));
    const refused = await session(facts, { answer: false });
    assert.match(refused.asked[0]?.summary ?? '', figures);
    assert.equal(refused.error?.code, 'deviceBusy');
    assert.equal(refused.ran.length, 0);
    assert.equal((await session(facts, { answer: true })).ran.length, 1);
  });
}

test('figures that are gone a moment later were our own last run, and nobody is asked', async () => {
  const settled = await session([sampleFacts(sampleGpu({ utilizationPercent: 87 })), sampleFacts(sampleGpu())]);
  assert.deepEqual(settled.asked, []);
  assert.equal(settled.ran.length, 1);
  const listed = await session([sampleFacts(sampleGpu({ processes: [other] })), sampleFacts(sampleGpu())]);
  assert.deepEqual([listed.asked.length, listed.ran.length], [0, 1]);
});

test('our own helper and a desktop on the GPU are not others', async () => {
  const processes = [
    { pid: process.pid, kind: 'compute', usedMemoryBytes: 1 } as const,
    { pid: 77, kind: 'graphics', usedMemoryBytes: 1 } as const,
  ];
  assert.deepEqual((await session(sampleFacts(sampleGpu({ processes })))).asked, []);
});

const unusable: readonly [string, SystemFacts, RegExp][] = [
  ['deviceProhibited', sampleFacts(sampleGpu({ computeMode: 'prohibited' })), /nvidia-smi -c DEFAULT/],
  [
    'deviceExclusive',
    sampleFacts(sampleGpu({ computeMode: 'exclusiveProcess', processes: [other] })),
    /exclusive-process mode and process 4242/,
  ],
  ['deviceIsMigParent', sampleFacts(sampleGpu({ migEnabled: true })), /MIG/],
  ['deviceHidden', sampleFacts(sampleGpu({ cudaIndex: null }), { cudaVisibleDevices: '1' }), /CUDA_VISIBLE_DEVICES=1/],
  [
    'driverTooOld',
    sampleFacts(sampleGpu(), { cudaDriverApiVersion: 12_020, driverVersion: '535.1' }),
    /12\.8.*535\.1.*12\.2/,
  ],
  ['kernelsMissing', sampleFacts(sampleGpu(), { kernelBuild: null }), /no GPU kernels/],
  ['deviceNotFound', sampleFacts(null), /There is no device.*Choose one of: cpu/],
];
for (const [code, facts, sentence] of unusable) {
  test(`${code} has its own sentence and nothing runs`, async () => {
    const { error, ran } = await session(facts, { answer: true });
    assert.equal(error?.code, code);
    const { what, next } = errorText(error);
    assert.match(`${what} ${next}`, sentence);
    assert.equal(ran.length, 0);
  });
}

test('exclusive-process mode with nobody on it, and a MIG instance, run', async () => {
  assert.equal((await session(sampleFacts(sampleGpu({ computeMode: 'exclusiveProcess' })))).ran.length, 1);
  const id = 'MIG-0a1b2c3d-1111-2222-3333-444455556666';
  const instance = sampleGpu({ id, uuid: id, migEnabled: true });
  assert.equal((await session(sampleFacts(instance), { deviceId: id })).ran.length, 1);
});

test('a GPU that another run of ours holds is refused before anybody is asked', async () => {
  const giveBack = await acquireRunLock(GPU_ID, silentLogger, lockFolder);
  const { error, asked } = await session(sampleFacts(sampleGpu({ processes: [other] })));
  assert.equal(error?.code, 'runLocked');
  assert.deepEqual(asked, []);
  await giveBack();
});

test('the CPU device needs no kernels, no driver and no lock', async () => {
  const facts = sampleFacts(sampleGpu({ processes: [other] }), { kernelBuild: null, cudaDriverApiVersion: null });
  const { ran, asked } = await session(facts, { deviceId: 'cpu' });
  assert.equal(ran.length, 1);
  assert.deepEqual(asked, []);
});

test('cancelling while the question is open ends the run and frees the lock', async () => {
  const abort = new AbortController();
  const { error, ran } = await session(sampleFacts(sampleGpu({ processes: [other] })), {
    signal: abort.signal,
    confirmBusy: () => {
      setImmediate(() => abort.abort());
      return new Promise(() => undefined);
    },
  });
  assert.equal(error?.code, 'cancelled');
  assert.equal(ran.length, 0);
  assert.deepEqual(await readdir(lockFolder), []);
});
