/** Problems of a serve file and their quick fixes: in the open document, unsaved changes kept, one undo step. */
import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import { activated, SECTION, until } from '../support';

const BEFORE = '# serving\nattention-config:\n  use_system_flash_attn: true\n  backend: FLASH_ATTN # ours\n';
const AFTER = '# serving\nattention-config:\n  backend: FLASH_ATTN # ours\n';

describe('quick fixes', () => {
  const folder = vscode.workspace.workspaceFolders?.[0]?.uri;
  const setting = (): vscode.WorkspaceConfiguration => vscode.workspace.getConfiguration(SECTION);

  after(async () => {
    await setting().update('serveConfigPath', undefined, vscode.ConfigurationTarget.Workspace);
    await vscode.commands.executeCommand('workbench.action.closeAllEditors');
  });

  it('remove a field that no release has, and undo brings it back', async () => {
    assert.ok(folder);
    const uri = vscode.Uri.joinPath(folder, 'serve.yaml');
    await vscode.workspace.fs.writeFile(uri, new TextEncoder().encode(BEFORE));
    await activated();
    await setting().update('serveConfigPath', 'serve.yaml', vscode.ConfigurationTarget.Workspace);
    const document = await vscode.workspace.openTextDocument(uri);
    await vscode.window.showTextDocument(document);
    const problem = await until('the problem', () =>
      vscode.languages
        .getDiagnostics(uri)
        .find((each) => typeof each.code === 'string' && each.code.startsWith('unknown-config-field')),
    );
    assert.equal(document.getText(problem.range), 'true');

    // Unsaved text above the place: the fix follows the document, not the file.
    const unsaved = new vscode.WorkspaceEdit();
    unsaved.insert(uri, new vscode.Position(0, 0), '# unsaved\n');
    await vscode.workspace.applyEdit(unsaved);
    const actions = await vscode.commands.executeCommand<vscode.CodeAction[]>(
      'vscode.executeCodeActionProvider',
      uri,
      problem.range,
      vscode.CodeActionKind.QuickFix.value,
    );
    const fix = actions.find((action) => action.title === 'Remove attention_config.use_system_flash_attn');
    assert.ok(fix?.edit, actions.map((action) => action.title).join());
    await vscode.workspace.applyEdit(fix.edit);
    assert.equal(document.getText(), `# unsaved\n${AFTER}`);
    assert.equal(document.isDirty, true);
    await vscode.commands.executeCommand('undo');
    assert.equal(document.getText(), `# unsaved\n${BEFORE}`);
    await vscode.commands.executeCommand('workbench.action.files.revert');
  });
});
