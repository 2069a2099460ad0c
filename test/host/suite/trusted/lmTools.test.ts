import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import { activated, EXTENSION_ID } from '../support';

interface Manifest {
  readonly contributes: { readonly languageModelTools: readonly { readonly name: string }[] };
}

describe('tools for language models', () => {
  it('are there under the names of the manifest', async () => {
    await activated();
    const manifest = vscode.extensions.getExtension(EXTENSION_ID)?.packageJSON as Manifest;
    const names = manifest.contributes.languageModelTools.map(({ name }) => name);
    assert.equal(names.length, 3);
    for (const name of names)
      assert.ok(
        vscode.lm.tools.some((tool) => tool.name === name),
        name,
      );
  });

  it('answer with the report of the command line', async () => {
    await activated();
    const { content } = await vscode.lm.invokeTool('explain_attention_backend', {
      input: { sm: '9.0', headDims: [128], vllmVersion: '0.24.0' },
      toolInvocationToken: undefined,
    });
    const [part] = content;
    assert.ok(part instanceof vscode.LanguageModelTextPart);
    const report = JSON.parse(part.value) as { command: string; explanation: { capability: unknown } };
    assert.equal(report.command, 'explain');
    assert.deepEqual(report.explanation.capability, [9, 0]);
  });
});
