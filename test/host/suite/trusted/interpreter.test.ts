/** Another Python interpreter in the settings is another environment: nothing of the first one stays on screen. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import * as vscode from 'vscode';
import { activated, SECTION, until } from '../support';

async function setInterpreter(value: string | undefined): Promise<void> {
  await vscode.workspace.getConfiguration(SECTION).update('pythonPath', value, vscode.ConfigurationTarget.Global);
}

describe('the interpreter of the settings', () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'abd-python-'));
  const interpreters = ['first', 'second'].map((name) => {
    const interpreter = path.join(folder, name);
    symlinkSync('/usr/bin/python3', interpreter);
    return interpreter;
  });

  after(async () => {
    await setInterpreter(undefined);
    rmSync(folder, { recursive: true });
  });

  it('is inspected again when it changes, once it was inspected', async () => {
    const api = await activated();
    const [first, second] = interpreters;
    const inspected = (): string | null => {
      const { interpreter, environment } = api.state();
      return environment.status === 'ready' ? interpreter : null;
    };
    await setInterpreter(first);
    api.receiveFromPanel({ type: 'probe' });
    await until('the first inspection', () => inspected() === first);
    await setInterpreter(second);
    await until('the second inspection', () => inspected() === second);
    await setInterpreter(path.join(folder, 'missing'));
    const { environment } = await until(
      'the refusal',
      () => api.state().environment.status === 'failed' && api.state(),
    );
    assert.ok(environment.status === 'failed' && environment.lastGood === null);
  });
});
