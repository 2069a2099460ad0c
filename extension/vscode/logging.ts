/** The logging port on the one output channel of this extension. Its level is the editor's own setting; it never opens by itself. */
import * as vscode from 'vscode';
import type { Logger } from '../core/logger';

/** Writes to "Attention Diagnostics" in the Output view. */
export class OutputLogger implements Logger, vscode.Disposable {
  readonly #channel: vscode.LogOutputChannel;

  constructor() {
    this.#channel = vscode.window.createOutputChannel('Attention Diagnostics', { log: true });
  }

  trace(message: string, data?: unknown): void {
    this.#channel.trace(line(message, data));
  }

  debug(message: string, data?: unknown): void {
    this.#channel.debug(line(message, data));
  }

  info(message: string, data?: unknown): void {
    this.#channel.info(line(message, data));
  }

  warn(message: string, data?: unknown): void {
    this.#channel.warn(line(message, data));
  }

  error(message: string, data?: unknown): void {
    this.#channel.error(line(message, data));
  }

  /** Brings the channel to the front; only ever on the user's request. */
  show(): void {
    this.#channel.show();
  }

  dispose(): void {
    this.#channel.dispose();
  }
}

function line(message: string, data: unknown): string {
  if (data === undefined) return message;
  if (data instanceof Error) return `${message} ${data.stack ?? data.message}`;
  return `${message} ${JSON.stringify(data)}`;
}
