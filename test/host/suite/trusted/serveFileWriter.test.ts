/** Writing a field into the serve file: closed, open, open with unsaved changes, changed meanwhile. */
import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import { writeAttentionField } from '../../../../extension/vscode/serveFileWriter';

const CHANGE = { field: 'flash_attn_version', value: 4 };
const BEFORE = 'attention-config:\n  backend: FLASH_ATTN # ours\n';
const AFTER = 'attention-config:\n  backend: FLASH_ATTN # ours\n  flash_attn_version: 4\n';

async function fileWith(name: string, text: string): Promise<vscode.Uri> {
  const folder = vscode.workspace.workspaceFolders?.[0]?.uri;
  assert.ok(folder);
  const uri = vscode.Uri.joinPath(folder, name);
  await vscode.workspace.fs.writeFile(uri, new TextEncoder().encode(text));
  return uri;
}

async function onDisk(uri: vscode.Uri): Promise<string> {
  return new TextDecoder().decode(await vscode.workspace.fs.readFile(uri));
}

describe('writing the serve file', () => {
  afterEach(() => vscode.commands.executeCommand('workbench.action.closeAllEditors'));

  it('changes a closed file on disk', async () => {
    const uri = await fileWith('closed.yaml', BEFORE);
    await writeAttentionField(uri, CHANGE, '0.33.0');
    assert.equal(await onDisk(uri), AFTER);
  });

  it('edits an open file through its editor and saves it, in one undo step', async () => {
    const uri = await fileWith('open.yaml', BEFORE);
    const document = await vscode.workspace.openTextDocument(uri);
    await vscode.window.showTextDocument(document);
    await writeAttentionField(uri, CHANGE, '0.33.0');
    assert.equal(await onDisk(uri), AFTER);
    await vscode.commands.executeCommand('undo');
    assert.equal(document.getText(), BEFORE);
    await vscode.commands.executeCommand('workbench.action.files.revert');
  });

  it('keeps unsaved changes unsaved', async () => {
    const uri = await fileWith('dirty.yaml', BEFORE);
    const document = await vscode.workspace.openTextDocument(uri);
    await vscode.window.showTextDocument(document);
    const unsaved = new vscode.WorkspaceEdit();
    unsaved.insert(uri, new vscode.Position(0, 0), '# mine\n');
    await vscode.workspace.applyEdit(unsaved);
    await writeAttentionField(uri, CHANGE, '0.33.0');
    assert.equal(document.getText(), `# mine\n${AFTER}`);
    assert.equal(await onDisk(uri), BEFORE);
    await vscode.commands.executeCommand('workbench.action.files.revert');
  });

  it('refuses files with errors and files of another kind, and leaves them as they are', async () => {
    for (const text of ['a: 1\na: 2\n', 'services:\n  vllm: {}\n']) {
      const uri = await fileWith('refused.yaml', text);
      await assert.rejects(writeAttentionField(uri, CHANGE, '0.33.0'), { code: 'fileUnwritable' });
      assert.equal(await onDisk(uri), text);
    }
  });
});
