/** Entry point of the extension: builds the container, nothing else. */
import * as vscode from 'vscode';
import { createContainer, type TestApi } from './container';

/** Called by VS Code at start-up. In the test mode it hands out a small API for in-host tests. */
export function activate(context: vscode.ExtensionContext): TestApi | undefined {
  const container = createContainer(context);
  context.subscriptions.push(container);
  return context.extensionMode === vscode.ExtensionMode.Test ? container.testApi : undefined;
}
