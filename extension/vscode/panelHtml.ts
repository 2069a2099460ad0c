/** The panel's page for one webview. */
import { randomBytes } from 'node:crypto';
import * as vscode from 'vscode';
import { panelPage } from './panelPage';

/** Folders under the extension that the page may load from. */
export function panelResourceRoots(extensionUri: vscode.Uri): vscode.Uri[] {
  return [vscode.Uri.joinPath(extensionUri, 'dist')];
}

/** The HTML for one webview. Nothing in it comes from the workspace. */
export function panelHtml(webview: vscode.Webview, extensionUri: vscode.Uri, language: string): string {
  const nonce = randomBytes(16).toString('base64');
  const asset = (name: string): string =>
    webview.asWebviewUri(vscode.Uri.joinPath(extensionUri, 'dist', name)).toString();
  return panelPage({
    nonce,
    language,
    cspSource: webview.cspSource,
    script: asset('panel.js'),
    style: asset('panel.css'),
  });
}
