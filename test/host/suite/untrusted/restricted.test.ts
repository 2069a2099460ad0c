/** Restricted mode: the folder is not trusted, and nobody answers the question. */
import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import { activated, EXTENSION_ID, SECTION, until } from '../support';

describe('in a folder that is not trusted', () => {
  it('the extension still works, in the limits it declares', async () => {
    assert.equal(vscode.workspace.isTrusted, false);
    await activated();
    const manifest = vscode.extensions.getExtension(EXTENSION_ID)?.packageJSON as {
      readonly capabilities: { readonly untrustedWorkspaces: { readonly supported: unknown } };
    };
    assert.equal(manifest.capabilities.untrustedWorkspaces.supported, 'limited');
  });

  it('the panel opens and says what is missing', async () => {
    const api = await activated();
    await vscode.commands.executeCommand(`${SECTION}.openPanel`);
    const model = await until('a snapshot', () => api.lastPanelModel());
    assert.equal(typeof model.trustNotice, 'string');
    assert.equal(api.state().trusted, false);
  });

  it('an interpreter chosen by the workspace is not taken over', async () => {
    const configuration = vscode.workspace.getConfiguration(SECTION);
    await configuration
      .update('pythonPath', '/tmp/not-trusted/python', vscode.ConfigurationTarget.Workspace)
      .then(undefined, () => undefined);
    assert.notEqual(vscode.workspace.getConfiguration(SECTION).get('pythonPath'), '/tmp/not-trusted/python');
  });
});
