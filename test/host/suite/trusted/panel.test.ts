import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import { activated, SECTION, until } from '../support';

/** Things a page under someone else's control could post. */
const HOSTILE: readonly unknown[] = [
  null,
  undefined,
  42,
  'run',
  [],
  {},
  { type: 'executeCommand', command: 'workbench.action.terminal.new' },
  { type: 'setSystemFlashAttn', on: 'true' },
  { type: 'selectDevice', deviceId: 'x'.repeat(100_000) },
  { type: 'setRequest', request: { headDims: Array.from({ length: 100_000 }, () => 64) } },
  { type: 'setWhatIfFamily', capability: [-1, Number.NaN] },
  { type: 'applyFix', findingId: '../../etc/passwd', fixId: '__proto__' },
  JSON.parse('{"type":"setSystemFlashAttn","__proto__":{"on":true}}'),
];

describe('panel', () => {
  it('opens, says it is ready, and gets a snapshot with this machine’s devices', async () => {
    const api = await activated();
    await vscode.commands.executeCommand(`${SECTION}.openPanel`);
    const model = await until('a snapshot', () => api.lastPanelModel());
    assert.equal(model.trustNotice, null);
    const facts = await until('the probe', () => api.state().facts.status === 'ready' && api.state().facts);
    assert.ok(facts.status === 'ready' && facts.value.devices.some((device) => device.kind === 'cpu'));
    await until('the status bar', () => api.statusBar().probed);
    assert.doesNotMatch(api.statusBar().text, /not probed/);
  });

  it('cannot be made to do anything by messages that are no intents', async () => {
    const api = await activated();
    const before = { ...api.state() };
    const terminals = vscode.window.terminals.length;
    for (const message of HOSTILE) api.receiveFromPanel(message);
    // A message that parses after all would act within this time.
    await new Promise((resolve) => setTimeout(resolve, 500));
    assert.equal(vscode.window.terminals.length, terminals);
    assert.deepEqual(api.state().flag, before.flag);
    assert.deepEqual(api.state().form, before.form);
    assert.equal(api.state().run.kind, before.run.kind);
    assert.equal(api.state().whatIfCapability, before.whatIfCapability);
  });

  it('takes an intent from the closed list right after', async () => {
    const api = await activated();
    api.receiveFromPanel({ type: 'setWhatIfFamily', capability: [9, 0] });
    await until('the family', () => api.state().whatIfCapability?.join('.') === '9.0');
    assert.match(api.statusBar().text, /if SM90/);
    api.receiveFromPanel({ type: 'setWhatIfFamily', capability: null });
    await until('the device’s own family', () => api.state().whatIfCapability === null);
  });
});
