/** The universal package: no addon and no kernels in it. */
import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import { activated, helperPids, SECTION, until } from '../support';

describe('the package without native parts', () => {
  it('says why nothing can be measured', async () => {
    const api = await activated();
    await vscode.commands.executeCommand(`${SECTION}.openPanel`);
    // Activation reads no disk, so this is known once the panel asks.
    const measureBlocked = await until('the reason', () => api.state().capabilities.measureBlocked);
    assert.match(measureBlocked, /no native helper/);
    const quoted = JSON.stringify(measureBlocked).slice(1, -1);
    await until('the panel to say it', () => JSON.stringify(api.lastPanelModel()).includes(quoted));
  });

  it('still answers the declared question for any SM family', async () => {
    const api = await activated();
    await vscode.commands.executeCommand(`${SECTION}.openPanel`);
    api.receiveFromPanel({ type: 'setWhatIfFamily', capability: [9, 0] });
    const derived = await until(
      'the answer of the rules',
      () => api.state().derived.status === 'ready' && api.state().derived,
    );
    assert.ok(derived.status === 'ready' && derived.value.flagOff.cells.length > 0);
    assert.deepEqual(derived.value.capability, [9, 0]);
  });

  it('refuses a run with that sentence instead of failing', async () => {
    const api = await activated();
    // Opening the panel has asked a helper, which said that it has no addon; that one may still be there.
    const before = helperPids();
    await vscode.commands.executeCommand(`${SECTION}.runKernels`);
    assert.notEqual(api.state().run.kind, 'running');
    assert.deepEqual(
      helperPids().filter((pid) => !before.includes(pid)),
      [],
    );
  });
});
