/** Probes: asks the helper what is here, keeps the last good answer over restarts. Starts nothing by itself. */
import * as v from 'valibot';
import type { Memento } from 'vscode';
import type { AppState } from '../core/state/appState';
import { DiagError } from '../core/errors';
import { errorText } from '../core/errorText';
import { systemFactsSchema, type ProbeLevel, type SystemFacts } from '../core/facts';
import type { Logger } from '../core/logger';
import { failed, known, loading, ready, type Failure, type Store } from '../core/state/store';
import type { HelperClient } from '../node/helperClient';

/** Key of the last facts in the global state. */
const LAST_FACTS_KEY = 'lastFacts.v1';

/** The collector of system facts. */
export class Probing {
  readonly #store: Store<AppState>;
  readonly #log: Logger;
  readonly #memory: Memento;
  readonly #client: () => Pick<HelperClient, 'probe'>;

  /** @param client makes or returns the helper client; only called when a probe is asked for */
  constructor(store: Store<AppState>, log: Logger, memory: Memento, client: () => Pick<HelperClient, 'probe'>) {
    this.#store = store;
    this.#log = log;
    this.#memory = memory;
    this.#client = client;
  }

  /** Shows the facts of an earlier session, marked stale; no process. Facts of another shape are forgotten. */
  restore(): void {
    const kept = this.#memory.get<unknown>(LAST_FACTS_KEY);
    if (kept === undefined) return;
    const parsed = v.safeParse(systemFactsSchema, kept);
    if (parsed.success) this.#store.patch({ facts: { status: 'ready', value: parsed.output, stale: true } });
    else this.#log.debug('The facts kept from an earlier session have another shape; they are not shown.');
  }

  /** Probes; the outcome is in the store, a failure included. */
  async probe(level: ProbeLevel): Promise<void> {
    if (this.#store.state.facts.status === 'loading') return;
    this.#store.update((state) => ({ ...state, facts: loading(state.facts) }));
    try {
      this.accept(await this.#client().probe(level));
    } catch (error) {
      this.#log.warn('The probe failed.', DiagError.from(error));
      this.#store.update((state) => ({ ...state, facts: failed(state.facts, failureOf(error)) }));
    }
  }

  /** Fresh facts from wherever they were collected (a run probes too). */
  accept(facts: SystemFacts): void {
    const before = known(this.#store.state.facts);
    this.#store.patch({ facts: ready(before === null ? facts : keepDriverFacts(facts, before)) });
    this.#log.info('Probed this machine.', {
      level: facts.level,
      driver: facts.driverVersion,
      devices: facts.devices.map((device) => device.name),
    });
    this.#memory.update(LAST_FACTS_KEY, facts).then(undefined, (error: unknown) => {
      this.#log.debug('The facts could not be kept for the next session.', { error: String(error) });
    });
  }
}

/** Error → what the surfaces show. */
export function failureOf(error: unknown): Failure {
  const cause = DiagError.from(error);
  return { code: cause.code, ...errorText(cause) };
}

/**
 * A management-library probe knows less of a device than an earlier driver probe did; what cannot change while the machine
 * is up (sizes, not indices or free memory) is kept.
 */
function keepDriverFacts(fresh: SystemFacts, before: SystemFacts): SystemFacts {
  if (fresh.level === 'driver') return fresh;
  return {
    ...fresh,
    devices: fresh.devices.map((device) => {
      const earlier = before.devices.find((each) => each.id === device.id && each.name === device.name);
      if (earlier === undefined) return device;
      return {
        ...device,
        smCount: device.smCount ?? earlier.smCount,
        sharedMemoryPerBlockOptinBytes: device.sharedMemoryPerBlockOptinBytes ?? earlier.sharedMemoryPerBlockOptinBytes,
        l2Bytes: device.l2Bytes ?? earlier.l2Bytes,
      };
    }),
  };
}
