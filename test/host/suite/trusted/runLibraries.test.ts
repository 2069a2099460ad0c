/** Measuring installed libraries: what is said without an interpreter, and with one that has no torch. */
import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import type { TestApi } from '../../../../extension/container';
import { patch, restorePatches } from '../patched';
import { activated, restingRun, SECTION, until } from '../support';

const SMALL = {
  op: 'prefill',
  dtype: 'bf16',
  headDims: [64],
  pageSizes: [16],
  qHeads: 2,
  kvHeads: 1,
  batch: 1,
  qLen: 16,
  kvLen: 32,
  causal: true,
} as const;

async function onCpu(api: TestApi): Promise<void> {
  await vscode.commands.executeCommand(`${SECTION}.openPanel`);
  await until('the probe', () => api.state().facts.status === 'ready');
  api.receiveFromPanel({ type: 'selectDevice', deviceId: 'cpu' });
  api.receiveFromPanel({ type: 'setRequest', request: SMALL });
  await until('the request', () => JSON.stringify(api.state().form) === JSON.stringify(SMALL));
}

async function setInterpreter(value: string | undefined): Promise<void> {
  await vscode.workspace.getConfiguration(SECTION).update('pythonPath', value, vscode.ConfigurationTarget.Global);
}

describe('measuring installed libraries', () => {
  afterEach(async () => {
    restorePatches();
    await setInterpreter(undefined);
    await restingRun(await activated());
  });

  it('is refused in plain words, with the next step, when no interpreter is known', async () => {
    const api = await activated();
    await onCpu(api);
    const said: string[] = [];
    patch(vscode.window, 'showErrorMessage', (message: string) => {
      said.push(message);
      return Promise.resolve(undefined);
    });
    await vscode.commands.executeCommand(`${SECTION}.measureBackends`);
    assert.equal(said.length, 1);
    assert.match(said[0] ?? '', /No Python interpreter is known.*attentionDiagnostics\.pythonPath/);
    assert.notEqual(api.state().run.kind, 'running');
  });

  it('lists what is not there with why, and the bundled kernels run all the same', async () => {
    const api = await activated();
    await onCpu(api);
    await setInterpreter('/usr/bin/python3');
    await vscode.commands.executeCommand(`${SECTION}.measureBackends`);
    const { run, libraries, rows } = api.state();
    assert.ok(run.kind === 'finished' && run.ended === 'complete', JSON.stringify(run));
    assert.ok(libraries.length >= 10);
    for (const library of libraries) assert.ok(library.available || (library.reason?.text ?? '') !== '');
    assert.ok(rows.some((row) => row.engine === 'bundled' && row.result.status === 'ok'));
  });
});
