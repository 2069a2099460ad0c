/** The command table: every contributed command with its handler, wrapped once. */
import * as vscode from 'vscode';
import { DiagError } from '../core/errors';
import { errorText } from '../core/errorText';
import type { OutputLogger } from './logging';

/** Ids of package.json; a package test compares them in both directions. */
export const COMMAND_IDS = [
  'attentionDiagnostics.openPanel',
  'attentionDiagnostics.toggleSystemFlashAttn',
  'attentionDiagnostics.runKernels',
  'attentionDiagnostics.measureBackends',
  'attentionDiagnostics.cancelRun',
  'attentionDiagnostics.selectModel',
  'attentionDiagnostics.selectDevice',
  'attentionDiagnostics.exportReport',
  'attentionDiagnostics.openReport',
  'attentionDiagnostics.compareReports',
  'attentionDiagnostics.copyServeArgs',
  'attentionDiagnostics.validateSelection',
  'attentionDiagnostics.showLog',
] as const;

export type CommandId = (typeof COMMAND_IDS)[number];

/** Carries out a command. The argument is whatever a menu passes (a file, for instance); it is not trusted. */
export type CommandHandler = (argument: unknown) => Promise<void>;

/** Registers every command of the table. */
export function registerCommands(
  handlers: Readonly<Record<CommandId, CommandHandler>>,
  log: OutputLogger,
): vscode.Disposable {
  return vscode.Disposable.from(
    ...COMMAND_IDS.map((id) =>
      vscode.commands.registerCommand(id, (argument: unknown) => guarded(log, id, () => handlers[id](argument))),
    ),
  );
}

/** Runs `action`; an error becomes a log line and one plain toast, a cancellation is silent. Never rejects. */
export async function guarded(log: OutputLogger, what: string, action: () => Promise<void>): Promise<void> {
  try {
    await action();
  } catch (error) {
    const cause = DiagError.from(error);
    if (cause.code === 'cancelled') return;
    log.error(`${what} failed.`, cause);
    const text = errorText(cause);
    // A `usage` problem is a full sentence with its own next step; the command-line hint behind it means nothing here.
    const message = cause.code === 'usage' ? text.what : `${text.what} ${text.next}`;
    const showLog = vscode.l10n.t('Show Log');
    // Not awaited: the command is over, and a toast may stay open for ever.
    vscode.window.showErrorMessage(message, showLog).then(
      (choice) => {
        if (choice === showLog) log.show();
      },
      () => undefined,
    );
  }
}
