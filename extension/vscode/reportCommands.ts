/** Export and open reports. Reading and writing are NODE's business; here are the dialogs and the store. */
import path from 'node:path';
import * as vscode from 'vscode';
import { openedReport, type AppState } from '../core/state/appState';
import { compareRows } from '../core/measure/benchStats';
import { comparisonMarkdown } from '../core/report/comparisonMarkdown';
import { DiagError } from '../core/errors';
import { createReport, MAX_REPORT_BYTES, parseReport, printReport, type Report } from '../core/report/report';
import { bugReportJson, bugReportMarkdown } from '../core/rules/validationReport';
import { validationKey } from '../core/rules/validation';
import { CATALOG_CHECKED_ON } from '../core/catalog/releases';
import { currentRequest } from '../core/state/derive';
import { exportedReport } from '../core/state/exportedReport';
import { known, type Store } from '../core/state/store';
import { answerInForce } from '../core/view/viewModelsMatrix';
import { machineFacts, privateWords, readReportFile, writeFileWhole } from '../node/reportFile';

const FILTERS = { Report: ['json'] };

/** Asks for a place and writes what is known, redacted. With a report open, that report is written again. */
export async function exportReport(store: Store<AppState>, toolVersion: string): Promise<void> {
  const { state } = store;
  if (state.report === null && known(state.facts) === null && state.rows.length === 0) {
    throw new DiagError('usage', {
      problem: vscode.l10n.t('There is nothing to export yet. Probe this machine or run kernels first.'),
    });
  }
  const suggested = `attention-report-${new Date().toISOString().slice(0, 10)}.json`;
  const folder = vscode.workspace.workspaceFolders?.[0]?.uri;
  const target = await vscode.window.showSaveDialog({
    filters: FILTERS,
    title: exportTitle(state),
    ...(folder === undefined ? {} : { defaultUri: vscode.Uri.joinPath(folder, suggested) }),
  });
  if (target === undefined) return;
  const text = printReport(
    state.report === null ? liveReport(state, toolVersion) : exportedReport(state.report.report, privateWords()),
  );
  if (target.scheme === 'file') await writeFileWhole(target.fsPath, text);
  else await vscode.workspace.fs.writeFile(target, new TextEncoder().encode(text));
  const openFile = vscode.l10n.t('Open File');
  // Not awaited: the command is over once the file is written, and a toast may stay open for ever.
  void vscode.window
    .showInformationMessage(vscode.l10n.t('The report is in {0}.', path.basename(target.path)), openFile)
    .then((choice) => (choice === openFile ? vscode.commands.executeCommand('vscode.open', target) : undefined));
}

/** Says what is replaced. Of a report written with its words it is not known which users its machine has. */
function exportTitle({ report }: AppState): string {
  return report === null || report.report.redacted
    ? vscode.l10n.t('Export report (UUIDs, host, user and paths are replaced by stand-ins)')
    : vscode.l10n.t(
        'Export report (UUIDs, host and home folders are replaced by stand-ins; a user name in other places may remain)',
      );
}

/** Asks for a place and writes what the installed vLLM and the catalog say, for us; redacted. */
export async function exportBugReport(store: Store<AppState>, toolVersion: string): Promise<void> {
  const { state } = store;
  const validation = known(state.validation);
  const request = currentRequest(state);
  if (validation?.kind !== 'answered' || request === null || validation.key !== validationKey(request)) {
    throw new DiagError('usage', {
      problem: vscode.l10n.t('There is nothing to report yet. Ask the installed vLLM first.'),
    });
  }
  const folder = vscode.workspace.workspaceFolders?.[0]?.uri;
  const suggested = `attention-bug-report-vllm-${validation.answer.vllm}.md`;
  const target = await vscode.window.showSaveDialog({
    filters: { Markdown: ['md'], Recording: ['json'] },
    title: vscode.l10n.t('Export bug report (host, user and paths are replaced by stand-ins)'),
    ...(folder === undefined ? {} : { defaultUri: vscode.Uri.joinPath(folder, suggested) }),
  });
  if (target === undefined) return;
  const input = {
    request,
    answer: validation.answer,
    toolVersion,
    checkedOn: CATALOG_CHECKED_ON,
    privateWords: privateWords(),
  };
  const text = target.path.endsWith('.json') ? bugReportJson(input) : bugReportMarkdown(input);
  if (target.scheme === 'file') await writeFileWhole(target.fsPath, text);
  else await vscode.workspace.fs.writeFile(target, new TextEncoder().encode(text));
  await vscode.window.showTextDocument(target);
}

/** Asks for a report file, or takes the one given, and puts it on screen. Resolves to whether one was opened. */
export async function openReport(store: Store<AppState>, file: unknown): Promise<boolean> {
  const uri = file instanceof vscode.Uri ? file : await chooseReport(vscode.l10n.t('Open report'));
  if (uri === undefined) return false;
  const report = await readReport(uri);
  store.patch({ report: openedReport(path.basename(uri.path), report) });
  return true;
}

/** Asks for two reports and shows what changed between them as a document. */
export async function compareReports(): Promise<void> {
  const before = await chooseReport(vscode.l10n.t('Compare reports: the older one'));
  if (before === undefined) return;
  const after = await chooseReport(vscode.l10n.t('Compare reports: the newer one'));
  if (after === undefined) return;
  const [older, newer] = await Promise.all([readReport(before), readReport(after)]);
  const content = comparisonMarkdown(
    [path.basename(before.path), path.basename(after.path)],
    compareRows(older.rows, newer.rows),
    newer.failure,
  );
  await vscode.window.showTextDocument(await vscode.workspace.openTextDocument({ language: 'markdown', content }));
}

async function chooseReport(title: string): Promise<vscode.Uri | undefined> {
  const chosen = await vscode.window.showOpenDialog({ filters: FILTERS, title });
  return chosen?.[0];
}

/** Through the file system provider when the file is not on this machine; the same limit holds. */
async function readReport(uri: vscode.Uri): Promise<Report> {
  if (uri.scheme === 'file') return readReportFile(uri.fsPath);
  const { size } = await vscode.workspace.fs.stat(uri);
  if (size > MAX_REPORT_BYTES) {
    throw new DiagError('fileTooLarge', { path: uri.path, bytes: size, limitBytes: MAX_REPORT_BYTES });
  }
  return parseReport(new TextDecoder().decode(await vscode.workspace.fs.readFile(uri)), uri.path);
}

/** The report of this machine as it is on screen. */
function liveReport(state: AppState, toolVersion: string): Report {
  const derived = known(state.derived);
  return createReport({
    command: 'export',
    toolVersion,
    createdAtMs: Date.now(),
    machine: machineFacts(),
    facts: known(state.facts),
    ceilings: Object.entries(state.ceilings).map(([deviceId, ceilings]) => ({ deviceId, ceilings })),
    rows: state.rows,
    libraries: state.libraries,
    explanation: derived === null ? null : answerInForce(state, derived).evaluation,
    privateWords: privateWords(),
  });
}
