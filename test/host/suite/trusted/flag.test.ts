/** `use_system_flash_attn`: one workspace setting, whoever changes it. */
import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import { activated, SECTION, until } from '../support';

const KEY = 'useSystemFlashAttn';

function setting(): boolean | undefined {
  return vscode.workspace.getConfiguration(SECTION).get<boolean>(KEY);
}

describe('use_system_flash_attn', () => {
  afterEach(async () => {
    await vscode.workspace.getConfiguration(SECTION).update(KEY, undefined, vscode.ConfigurationTarget.Workspace);
    await until('the default again', () => setting() === false);
  });

  it('follows the setting', async () => {
    const api = await activated();
    await vscode.workspace.getConfiguration(SECTION).update(KEY, true, vscode.ConfigurationTarget.Workspace);
    const flag = await until('the flag', () => api.state().flag.value && api.state().flag);
    assert.equal(flag.setIn, 'workspace');
    assert.match(api.statusBar().accessibilityLabel, /use_system_flash_attn on/);
  });

  it('is written to the workspace by the command, and back', async () => {
    const api = await activated();
    await vscode.commands.executeCommand(`${SECTION}.toggleSystemFlashAttn`);
    await until('the setting', () => setting() === true);
    assert.equal(vscode.workspace.getConfiguration(SECTION).inspect(KEY)?.workspaceValue, true);
    assert.equal(api.state().flag.value, true);
    await vscode.commands.executeCommand(`${SECTION}.toggleSystemFlashAttn`);
    await until('the setting off', () => setting() === false);
    assert.equal(api.state().flag.value, false);
  });

  it('is written by the panel’s switch', async () => {
    const api = await activated();
    api.receiveFromPanel({ type: 'setSystemFlashAttn', on: true });
    await until('the setting', () => setting() === true);
    assert.equal(api.state().flag.value, true);
  });

  it('of the wrong type counts as not set', async () => {
    const api = await activated();
    await vscode.workspace.getConfiguration(SECTION).update(KEY, 'yes please', vscode.ConfigurationTarget.Workspace);
    await until(
      'the odd value',
      () => vscode.workspace.getConfiguration(SECTION).inspect(KEY)?.workspaceValue === 'yes please',
    );
    assert.deepEqual(api.state().flag, { value: false, setIn: 'default' });
  });
});
