/** A command is over when its work is done, however long its toast stays on screen. */
import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import { patch, restorePatches } from '../patched';
import { activated, SECTION, until } from '../support';

describe('a toast that nobody dismisses', () => {
  const said: string[] = [];

  beforeEach(async () => {
    said.length = 0;
    await activated();
    patch(vscode.window, 'showInformationMessage', (message: string) => {
      said.push(message);
      return new Promise<undefined>(() => undefined);
    });
  });
  afterEach(restorePatches);

  it('does not keep “Copy Serve Arguments” open', async () => {
    let copied = '';
    patch(vscode.env, 'clipboard', {
      readText: () => Promise.resolve(copied),
      writeText: (text) => {
        copied = text;
        return Promise.resolve();
      },
    });
    const api = await activated();
    api.receiveFromPanel({ type: 'setWhatIfFamily', capability: [9, 0] });
    await until('the rules', () => api.state().derived.status === 'ready');
    await vscode.commands.executeCommand(`${SECTION}.copyServeArgs`);
    api.receiveFromPanel({ type: 'setWhatIfFamily', capability: null });
    assert.notEqual(copied, '');
    assert.ok(said[0]?.includes(copied), said[0]);
  });

  it('does not keep “Export Report” open', async () => {
    const folder = vscode.workspace.workspaceFolders?.[0]?.uri;
    assert.ok(folder);
    const target = vscode.Uri.joinPath(folder, 'exported.json');
    patch(vscode.window, 'showSaveDialog', () => Promise.resolve(target));
    const api = await activated();
    await vscode.commands.executeCommand(`${SECTION}.openPanel`);
    await until('the probe', () => api.state().facts.status === 'ready');
    await vscode.commands.executeCommand(`${SECTION}.exportReport`);
    const report = JSON.parse(new TextDecoder().decode(await vscode.workspace.fs.readFile(target))) as object;
    assert.ok('facts' in report);
    assert.deepEqual(said, ['The report is in exported.json.']);
  });
});
