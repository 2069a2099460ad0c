/** Quick fixes on our Problems. They edit the open document, so unsaved changes stay and undo is one step. */
import * as vscode from 'vscode';
import type { AppState } from '../core/state/appState';
import { configFixes } from '../core/serve/configEditsFixes';
import { askedVersion } from '../core/state/derive';
import { known, type Store } from '../core/state/store';
import { allFindings } from '../core/view/viewModels';
import { workspaceEdit } from './serveFileWriter';

/** Offers the fixes of findings whose place is in the document. */
export class QuickFixes implements vscode.CodeActionProvider, vscode.Disposable {
  readonly #store: Store<AppState>;
  readonly #registration: vscode.Disposable;

  constructor(store: Store<AppState>) {
    this.#store = store;
    this.#registration = vscode.languages.registerCodeActionsProvider({ scheme: 'file' }, this, {
      providedCodeActionKinds: [vscode.CodeActionKind.QuickFix],
    });
  }

  dispose(): void {
    this.#registration.dispose();
  }

  provideCodeActions(document: vscode.TextDocument, range: vscode.Range): vscode.CodeAction[] {
    const state = this.#store.state;
    const version = askedVersion(state.vllmVersion, known(state.environment));
    const here = allFindings(state).filter(
      (finding) =>
        finding.range !== null &&
        finding.range.path === document.uri.fsPath &&
        finding.range.startLine <= range.end.line &&
        finding.range.endLine >= range.start.line,
    );
    return here.flatMap((finding) =>
      configFixes(finding, document.uri.fsPath, document.getText(), version).map((fix) => {
        const action = new vscode.CodeAction(fix.title, vscode.CodeActionKind.QuickFix);
        action.edit = workspaceEdit(document, fix.edits);
        return action;
      }),
    );
  }
}
