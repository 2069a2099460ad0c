/** What this window allows: trust, virtual workspaces, and whether this installation can measure at all. */
import { existsSync } from 'node:fs';
import * as vscode from 'vscode';
import type { Capabilities } from '../core/appState';

/** What this installation can do. Looks for one file; starts nothing. */
export function readCapabilities(addonPaths: readonly string[]): Capabilities {
  const platform = `${process.platform}-${process.arch}`;
  const folders = vscode.workspace.workspaceFolders ?? [];
  const virtualWorkspace = folders.length > 0 && folders.every((folder) => folder.uri.scheme !== 'file');
  return {
    platform,
    virtualWorkspace,
    measureBlocked: measureBlocked(
      platform,
      addonPaths.some((path) => existsSync(path)),
    ),
  };
}

function measureBlocked(platform: string, addonPresent: boolean): string | null {
  if (addonPresent) return null;
  return platform === 'linux-x64'
    ? vscode.l10n.t(
        'This package has no native helper, so nothing can be measured. Install the linux-x64 package, or build it with "npm start"; declared and report views work.',
      )
    : vscode.l10n.t(
        'Kernels run on linux-x64 only; this is {0}. Declared and report views work here; open reports that were measured on a GPU machine.',
        platform,
      );
}
