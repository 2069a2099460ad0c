/** Carries out a fix of a finding. The panel names finding and fix; everything else is looked up here. */
import path from 'node:path';
import * as vscode from 'vscode';
import { NEWEST_RELEASE } from '../core/catalog/releases';
import { DiagError } from '../core/errors';
import { COMMAND_FIXES, SETTING_FIXES, type CommandFix } from '../core/findings/fixes';
import { configFixes } from '../core/serve/configEditsFixes';
import type { AppState } from '../core/state/appState';
import { askedVersion } from '../core/state/derive';
import { known, type Store } from '../core/state/store';
import type { Finding, Fix } from '../core/verdict';
import { allFindings } from '../core/view/viewModels';
import type { OutputLogger } from './logging';
import { exportBugReport, exportReport } from './reportCommands';
import type { ServeFile } from './serveFile';
import { editFile } from './serveFileWriter';
import { SECTION, type SettingsReader } from './settings';

/** What fixing works with. */
export interface FixPorts {
  readonly store: Store<AppState>;
  readonly log: OutputLogger;
  readonly settings: SettingsReader;
  readonly serveFile: Pick<ServeFile, 'load'>;
  readonly toolVersion: string;
}

/**
 * Does what a fix says. Rejects with `usage` when there is no such fix any more, and with the reasons of `editFile`; a
 * file that is not as the finding saw it gives `fileChanged` and is read anew.
 */
export async function performFix(findingId: string, fixId: string, ports: FixPorts): Promise<void> {
  const { store, settings, serveFile } = ports;
  const finding = allFindings(store.state).find((each) => each.id === findingId);
  const fix = finding?.fixes.find((each) => each.id === fixId);
  if (finding === undefined || fix === undefined) {
    throw new DiagError('usage', {
      problem: vscode.l10n.t('This finding has no such fix any more: what it is about has changed.'),
    });
  }
  switch (fix.kind) {
    case 'edit':
      try {
        return await edit(store.state, finding, fix);
      } finally {
        // No event tells of a change on disk.
        await serveFile.load();
      }
    case 'copy': {
      const text = fix.text ?? '';
      await vscode.env.clipboard.writeText(text);
      say(vscode.l10n.t('Copied: {0}', text));
      return;
    }
    case 'setting': {
      const setting = SETTING_FIXES.find((each) => each.id === fix.id);
      if (setting !== undefined) await settings.write(setting.key, setting.value);
      return;
    }
    case 'command': {
      const command = COMMAND_FIXES.find((each) => each === fix.id);
      if (command !== undefined) await COMMANDS[command](ports);
    }
  }
}

const COMMANDS: Readonly<Record<CommandFix, (ports: FixPorts) => Promise<unknown>>> = {
  'compare-releases': ({ store }) => {
    store.patch({ upgrade: { from: null, to: NEWEST_RELEASE } });
    return Promise.resolve();
  },
  'choose-interpreter': async () =>
    vscode.commands.executeCommand('workbench.action.openSettings', `${SECTION}.pythonPath`),
  'validate-selection': async () => vscode.commands.executeCommand('attentionDiagnostics.validateSelection'),
  'export-bug-report': ({ store, toolVersion }) => exportBugReport(store, toolVersion),
  'export-report': ({ store, toolVersion }) => exportReport(store, toolVersion),
  'show-log': ({ log }) => Promise.resolve(log.show()),
};

/** Makes the same edits as the quick fix in Problems: for the text as it is now, never for the one that was read. */
async function edit(state: AppState, finding: Finding, fix: Fix): Promise<void> {
  const file = known(state.serve)?.file;
  if (file === undefined || file === null) return;
  const version = askedVersion(state.vllmVersion, known(state.environment));
  const saved = await editFile(vscode.Uri.file(file.path), (text, open) => {
    const again = configFixes(finding, file.path, text, version).find((each) => each.id === fix.id);
    if (again === undefined || (!open && text !== file.text)) throw new DiagError('fileChanged', { path: file.path });
    return again.edits;
  });
  const name = path.basename(file.path);
  say(
    saved === 'saved'
      ? vscode.l10n.t('{0}: {1}.', name, fix.title)
      : vscode.l10n.t('{0}: {1}. Save the file to let it count.', name, fix.title),
  );
}

/** Not awaited: the fix is done, and a toast may stay open for ever. */
function say(text: string): void {
  void vscode.window.showInformationMessage(text);
}
