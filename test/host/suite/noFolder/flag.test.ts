/** A window without a folder: there are no workspace settings to write to. */
import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import { patch, restorePatches } from '../patched';
import { activated, SECTION, until } from '../support';

const KEY = 'useSystemFlashAttn';

describe('use_system_flash_attn without a folder', () => {
  const configuration = (): vscode.WorkspaceConfiguration => vscode.workspace.getConfiguration(SECTION);

  afterEach(async () => {
    restorePatches();
    await configuration().update(KEY, undefined, vscode.ConfigurationTarget.Global);
  });

  for (const [from, flip] of [
    ['the command', () => vscode.commands.executeCommand(`${SECTION}.toggleSystemFlashAttn`)],
    ['the panel’s switch', async () => (await activated()).receiveFromPanel({ type: 'setSystemFlashAttn', on: true })],
  ] as const) {
    it(`is written to the user settings by ${from}, which says so`, async () => {
      assert.equal(vscode.workspace.workspaceFolders, undefined);
      const api = await activated();
      const said: string[] = [];
      patch(vscode.window, 'showInformationMessage', (message: string) => {
        said.push(message);
        return Promise.resolve(undefined);
      });
      await flip();
      await until('the setting', () => configuration().inspect(KEY)?.globalValue === true);
      await until('the flag', () => api.state().flag.value);
      assert.equal(configuration().inspect(KEY)?.workspaceValue, undefined);
      assert.equal(api.state().flag.setIn, 'user');
      await until('the word', () => said.length > 0);
      assert.deepEqual(said, [
        'use_system_flash_attn is now on (written to user settings, because no folder is open).',
      ]);
    });
  }
});
