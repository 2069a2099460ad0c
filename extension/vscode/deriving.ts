/** Keeps the answer of the rules in step with everything it depends on. */
import type * as vscode from 'vscode';
import type { AppState } from '../core/state/appState';
import { deriveAnswer } from '../core/state/derive';
import { whatIfAnswer, whatIfInputs } from '../core/state/whatIf';
import { DiagError } from '../core/errors';
import type { Logger } from '../core/logger';
import { failed, IDLE, ready, shallowEqual, type Store } from '../core/state/store';
import { failureOf } from './probing';

/** Evaluates off the call that changed the state, once for a burst of changes. */
export class Deriving implements vscode.Disposable {
  readonly #store: Store<AppState>;
  readonly #log: Logger;
  readonly #unsubscribe: () => void;
  #timer: NodeJS.Timeout | null = null;

  constructor(store: Store<AppState>, log: Logger) {
    this.#store = store;
    this.#log = log;
    this.#unsubscribe = store.subscribe(whatIfInputs, () => this.#schedule(), shallowEqual);
  }

  /** Evaluates now, also when nothing has changed yet. */
  refresh(): void {
    this.#schedule();
  }

  dispose(): void {
    this.#unsubscribe();
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  #schedule(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.#derive();
    }, 0);
  }

  #derive(): void {
    const startedMs = performance.now();
    try {
      const inputs = whatIfInputs(this.#store.state);
      const answer = deriveAnswer(inputs);
      this.#store.patch({ derived: answer === null ? IDLE : ready(answer), whatIf: whatIfAnswer(inputs) });
      this.#log.debug(`Evaluated the rules in ${(performance.now() - startedMs).toFixed(1)} ms.`);
    } catch (error) {
      this.#log.error('The rules could not be evaluated.', DiagError.from(error));
      // An older answer would be for another question.
      this.#store.patch({ derived: failed(IDLE, failureOf(error)), whatIf: null });
    }
  }
}
