/**
 * Writes one attention field into the vLLM YAML: through the editor when the file is open there, so that unsaved changes
 * stay and undo is one step, else on disk in one piece.
 */
import * as vscode from 'vscode';
import type { AppState } from '../core/state/appState';
import {
  editAttentionField,
  refusalToWriteField,
  type AttentionFieldChange,
  type ConfigTextEdit,
} from '../core/serve/configEdits';
import { askedVersion } from '../core/state/derive';
import { DiagError } from '../core/errors';
import { SYSTEM_FLASH_ATTN_FIELD } from '../core/rules/flashAttnFlag';
import { serveFileKind } from '../core/serve/serveConfig';
import { known } from '../core/state/store';
import { readEditableFile, writeFileEdits } from '../node/fileEdits';

/**
 * Sets or removes a field. Rejects with `fileUnwritable` and the reason when it cannot be done in place, `fileChanged` when
 * somebody else was faster, `fileUnreadable`.
 * @param vllmVersion release that will read the file; decides the form of a new key
 */
export async function writeAttentionField(
  uri: vscode.Uri,
  change: AttentionFieldChange,
  vllmVersion: string,
): Promise<void> {
  const editsFor = (text: string): readonly ConfigTextEdit[] => {
    if (serveFileKind(uri.path, text) !== 'vllmYaml') {
      throw new DiagError('fileUnwritable', { path: uri.fsPath, problem: 'it is no vLLM YAML file' });
    }
    const result = editAttentionField(text, change, vllmVersion);
    if (result.ok) return result.edits;
    const problem = result.refusal.problem.replace(/\.$/, '');
    throw new DiagError('fileUnwritable', { path: uri.fsPath, problem });
  };
  await editFile(uri, editsFor);
}

/**
 * Edits a file: through its editor when it is open there, so that unsaved changes stay and undo is one step, else on disk in
 * one piece. Resolves to whether the change is saved. Rejects with what `editsFor` throws, `fileChanged`, `fileUnreadable`
 * and `fileUnwritable`.
 * @param editsFor the edits for the text as it is now; `open` = it is an editor's
 */
export async function editFile(
  uri: vscode.Uri,
  editsFor: (text: string, open: boolean) => readonly ConfigTextEdit[],
): Promise<'saved' | 'unsaved'> {
  const open = vscode.workspace.textDocuments.find((document) => document.uri.toString() === uri.toString());
  if (open === undefined) {
    const file = await readEditableFile(uri.fsPath);
    await writeFileEdits(file, editsFor(file.text, false));
    return 'saved';
  }
  // Word of a change reaches this process before word of the document being dirty does, so the file has the last say.
  const wasClean = !open.isDirty && open.getText() === (await textOnDisk(uri));
  const edits = editsFor(open.getText(), true);
  if (edits.length === 0) return 'saved';
  if (!(await vscode.workspace.applyEdit(workspaceEdit(open, edits)))) {
    throw new DiagError('fileChanged', { path: uri.fsPath });
  }
  // Unsaved changes are the user's to save.
  return wasClean && (await open.save()) ? 'saved' : 'unsaved';
}

/** The file's text; `null` when it cannot be read. */
async function textOnDisk(uri: vscode.Uri): Promise<string | null> {
  try {
    return new TextDecoder().decode(await vscode.workspace.fs.readFile(uri));
  } catch {
    return null;
  }
}

/** Edits of a document's text as one undo step. */
export function workspaceEdit(document: vscode.TextDocument, edits: readonly ConfigTextEdit[]): vscode.WorkspaceEdit {
  const whole = new vscode.WorkspaceEdit();
  for (const { offset, length, newText } of edits) {
    const place = new vscode.Range(document.positionAt(offset), document.positionAt(offset + length));
    whole.replace(document.uri, place, newText);
  }
  return whole;
}

/**
 * Asks whether the flag should go into the serve file too. Only where the installed vLLM was inspected and declares it: any
 * other would stop at start-up or drop the field, which the panel says. Resolves to whether it was written.
 * @param uri the serve file of the settings
 */
export async function offerToWriteFlag(state: AppState, uri: vscode.Uri, on: boolean): Promise<boolean> {
  const environment = known(state.environment);
  if (!/\.ya?ml$/i.test(uri.path)) return false;
  if (refusalToWriteField(environment, SYSTEM_FLASH_ATTN_FIELD) !== null) return false;
  const written = known(state.serve)?.useSystemFlashAttn ?? null;
  // Absent means off, so switching off has nothing to write into a file that does not mention it.
  if (written === on || (written === null && !on)) return false;
  const write = vscode.l10n.t('Write to {0}', vscode.workspace.asRelativePath(uri));
  const choice = await vscode.window.showInformationMessage(
    vscode.l10n.t('vLLM reads {0} from its config file. Write it there too?', SYSTEM_FLASH_ATTN_FIELD),
    write,
  );
  if (choice !== write) return false;
  const version = askedVersion(state.vllmVersion, environment);
  await writeAttentionField(uri, { field: SYSTEM_FLASH_ATTN_FIELD, value: on }, version);
  return true;
}
