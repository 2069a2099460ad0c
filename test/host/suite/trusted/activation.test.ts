/** First file of the suite by name: nothing has been asked of the extension yet. */
import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import { activated, EXTENSION_ID, helperPids } from '../support';

/** When VS Code begins to call an extension host unresponsive. The budget of 50 ms is a figure to record, not to fail on. */
const ACTIVATION_CEILING_MS = 3000;

describe('activation', () => {
  it('starts no process', async () => {
    await activated();
    assert.equal(vscode.extensions.getExtension(EXTENSION_ID)?.isActive, true);
    assert.deepEqual(helperPids(), []);
  });

  it('takes a moment', async () => {
    const { activationMs } = await activated();
    console.log(`[test] activation took ${activationMs.toFixed(1)} ms`);
    assert.ok(activationMs > 0 && activationMs < ACTIVATION_CEILING_MS, `${activationMs} ms`);
  });

  it('says in the status bar that nothing was probed', async () => {
    const model = (await activated()).statusBar();
    assert.equal(model.probed, false);
    assert.match(model.text, /not probed/);
    assert.match(model.accessibilityLabel, /has not been probed/);
  });
});
