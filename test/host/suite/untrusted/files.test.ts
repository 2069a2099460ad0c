/** Files are read in restricted mode too, so a folder from anywhere must not be able to hang or fill the editor with them. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { symlinkSync } from 'node:fs';
import path from 'node:path';
import * as vscode from 'vscode';
import { activated, SECTION, until } from '../support';

describe('files that a folder names', () => {
  const folder = vscode.workspace.workspaceFolders?.[0]?.uri.fsPath ?? '';

  for (const [what, key, part, make] of [
    ['a pipe that nobody fills', 'modelPath', 'model', (file: string) => execFileSync('mkfifo', [file])],
    ['a link to a device without end', 'serveConfigPath', 'serve', (file: string) => symlinkSync('/dev/zero', file)],
  ] as const) {
    it(`are refused when they are ${what}`, async () => {
      const api = await activated();
      make(path.join(folder, `${key}.json`));
      const configuration = vscode.workspace.getConfiguration(SECTION);
      await configuration.update(key, `${key}.json`, vscode.ConfigurationTarget.Workspace);
      const state = await until('the refusal', () => api.state()[part].status === 'failed' && api.state()[part]);
      assert.ok(state.status === 'failed' && /is not a file/.test(state.failure.what), JSON.stringify(state));
      await configuration.update(key, undefined, vscode.ConfigurationTarget.Workspace);
    });
  }
});
