/**
 * Inspects the Python environment that has vLLM and keeps the answer in the store, in step with the interpreter that is
 * meant. Only called when the user asked for it, in a trusted workspace.
 */
import type { AppState } from '../core/state/appState';
import type { CancelSignal } from '../core/async';
import type { EnvironmentFacts } from '../core/environment';
import { DiagError } from '../core/errors';
import type { Logger } from '../core/logger';
import { inspecting, mustInspect } from '../core/state/inspection';
import { failed, IDLE, loading, ready, type Store } from '../core/state/store';
import { failureOf } from './probing';

/** What an inspection needs from the rest of the host. */
export interface EnvironmentPorts {
  readonly store: Store<AppState>;
  readonly log: Logger;
  /** The interpreter that is meant now; `null` = none is known. */
  readonly findInterpreter: () => Promise<string | null>;
  /** Runs the probe under an interpreter. */
  readonly inspect: (interpreter: string, signal: CancelSignal) => Promise<EnvironmentFacts>;
}

/** The collector of environment facts. */
export class EnvironmentProbing {
  readonly #ports: EnvironmentPorts;
  #running: AbortController | null = null;
  /** The newest inspection, going on or over; `null` = nobody has asked for one. */
  #newest: Promise<void> | null = null;

  constructor(ports: EnvironmentPorts) {
    this.#ports = ports;
  }

  /** Inspects; the outcome is in the store, a failure included. A newer call ends an older one, which is over with it. */
  probe(): Promise<void> {
    this.#running?.abort();
    const run = new AbortController();
    this.#running = run;
    const newest = this.#inspect(run).then(() => (this.#running === run ? undefined : (this.#newest ?? undefined)));
    this.#newest = newest;
    return newest;
  }

  /** Inspects, unless what is known was found under the interpreter that is meant now. */
  async ensureCurrent(): Promise<void> {
    await this.#newest;
    const interpreter = await this.#ports.findInterpreter();
    if (mustInspect(this.#ports.store.state, interpreter)) await this.probe();
  }

  /** To be called when another interpreter may be meant: inspects again what was inspected, and nothing before that. */
  async interpreterChanged(): Promise<void> {
    if (this.#newest !== null) await this.probe();
  }

  dispose(): void {
    this.#running?.abort();
    this.#running = null;
    this.#newest = null;
  }

  async #inspect(run: AbortController): Promise<void> {
    const { store, log, findInterpreter, inspect } = this.#ports;
    store.update((state) => ({ ...state, environment: loading(state.environment) }));
    try {
      const interpreter = await findInterpreter();
      if (this.#running !== run) return;
      store.update((state) => inspecting(state, interpreter));
      const facts = interpreter === null ? null : await inspect(interpreter, run.signal);
      if (this.#running !== run) return;
      store.patch({ environment: facts === null ? IDLE : ready(facts) });
      log.info('Inspected the Python environment.', {
        interpreter,
        vllm: facts?.vllm?.version ?? null,
        unread: facts?.problems.length ?? 0,
      });
    } catch (error) {
      if (this.#running !== run) return;
      log.warn('The Python environment could not be inspected.', DiagError.from(error));
      // What was found before may be of another interpreter, or not hold any more.
      store.patch({ environment: failed(IDLE, failureOf(error)) });
    }
  }
}
