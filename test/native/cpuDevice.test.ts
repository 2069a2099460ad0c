/** The CPU device through the addon: results, progress, refusals, cancel and closing. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import * as v from 'valibot';
import { caseResultSchema, type AttentionCase, type CaseResult } from '../../extension/core/attentionCase';
import type { DeviceSession } from '../../native/index';
import type { RunOptions } from '../../extension/protocol/helperApi';
import { ADDON_PATH, loadAddon, runScript } from './support/addon';
import { makeCase, makeOptions } from './support/cases';

const addon = loadAddon();
let session: DeviceSession;

before(async () => {
  session = await addon.openDevice('cpu', null);
});
after(() => session.close());

async function run(changes: Partial<AttentionCase>, options: Partial<RunOptions> = {}): Promise<CaseResult> {
  return v.parse(caseResultSchema, await session.runCase(makeCase(changes), makeOptions(options), () => undefined));
}

/** Minutes on any CPU. */
const HUGE: Partial<AttentionCase> = { headDim: 128, qHeads: 32, kvHeads: 8, qLens: 16_384, kvLens: 16_384 };

test('an ok result is complete, labelled as CPU and within rounding', async () => {
  const phases: string[] = [];
  const spec = makeCase({ qLens: 128, kvLens: 256, headDim: 128, pageSize: 16 });
  const result = v.parse(caseResultSchema, await session.runCase(spec, makeOptions(), (phase) => phases.push(phase)));
  assert.equal(result.status, 'ok');
  assert.equal(result.reason, null);
  assert.deepEqual(phases, ['allocate', 'check', 'warmup', 'time']);
  assert.deepEqual(result.kernel, { name: 'cpu_tiled_f64', headDimTile: 128, target: 'cpu', numSplits: 1 });
  assert.equal(result.checkedRows, 128 * 2);
  assert.ok(result.relError !== null && result.roundingFloor !== null && result.lseError !== null);
  assert.ok(result.relError > 0 && result.relError <= 1.25 * result.roundingFloor);
  assert.ok(result.lseError < 1e-9);
  assert.ok(result.gpuMs !== null && result.tflops !== null && result.tbps !== null);
  assert.ok(result.gpuMs.p10 <= result.gpuMs.median && result.gpuMs.median <= result.gpuMs.p90);
  const pairs = (128 * 129) / 2 + 128 * 128;
  const flops = 2 * (128 + 128) * pairs * 2;
  assert.ok(Math.abs(result.tflops / (flops / (result.gpuMs.median * 1e9)) - 1) < 1e-9);
  const kvBytes = 256 * (128 + 128) * 2;
  assert.ok(Math.abs(result.tbps / (kvBytes / (result.gpuMs.median * 1e9)) - 1) < 1e-9);
  for (const field of ['percentOfCeiling', 'ceiling', 'smClockMHz', 'jitMs', 'hostUs'] as const) {
    assert.equal(result[field], null);
  }
});

test('ceilings are unknown on the CPU', async () => {
  const ceilings = await session.ceilings(makeOptions());
  assert.deepEqual(new Set(Object.values(ceilings)), new Set([null]));
});

test('check only gives no time', async () => {
  const result = await run({}, { checkOnly: true });
  assert.equal(result.status, 'ok');
  assert.equal(result.gpuMs, null);
  assert.equal(result.tflops, null);
});

test('sampling checks as many rows as asked for', async () => {
  assert.equal((await run({ qLens: 100, kvLens: 100 }, { checkRows: 10 })).checkedRows, 10);
});

test('the log-sum-exp is compared whether the case asks for it or not', async () => {
  const { lseError } = await run({ lse: false });
  assert.ok(lseError !== null && lseError < 1e-9);
});

test('a case without keys is right, and reads nothing', async () => {
  const result = await run({ kvLens: 0, qLens: 3 });
  assert.equal(result.status, 'ok');
  assert.equal(result.relError, 0);
  assert.equal(result.lseError, 0);
  assert.equal(result.tbps, 0);
});

test('the same case twice gives the same error to the last bit', async () => {
  const spec: Partial<AttentionCase> = { qLens: 50, kvLens: 300, qHeads: 4, kvHeads: 2, pageSize: 32 };
  const [first, second] = [await run(spec), await run(spec)];
  assert.equal(first.relError, second.relError);
  assert.notEqual((await run({ ...spec, seed: 8 })).relError, first.relError);
});

const UNSUPPORTED: ReadonlyArray<readonly [changes: Partial<AttentionCase>, code: string, says: RegExp]> = [
  [{ headDim: 0 }, 'headDim', /headDim 0 is outside 8 to 512/],
  [{ headDim: 7 }, 'headDim', /headDim 7/],
  [{ headDim: 100 }, 'headDim', /not a multiple of 8.*104/],
  [{ headDim: 100_000 }, 'headDim', /outside 8 to 512/],
  [{ headDimV: 4 }, 'headDimV', /headDimV 4/],
  [{ pageSize: 24 }, 'pageSize', /pageSize 24 is not one of 16, 32, 64, 128 and 256/],
  [{ pageSize: 0 }, 'pageSize', /pageSize 0/],
  [{ qHeads: 3, kvHeads: 2 }, 'headGroup', /qHeads 3 is not a multiple of kvHeads 2/],
  [{ qHeads: 0 }, 'qHeads', /at least one/],
  [{ kvHeads: 0 }, 'kvHeads', /at least one/],
  [{ batch: 0 }, 'batch', /at least one/],
  [{ batch: 2, kvLens: [1, 2, 3] }, 'kvLens', /3 lengths for a batch of 2/],
  [{ batch: 2, qLens: [1] }, 'qLens', /1 lengths for a batch of 2/],
  [{ qLens: 0 }, 'noQueries', /Every qLen is 0/],
  [{ causal: false, window: 16 }, 'window', /needs causal/],
  [{ kvScale: 2 }, 'kvScale', /fp8 KV only/],
  [{ op: 'mlaDecode' }, 'mlaShape', /headDim 576/],
];

for (const [changes, code, says] of UNSUPPORTED) {
  test(`${JSON.stringify(changes)} is unsupported: ${code}`, async () => {
    const result = await run(changes);
    assert.equal(result.status, 'unsupported');
    assert.equal(result.reason?.code, code);
    assert.match(result.reason.text, says);
    assert.match(result.reason.text, /\.$/, 'a whole sentence');
    assert.equal(result.checkedRows, 0);
    assert.equal(result.gpuMs, null);
  });
}

test('a case of more than ten seconds is refused before anything of it runs, with the estimate', async () => {
  const phases: string[] = [];
  const refused = await session.runCase(makeCase(HUGE), makeOptions({ checkRows: 256 }), (phase) => phases.push(phase));
  const result = v.parse(caseResultSchema, refused);
  assert.deepEqual(phases, []);
  assert.equal(result.status, 'unsupported');
  assert.equal(result.reason?.code, 'tooLargeForCpu');
  assert.match(result.reason.text, /about \d{2,} s/);
});

test('a case larger than memory is out of memory, not a crash', async () => {
  const beyond: Partial<AttentionCase> = {
    headDim: 512,
    qHeads: 64,
    kvHeads: 64,
    batch: 64,
    kvLens: 4_000_000,
    qLens: 1,
  };
  const result = await run(beyond, { allowSlowCpu: true });
  assert.equal(result.status, 'outOfMemory');
  assert.match(result.reason?.text ?? '', /GB/);
});

test('cancel is heard in every phase, and the next run works', async (t) => {
  for (const delayMs of [0, 150, 600]) {
    let cancelledMs = 0;
    const running = session.runCase(makeCase(HUGE), makeOptions({ allowSlowCpu: true }), () => undefined);
    setTimeout(() => {
      cancelledMs = performance.now();
      session.cancel();
    }, delayMs);
    const result = await running;
    assert.equal(result.status, 'cancelled');
    assert.equal(result.gpuMs, null);
    // The case itself takes minutes: to have ended at all is to have been cancelled.
    t.diagnostic(`cancelled ${(performance.now() - cancelledMs).toFixed(1)} ms after it was asked for`);
  }
  assert.equal((await run({})).status, 'ok', 'a cancel does not outlive its call');
});

test('cancel without a running call does nothing', async () => {
  session.cancel();
  assert.equal((await run({})).status, 'ok');
});

test('a second call while one runs is refused', async () => {
  const running = session.runCase(makeCase(HUGE), makeOptions({ allowSlowCpu: true }), () => undefined);
  await assert.rejects(session.ceilings(makeOptions()), { code: 'busy' });
  session.cancel();
  assert.equal((await running).status, 'cancelled');
});

test('two sessions run side by side', async () => {
  const other = await addon.openDevice('cpu', null);
  const [first, second] = await Promise.all([
    session.runCase(makeCase(), makeOptions(), () => undefined),
    other.runCase(makeCase(), makeOptions(), () => undefined),
  ]);
  assert.equal(first.status, 'ok');
  assert.equal(second.status, 'ok');
  other.close();
});

test('close during a run stops it; calls after it are refused; closing twice is harmless', async () => {
  const other = await addon.openDevice('cpu', null);
  const running = other.runCase(makeCase(HUGE), makeOptions({ allowSlowCpu: true }), () => undefined);
  other.close();
  assert.equal((await running).status, 'cancelled');
  await assert.rejects(other.ceilings(makeOptions()), { code: 'closed' });
  other.close();
});

test('arguments of the wrong type are refused by name', async () => {
  const call = (
    spec: unknown,
    options: unknown = makeOptions(),
    onPhase: unknown = () => undefined,
  ): Promise<unknown> =>
    (session.runCase as (...args: unknown[]) => Promise<unknown>).call(session, spec, options, onPhase);
  const refused = (message: RegExp): object => ({ code: 'invalidArgument', message });
  await assert.rejects(call(null), refused(/expected an object/));
  await assert.rejects(call({ ...makeCase(), headDim: '64' }), refused(/headDim is not an integer/));
  await assert.rejects(call({ ...makeCase(), headDim: 64.5 }), refused(/headDim is not an integer/));
  await assert.rejects(call({ ...makeCase(), headDim: Infinity }), refused(/headDim is not an integer/));
  await assert.rejects(call({ ...makeCase(), op: 'train' }), refused(/op is not one of the known names/));
  await assert.rejects(call({ ...makeCase(), qLens: [1, 'x'] }), refused(/qLens is not integers/));
  await assert.rejects(call(makeCase(), {}), refused(/targetMs is not a number/));
  await assert.rejects(call(makeCase(), makeOptions(), 3), refused(/onPhase is not a function/));
});

test('the largest preset of the CPU size is not too large', async (t) => {
  const startMs = performance.now();
  const options = makeOptions({ targetMs: 200, warmupMs: 500, checkRows: 256 });
  const prefill = makeCase({ headDim: 512, qLens: 128, kvLens: 1024, qHeads: 2, pageSize: 16 });
  assert.equal((await session.runCase(prefill, options, () => undefined)).status, 'ok');
  t.diagnostic(`${(performance.now() - startMs).toFixed(0)} ms`);
});

test('a process ends by itself while a session is open, and when it exits during a run', async () => {
  const open = `require(process.argv[1]).openDevice('cpu', null).then(() => process.stdout.write('open'));`;
  const idle = await runScript(open, [ADDON_PATH], {});
  assert.deepEqual([idle.code, idle.stdout], [0, 'open']);

  const exitDuringRun = `
    const spec = ${JSON.stringify(makeCase(HUGE))};
    const options = ${JSON.stringify(makeOptions({ allowSlowCpu: true }))};
    require(process.argv[1]).openDevice('cpu', null).then((session) => {
      session.runCase(spec, options, () => {});
      setTimeout(() => process.exit(7), 200);
    });`;
  const exited = await runScript(exitDuringRun, [ADDON_PATH], {});
  assert.deepEqual([exited.code, exited.signal], [7, null]);
});

test('worker threads have an addon of their own', async () => {
  const script = `
    const { Worker, isMainThread, workerData } = require('node:worker_threads');
    const body = \`
      const { workerData, parentPort } = require('node:worker_threads');
      require(workerData).probe('nvml', null).then((facts) => parentPort.postMessage(facts.devices.length));\`;
    Promise.all([0, 1].map(() => new Promise((resolve, reject) => {
      const worker = new Worker(body, { eval: true, workerData: process.argv[1] });
      worker.on('message', resolve).on('error', reject);
    }))).then((counts) => process.stdout.write(JSON.stringify(counts)));`;
  const end = await runScript(script, [ADDON_PATH], { ATTN_DIAG_NVML_LIBRARY: '/nowhere.so' });
  assert.deepEqual([end.code, end.stdout], [0, '[1,1]'], end.stderr);
});

test('a worker thread that is terminated during a run takes nothing down with it', async () => {
  const script = `
    const { Worker } = require('node:worker_threads');
    const body = \`
      const { workerData, parentPort } = require('node:worker_threads');
      const { addonPath, spec, options } = workerData;
      require(addonPath).openDevice('cpu', null).then((session) => {
        session.runCase(spec, options, (phase) => parentPort.postMessage(phase));
      });\`;
    const workerData = {
      addonPath: process.argv[1],
      spec: ${JSON.stringify(makeCase({ ...HUGE, qLens: 1024, kvLens: 1024 }))},
      options: ${JSON.stringify(makeOptions({ allowSlowCpu: true, checkRows: 4, targetMs: 1 }))},
    };
    const worker = new Worker(body, { eval: true, workerData });
    worker.once('message', () => worker.terminate());
    // the run goes on in its thread for a moment after its environment is gone
    worker.once('exit', () => setTimeout(() => process.stdout.write('alive'), 3000));`;
  const end = await runScript(script, [ADDON_PATH], {});
  assert.deepEqual([end.code, end.signal, end.stdout], [0, null, 'alive'], end.stderr);
});
