import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import { activated, EXTENSION_ID, SECTION } from '../support';

interface Manifest {
  readonly contributes: { readonly commands: readonly { readonly command: string }[] };
}

describe('commands', () => {
  it('are declared exactly as they are registered', async () => {
    await activated();
    const manifest = vscode.extensions.getExtension(EXTENSION_ID)?.packageJSON as Manifest;
    const declared = manifest.contributes.commands.map(({ command }) => command).sort();
    const registered = (await vscode.commands.getCommands(true)).filter((id) => id.startsWith(`${SECTION}.`)).sort();
    assert.ok(declared.length > 0);
    // VS Code adds commands of its own for views and the like under an extension's prefix; a panel has none of them.
    assert.deepEqual(registered, declared);
  });
});
