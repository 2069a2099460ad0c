/** Files that settings name: where they are, and bounded reads through the workspace's file system (also a virtual one). */
import path from 'node:path';
import * as vscode from 'vscode';
import { DiagError } from '../core/errors';

/** A path in a setting: absolute, or relative to the first folder. */
export function resolveSettingPath(written: string): vscode.Uri {
  const folder = vscode.workspace.workspaceFolders?.[0]?.uri;
  if (path.isAbsolute(written) || folder === undefined) return vscode.Uri.file(written);
  return vscode.Uri.joinPath(folder, written);
}

/** What a path is. Rejects with `fileUnreadable`. */
export async function statFile(uri: vscode.Uri): Promise<vscode.FileStat> {
  try {
    return await vscode.workspace.fs.stat(uri);
  } catch (error) {
    throw new DiagError('fileUnreadable', { path: uri.path, problem: 'there is no such file or folder' }, error);
  }
}

/** The text of a file. Rejects with `fileUnreadable`, or `fileTooLarge` (nothing is read then). */
export async function readTextFile(uri: vscode.Uri, limitBytes: number): Promise<string> {
  const { size, type } = await statFile(uri);
  if ((type & vscode.FileType.Directory) !== 0) {
    throw new DiagError('fileUnreadable', { path: uri.path, problem: 'it is a folder' });
  }
  // A workspace may bring a link to a device that never ends, or a pipe that nobody fills.
  if ((type & vscode.FileType.File) === 0) {
    throw new DiagError('fileUnreadable', { path: uri.path, problem: 'it is not a file' });
  }
  if (size > limitBytes) throw new DiagError('fileTooLarge', { path: uri.path, bytes: size, limitBytes });
  try {
    return new TextDecoder().decode(await vscode.workspace.fs.readFile(uri));
  } catch (error) {
    throw new DiagError('fileUnreadable', { path: uri.path, problem: 'permission denied or not a file' }, error);
  }
}
