/** What this window allows: virtual workspaces, and whether this installation can measure at all. */
import { existsSync } from 'node:fs';
import * as vscode from 'vscode';
import type { Capabilities } from '../core/state/appState';

/** Platforms that a package with a native helper exists for. */
const MEASURING_PLATFORMS = ['linux-x64'];

/** What is known without touching a disk; {@link checkAddon} adds the rest before anything is measured. */
export function readCapabilities(): Capabilities {
  const platform = `${process.platform}-${process.arch}`;
  const folders = vscode.workspace.workspaceFolders ?? [];
  return {
    platform,
    virtualWorkspace: folders.length > 0 && folders.every((folder) => folder.uri.scheme !== 'file'),
    measureBlocked: MEASURING_PLATFORMS.includes(platform)
      ? null
      : vscode.l10n.t(
          'Kernels run on linux-x64 only; this is {0}. Declared and report views work here; open a report that was measured on a GPU machine.',
          platform,
        ),
  };
}

/** Looks whether one of the addon's places has a file. */
export function checkAddon(capabilities: Capabilities, addonPaths: readonly string[]): Capabilities {
  if (capabilities.measureBlocked !== null || addonPaths.some((path) => existsSync(path))) return capabilities;
  return {
    ...capabilities,
    measureBlocked: vscode.l10n.t(
      'This package has no native helper, so nothing can be measured. Install the linux-x64 package, or build it with npm start; declared and report views work.',
    ),
  };
}
