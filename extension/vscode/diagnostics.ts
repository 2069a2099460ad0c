/** Findings that have a place in a file, as Problems. */
import * as vscode from 'vscode';
import type { AppState } from '../core/state/appState';
import type { Store } from '../core/state/store';
import { allFindings } from '../core/view/viewModels';
import { sourceText } from '../core/view/viewModelsMatrix';
import type { Finding, Severity } from '../core/verdict';

const SEVERITIES: Record<Severity, vscode.DiagnosticSeverity> = {
  error: vscode.DiagnosticSeverity.Error,
  warning: vscode.DiagnosticSeverity.Warning,
  info: vscode.DiagnosticSeverity.Information,
};

/** Keeps the Problems view in step with the store. */
export class FindingDiagnostics implements vscode.Disposable {
  readonly #collection = vscode.languages.createDiagnosticCollection('attentionDiagnostics');
  readonly #unsubscribe: () => void;

  constructor(store: Store<AppState>) {
    this.#unsubscribe = store.subscribe(allFindings, (findings) => this.#show(findings), sameFindings);
    this.#show(allFindings(store.state));
  }

  dispose(): void {
    this.#unsubscribe();
    this.#collection.dispose();
  }

  #show(findings: readonly Finding[]): void {
    const byPath = new Map<string, vscode.Diagnostic[]>();
    for (const finding of findings) {
      const { range } = finding;
      if (range === null) continue;
      const diagnostic = new vscode.Diagnostic(
        new vscode.Range(range.startLine, range.startColumn, range.endLine, range.endColumn),
        `${finding.title}\n${finding.detail}`,
        SEVERITIES[finding.severity],
      );
      diagnostic.source = 'Attention';
      diagnostic.code =
        sourceText(finding.source) === null ? finding.code : `${finding.code} (${sourceText(finding.source)})`;
      byPath.set(range.path, [...(byPath.get(range.path) ?? []), diagnostic]);
    }
    this.#collection.clear();
    for (const [path, diagnostics] of byPath) this.#collection.set(vscode.Uri.file(path), diagnostics);
  }
}

function sameFindings(a: readonly Finding[], b: readonly Finding[]): boolean {
  // By content: some are made anew for every state, and setting the same Problems again would make them flicker.
  return a === b || JSON.stringify(a) === JSON.stringify(b);
}
