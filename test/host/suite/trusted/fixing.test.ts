/** Fixes of findings as the panel asks for them: by the ids of finding and fix, carried out here. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import * as vscode from 'vscode';
import type { TestApi } from '../../../../extension/container';
import type { FindingView } from '../../../../extension/core/view/viewModels';
import { activated, SECTION, until } from '../support';

const FLAG_LINE = '  use_system_flash_attn: true # x\n';
const KEPT = '# serving\nattention-config:\n  backend: FLASH_ATTN # ours\n';
const BEFORE = KEPT.replace('  backend', `${FLAG_LINE}  backend`);
const CODE = 'unknown-config-field';

describe('fixes from the panel', () => {
  const folder = vscode.workspace.workspaceFolders?.[0]?.uri;
  const setting = (): vscode.WorkspaceConfiguration => vscode.workspace.getConfiguration(SECTION);
  let api: TestApi;
  let uri: vscode.Uri;

  const onDisk = async (): Promise<string> =>
    new TextDecoder().decode(await vscode.workspace.fs.readFile(uri)).replaceAll('\r', '');
  const finding = (code: string): FindingView | undefined =>
    api.lastPanelModel()?.findings.find((each) => each.code === code);
  const apply = (each: FindingView, title: string): void => {
    const fix = each.fixes.find((candidate) => candidate.title.startsWith(title));
    assert.ok(fix, each.fixes.map((candidate) => candidate.title).join());
    api.receiveFromPanel({ type: 'applyFix', findingId: each.id, fixId: fix.id });
  };

  /** A serve file under a name of its own, read and shown in the panel with its finding. */
  async function shown(name: string, text: string, code = CODE): Promise<FindingView> {
    assert.ok(folder);
    uri = vscode.Uri.joinPath(folder, name);
    await vscode.workspace.fs.writeFile(uri, new TextEncoder().encode(text));
    await setting().update('serveConfigPath', name, vscode.ConfigurationTarget.Workspace);
    return until('the finding', () => {
      const found = finding(code);
      return found?.place?.startsWith(`${name}:`) === true && found;
    });
  }

  // The browser VS Code saves by itself after a second, which would make unsaved text saved text.
  const autoSave = (value: 'off' | undefined): Thenable<void> =>
    vscode.workspace.getConfiguration('files').update('autoSave', value, vscode.ConfigurationTarget.Workspace);

  before(async () => {
    api = await activated();
    await autoSave('off');
    await vscode.commands.executeCommand(`${SECTION}.openPanel`);
    api.receiveFromPanel({ type: 'setWhatIfFamily', capability: [9, 0] });
  });

  afterEach(async () => {
    await setting().update('serveConfigPath', undefined, vscode.ConfigurationTarget.Workspace);
    await vscode.commands.executeCommand('workbench.action.closeAllEditors');
    await vscode.commands.executeCommand(`${SECTION}.openPanel`);
  });

  after(async () => {
    api.receiveFromPanel({ type: 'setWhatIfFamily', capability: null });
    await autoSave(undefined);
  });

  it('change a closed file on disk, and the finding goes', async () => {
    apply(await shown('fix-closed.yaml', BEFORE), 'Remove attention_config.use_system_flash_attn');
    await until('the finding to go', () => finding(CODE) === undefined);
    assert.equal(await onDisk(), KEPT);
  });

  it('edit an open file with unsaved changes through its editor, in one undo step', async () => {
    const found = await shown('fix-open.yaml', BEFORE);
    const document = await vscode.workspace.openTextDocument(uri);
    await vscode.window.showTextDocument(document);
    const mine = new vscode.WorkspaceEdit();
    mine.insert(uri, new vscode.Position(0, 0), '# mine\n');
    await vscode.workspace.applyEdit(mine);
    apply(found, 'Remove attention_config.use_system_flash_attn');
    await until('the edit', () => document.getText() === `# mine\n${KEPT}`);
    assert.equal(document.isDirty, true);
    assert.equal(await onDisk(), BEFORE);
    await vscode.commands.executeCommand('undo');
    assert.equal(document.getText(), `# mine\n${BEFORE}`);
    await vscode.commands.executeCommand('workbench.action.files.revert');
  });

  it('leave a file alone that somebody changed meanwhile, and look at it again', async () => {
    const found = await shown('fix-raced.yaml', BEFORE);
    const theirs = `${BEFORE}port: 8000\n`;
    writeFileSync(uri.fsPath, theirs);
    apply(found, 'Remove attention_config.use_system_flash_attn');
    await until('the file to be read again', () => {
      const { serve } = api.state();
      return serve.status === 'ready' && serve.value.file?.text === theirs;
    });
    assert.equal(await onDisk(), theirs);
  });

  it('copy what is to be pasted', async () => {
    const found = await shown('fix.env', 'VLLM_ATTENTION_BACKEND=FLASHINFER\n', 'dead-env-variable');
    apply(found, 'Copy');
    let copied = '';
    await until('the clipboard', () => {
      void vscode.env.clipboard.readText().then((text) => (copied = text));
      return copied === '--attention-config.backend=FLASHINFER';
    });
  });

  it('turn the switch off', async () => {
    assert.ok(folder);
    await setting().update('useSystemFlashAttn', true, vscode.ConfigurationTarget.Workspace);
    api.receiveFromPanel({ type: 'setRequest', request: { ...api.state().form, headDims: [512] } });
    const found = await until('the finding', () => finding('flag-system-fa4-refuses'));
    apply(found, 'Turn use_system_flash_attn off');
    await until('the setting', () => setting().get('useSystemFlashAttn') === false);
    await setting().update('useSystemFlashAttn', undefined, vscode.ConfigurationTarget.Workspace);
    api.receiveFromPanel({ type: 'applyPreset', presetId: 'quick' });
  });

  it('do nothing for ids that are none', async () => {
    const found = await shown('fix-ids.yaml', BEFORE);
    for (const [findingId, fixId] of [
      [found.id, 'edit:remove:../../etc/passwd'],
      ['__proto__', 'constructor'],
    ]) {
      api.receiveFromPanel({ type: 'applyFix', findingId, fixId });
    }
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.equal(await onDisk(), BEFORE);
  });
});
