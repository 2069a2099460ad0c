/** Finds the Python interpreter that is meant, and tells when the Python extension's choice changes. Starts nothing. */
import * as v from 'valibot';
import * as vscode from 'vscode';
import type { Logger } from '../core/logger';
import { findVenvInterpreter, namedInterpreter } from '../node/pythonProbe';
import type { SettingsReader } from './settings';

/** The part of the Python extension's API that is used. */
const pythonApiSchema = v.object({
  environments: v.object({
    getActiveEnvironmentPath: v.function(),
    resolveEnvironment: v.function(),
    /** Without it a change is seen when the interpreter is looked for next. */
    onDidChangeActiveEnvironmentPath: v.optional(v.function()),
  }),
});
const activePathSchema = v.object({ path: v.string() });
const resolvedSchema = v.object({ executable: v.object({ uri: v.optional(v.object({ fsPath: v.string() })) }) });
const disposableSchema = v.object({ dispose: v.function() });

type PythonEnvironments = v.InferOutput<typeof pythonApiSchema>['environments'];

/** Where the interpreter comes from. */
export class InterpreterFinder implements vscode.Disposable {
  readonly #settings: SettingsReader;
  readonly #log: Logger;
  readonly #changed = new vscode.EventEmitter<void>();
  #listener: vscode.Disposable | null = null;

  /** The Python extension's choice changed, and no setting decides over it. Told once it was asked for its choice. */
  readonly onDidChange = this.#changed.event;

  constructor(settings: SettingsReader, log: Logger) {
    this.#settings = settings;
    this.#log = log;
  }

  /** The setting, else the Python extension's choice, else the first folder's own environment; `null` without any. */
  async find(): Promise<string | null> {
    const written = this.#settings.current.pythonPath.value;
    if (written !== '') return (await namedInterpreter(written)) ?? written;
    const folder = vscode.workspace.workspaceFolders?.[0]?.uri;
    const chosen = await this.#ofPythonExtension(folder);
    if (chosen !== null) return chosen;
    return folder?.scheme === 'file' ? findVenvInterpreter(folder.fsPath) : null;
  }

  dispose(): void {
    this.#listener?.dispose();
    this.#changed.dispose();
  }

  /** Only when that extension is running anyway; it is not started for this. */
  async #ofPythonExtension(folder: vscode.Uri | undefined): Promise<string | null> {
    const extension = vscode.extensions.getExtension<unknown>('ms-python.python');
    if (extension?.isActive !== true) return null;
    try {
      const { environments } = v.parse(pythonApiSchema, extension.exports);
      this.#listener ??= this.#listen(environments);
      const active: unknown = environments.getActiveEnvironmentPath(folder);
      const resolved: unknown = await environments.resolveEnvironment(v.parse(activePathSchema, active));
      return v.parse(resolvedSchema, resolved).executable.uri?.fsPath ?? null;
    } catch (error) {
      this.#log.debug('The Python extension could not be asked for its interpreter.', { error: String(error) });
      return null;
    }
  }

  #listen({ onDidChangeActiveEnvironmentPath }: PythonEnvironments): vscode.Disposable | null {
    if (onDidChangeActiveEnvironmentPath === undefined) return null;
    const listening: unknown = onDidChangeActiveEnvironmentPath(() => {
      if (this.#settings.current.pythonPath.value === '') this.#changed.fire();
    });
    const { dispose } = v.parse(disposableSchema, listening);
    return new vscode.Disposable(() => dispose.call(listening));
  }
}
