/**
 * Inspects the Python environment that has vLLM: finds its interpreter and keeps the answer in the store. Only called when the
 * user asked for a probe, in a trusted workspace.
 */
import * as v from 'valibot';
import * as vscode from 'vscode';
import type { AppState } from '../core/state/appState';
import { DiagError } from '../core/errors';
import type { Logger } from '../core/logger';
import { failed, IDLE, loading, ready, type Store } from '../core/state/store';
import { findVenvInterpreter, namedInterpreter, probePythonEnvironment } from '../node/pythonProbe';
import { failureOf } from './probing';
import type { SettingsReader } from './settings';

/** The part of the Python extension's API that is used. */
const pythonApiSchema = v.object({
  environments: v.object({ getActiveEnvironmentPath: v.function(), resolveEnvironment: v.function() }),
});
const activePathSchema = v.object({ path: v.string() });
const resolvedSchema = v.object({ executable: v.object({ uri: v.optional(v.object({ fsPath: v.string() })) }) });

/** The collector of environment facts. */
export class EnvironmentProbing implements vscode.Disposable {
  readonly #store: Store<AppState>;
  readonly #settings: SettingsReader;
  readonly #log: Logger;
  readonly #scriptPath: string;
  #running: AbortController | null = null;

  /** @param scriptPath probe.py */
  constructor(store: Store<AppState>, settings: SettingsReader, log: Logger, scriptPath: string) {
    this.#store = store;
    this.#settings = settings;
    this.#log = log;
    this.#scriptPath = scriptPath;
  }

  /** Inspects; the outcome is in the store, a failure included. A newer call ends an older one. */
  async probe(): Promise<void> {
    this.#running?.abort();
    const run = new AbortController();
    this.#running = run;
    this.#store.update((state) => ({ ...state, environment: loading(state.environment) }));
    try {
      const interpreter = await this.findInterpreter();
      const facts =
        interpreter === null
          ? null
          : await probePythonEnvironment({
              interpreter,
              scriptPath: this.#scriptPath,
              env: process.env,
              signal: run.signal,
            });
      if (this.#running !== run) return;
      this.#store.patch({ environment: facts === null ? IDLE : ready(facts) });
      this.#log.info('Inspected the Python environment.', {
        interpreter,
        vllm: facts?.vllm?.version ?? null,
        unread: facts?.problems.length ?? 0,
      });
    } catch (error) {
      if (this.#running !== run) return;
      this.#log.warn('The Python environment could not be inspected.', DiagError.from(error));
      // What was found before belongs to another interpreter.
      this.#store.patch({ environment: failed(IDLE, failureOf(error)) });
    }
  }

  dispose(): void {
    this.#running?.abort();
    this.#running = null;
  }

  /** The setting, else the Python extension's choice, else the first folder's own environment; `null` without any. */
  async findInterpreter(): Promise<string | null> {
    const written = this.#settings.current.pythonPath.value;
    if (written !== '') return (await namedInterpreter(written)) ?? written;
    const folder = vscode.workspace.workspaceFolders?.[0]?.uri;
    const chosen = await this.#interpreterOfPythonExtension(folder);
    if (chosen !== null) return chosen;
    return folder?.scheme === 'file' ? findVenvInterpreter(folder.fsPath) : null;
  }

  /** Only when that extension is running anyway; it is not started for this. */
  async #interpreterOfPythonExtension(folder: vscode.Uri | undefined): Promise<string | null> {
    const extension = vscode.extensions.getExtension<unknown>('ms-python.python');
    if (extension?.isActive !== true) return null;
    try {
      const { environments } = v.parse(pythonApiSchema, extension.exports);
      const active: unknown = environments.getActiveEnvironmentPath(folder);
      const resolved: unknown = await environments.resolveEnvironment(v.parse(activePathSchema, active));
      return v.parse(resolvedSchema, resolved).executable.uri?.fsPath ?? null;
    } catch (error) {
      this.#log.debug('The Python extension could not be asked for its interpreter.', { error: String(error) });
      return null;
    }
  }
}
