/**
 * Asks the installed vLLM itself about the request on screen. Only on request, in a trusted workspace; with progress, and
 * cancel kills everything that was started.
 */
import * as vscode from 'vscode';
import { askedCapability, currentDevice, type AppState } from '../core/state/appState';
import { currentRequest } from '../core/state/derive';
import { DiagError } from '../core/errors';
import { installedVllmVersion } from '../core/environment';
import type { Logger } from '../core/logger';
import { progressText, validationKey, validationQuestion } from '../core/rules/validation';
import { failed, IDLE, known, loading, ready, type Store } from '../core/state/store';
import { askInstalledVllm } from '../node/vllmValidation';
import { failureOf } from './probing';

/** The collector of the installed vLLM's own answers. */
export class Validating implements vscode.Disposable {
  readonly #store: Store<AppState>;
  readonly #log: Logger;
  readonly #scriptPath: string;
  readonly #unsubscribe: () => void;
  #running: AbortController | null = null;

  /** @param scriptPath validate.py */
  constructor(store: Store<AppState>, log: Logger, scriptPath: string) {
    this.#store = store;
    this.#log = log;
    this.#scriptPath = scriptPath;
    // What the vLLM of another interpreter goes on to say is about that one.
    this.#unsubscribe = store.subscribe(
      (state) => state.interpreter,
      () => this.#stop(),
    );
  }

  /**
   * Asks; the outcome is in the store. A newer call ends an older one. Rejects with `usage` when there is nobody or
   * nothing to ask.
   *
   * @param inspect inspects the Python environment, unless that was done for the interpreter that is found now
   */
  async ask(inspect: () => Promise<void>): Promise<void> {
    if (!this.#store.state.trusted) {
      throw new DiagError('usage', {
        problem: vscode.l10n.t('Nothing is started in an untrusted workspace. Trust this folder first.'),
      });
    }
    await inspect();
    const { state } = this.#store;
    const environment = known(state.environment);
    const request = currentRequest(state);
    if (environment === null || environment.vllm === null) {
      throw new DiagError('usage', {
        problem: vscode.l10n.t('No Python environment with vLLM is known. Set attentionDiagnostics.pythonPath.'),
      });
    }
    if (request === null) {
      throw new DiagError('usage', { problem: vscode.l10n.t('Choose an SM family to ask about first.') });
    }
    const installed = installedVllmVersion(environment);
    if (installed !== null && installed !== request.vllmVersion) {
      throw new DiagError('usage', {
        problem: vscode.l10n.t(
          'The installed vLLM is {0}, and the setting asks about {1}. Ask about the installed one first.',
          installed,
          request.vllmVersion,
        ),
      });
    }
    const real = currentDevice(state)?.computeCapability ?? null;
    const stated = real === null || real.join() !== askedCapability(state)?.join();
    this.#running?.abort();
    const run = new AbortController();
    this.#running = run;
    this.#store.update((before) => ({ ...before, validation: loading(before.validation) }));
    try {
      const validation = await vscode.window.withProgress(
        {
          location: vscode.ProgressLocation.Notification,
          cancellable: true,
          title: vscode.l10n.t('Asking the installed vLLM'),
        },
        (progress, token) => {
          token.onCancellationRequested(() => run.abort());
          return askInstalledVllm({
            interpreter: environment.python.executable,
            scriptPath: this.#scriptPath,
            env: process.env,
            question: validationQuestion(request, stated),
            key: validationKey(request),
            signal: run.signal,
            onProgress: (step) => progress.report({ message: progressText(step) }),
          });
        },
      );
      if (this.#running !== run) return;
      this.#store.patch({ validation: ready(validation) });
      this.#log.info('Asked the installed vLLM.', {
        outcome: validation.kind,
        ...(validation.kind === 'failed'
          ? { stage: validation.stage, problem: validation.text }
          : { vllm: validation.answer.vllm, durationMs: validation.answer.durationMs }),
      });
    } catch (error) {
      if (this.#running !== run) return;
      const cancelled = DiagError.is(error, 'cancelled');
      this.#store.patch({ validation: cancelled ? IDLE : failed(IDLE, failureOf(error)) });
      if (!cancelled) throw error;
    } finally {
      if (this.#running === run) this.#running = null;
    }
  }

  dispose(): void {
    this.#unsubscribe();
    this.#stop();
  }

  #stop(): void {
    this.#running?.abort();
    this.#running = null;
  }
}
