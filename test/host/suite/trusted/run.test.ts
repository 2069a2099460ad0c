/** Runs on the CPU device, which every machine has: to the end, cancelled, and with the helper killed. */
import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import type { TestApi } from '../../../../extension/container';
import { activated, helperPids, restingRun, SECTION, until } from '../support';

const SMALL = {
  op: 'prefill',
  dtype: 'bf16',
  headDims: [64, 128],
  pageSizes: [null, 16],
  qHeads: 2,
  kvHeads: 1,
  batch: 1,
  qLen: 64,
  kvLen: 128,
  causal: true,
} as const;

/** Enough work for one case to be interrupted in, still below what the CPU device refuses. */
const LONG = { ...SMALL, headDims: [256], pageSizes: [null, 16, 32, 64], qHeads: 4, qLen: 512, kvLen: 1024 } as const;

async function onCpu(api: TestApi, request: object): Promise<void> {
  await vscode.commands.executeCommand(`${SECTION}.openPanel`);
  await until('the probe', () => api.state().facts.status === 'ready');
  api.receiveFromPanel({ type: 'selectDevice', deviceId: 'cpu' });
  api.receiveFromPanel({ type: 'setRequest', request });
  await until(
    'the request',
    () => api.state().selectedDeviceId === 'cpu' && JSON.stringify(api.state().form) === JSON.stringify(request),
  );
}

describe('a run', () => {
  afterEach(async () => await restingRun(await activated()));

  it('measures every case with a correctness check beside each time', async () => {
    const api = await activated();
    await onCpu(api, SMALL);
    // An earlier run may have left its end behind.
    const before = api.state().run;
    api.receiveFromPanel({ type: 'run' });
    const ended = (): boolean => api.state().run !== before && api.state().run.kind === 'finished';
    const run = await until('the end of the run', () => ended() && api.state().run, 60_000);
    assert.ok(run.kind === 'finished' && run.ended === 'complete', JSON.stringify(run));
    const rows = api.state().rows.filter((row) => row.deviceId === 'cpu');
    assert.equal(rows.length, 4);
    for (const { result } of rows) {
      assert.equal(result.status, 'ok', JSON.stringify(result.reason));
      assert.ok(result.checkedRows > 0 && result.relError !== null && result.relError < 0.02);
      assert.ok(result.gpuMs !== null && result.gpuMs.median > 0);
    }
  });

  it('ends soon after it is cancelled', async () => {
    const api = await activated();
    await onCpu(api, LONG);
    void vscode.commands.executeCommand(`${SECTION}.runKernels`);
    await until('a phase', () => 'phase' in api.state().run && (api.state().run as { phase: unknown }).phase !== null);
    const cancelledAtMs = Date.now();
    await vscode.commands.executeCommand(`${SECTION}.cancelRun`);
    const run = await until('the end of the run', () => api.state().run.kind === 'finished' && api.state().run);
    const tookMs = Date.now() - cancelledAtMs;
    console.log(`[test] cancelled in ${tookMs} ms`);
    assert.ok(run.kind === 'finished' && run.ended === 'cancelled', JSON.stringify(run));
  });

  it('survives SIGKILL of its helper, and the next run works', async () => {
    const api = await activated();
    await onCpu(api, LONG);
    void vscode.commands.executeCommand(`${SECTION}.runKernels`);
    await until('a phase', () => 'phase' in api.state().run && (api.state().run as { phase: unknown }).phase !== null);
    const [pid] = await until('a helper', () => helperPids().length > 0 && helperPids());
    assert.ok(pid !== undefined);
    process.kill(pid, 'SIGKILL');
    await until('the end of the run', () => api.state().run.kind === 'finished', 60_000);
    const crashed = api.state().rows.filter((row) => row.result.status === 'crashed');
    const { run } = api.state();
    assert.ok(
      crashed.length > 0 || (run.kind === 'finished' && run.failure !== null),
      'nobody said that the helper was killed',
    );

    await onCpu(api, SMALL);
    await vscode.commands.executeCommand(`${SECTION}.runKernels`);
    const next = await until('the next run', () => api.state().run.kind === 'finished' && api.state().run, 60_000);
    assert.ok(
      next.kind === 'finished' && next.ended === 'complete' && (next.counts.ok ?? 0) === 4,
      JSON.stringify(next),
    );
  });
});
