/** Runs of the bundled kernels, and of installed libraries beside them: one at a time, from the request on screen to rows in the store. */
import {
  addRow,
  currentDevice,
  isRunning,
  type AppState,
  type RunProgressState,
  type RunState,
} from '../core/state/appState';
import { expandForm } from '../core/measure/caseGrid';
import type { AttentionCase, Ceilings, ResultRow } from '../core/attentionCase';
import { DiagError } from '../core/errors';
import type { DeviceFacts, SystemFacts } from '../core/facts';
import type { CancelSignal } from '../core/async';
import type { BackendEngine } from '../core/measure/engines';
import type { Logger } from '../core/logger';
import type { Store } from '../core/state/store';
import { runBlocked } from '../core/view/viewModelsRun';
import type { HelperClient } from '../node/helperClient';
import { runBackends } from '../node/backendRunner';
import { runKernels, type RunSessionOptions } from '../node/runSession';
import { DEFAULT_RUN_OPTIONS, type RunOptions, type RunProgress } from '../protocol/helperApi';
import { failureOf } from './probing';

/** What the settings decide about a run. */
export type RunPreferences = Pick<RunOptions, 'targetMs' | 'warmupMs' | 'maxMemoryFraction'>;

/** What a run needs from the rest of the host. */
export interface RunningPorts {
  readonly store: Store<AppState>;
  readonly log: Logger;
  readonly client: () => HelperClient;
  readonly preferences: () => RunPreferences;
  readonly probe: () => Promise<void>;
  readonly acceptFacts: (facts: SystemFacts) => void;
  /** The interpreter whose libraries are measured; `null` = none is known. */
  readonly interpreter: () => Promise<string | null>;
  /** bench_backends.py */
  readonly benchScript: string;
}

/** A run on the surfaces, from its first phase to its end. */
export interface ShownRun {
  readonly onPhase: (phase: Extract<RunProgress, { kind: 'phase' }>) => void;
  readonly onRow: (row: ResultRow) => void;
  readonly onCeilings: (ceilings: Ceilings) => void;
  /** To be called once, however the run ended. */
  readonly end: (ended: 'complete' | 'cancelled', error: DiagError | null) => void;
}

/** The run controller. */
export class Running {
  readonly #ports: RunningPorts;
  #abort: AbortController | null = null;
  #answerBusy: ((go: boolean) => void) | null = null;

  constructor(ports: RunningPorts) {
    this.#ports = ports;
  }

  /**
   * Runs the cases of the request on the selected device and resolves when the last row is in. Failures of the run end up
   * in the store. Throws `usage` when a run cannot start.
   */
  async start(): Promise<void> {
    const device = await this.#deviceToRunOn();
    const abort = new AbortController();
    const cases = expandForm(this.#ports.store.state.form);
    const { end, ...listeners } = this.show(device.id, cases, abort);
    try {
      const { ended } = await runKernels({ ...this.#session(device.id, cases, abort.signal), ...listeners });
      end(ended, null);
    } catch (error) {
      end('cancelled', DiagError.from(error));
    }
  }

  /**
   * The same with these libraries beside the bundled kernels. Throws `usage`, or `interpreterUnknown`, when a run cannot
   * start.
   */
  async startWithLibraries(engines: readonly BackendEngine[]): Promise<void> {
    const { store, benchScript: scriptPath } = this.#ports;
    const device = await this.#deviceToRunOn();
    const interpreter = await this.#ports.interpreter();
    if (interpreter === null) throw new DiagError('interpreterUnknown', {});
    const abort = new AbortController();
    const cases = expandForm(store.state.form);
    const { end, onRow, onCeilings } = this.show(device.id, cases, abort);
    const total = (present: number): number => cases.length * (1 + present);
    this.#progress((run) => ({ ...run, libraries: { engine: null, total: total(engines.length) } }));
    try {
      const { ended } = await runBackends({
        ...this.#session(device.id, cases, abort.signal),
        onRow,
        onCeilings,
        signal: abort.signal,
        plan: { interpreter, scriptPath, env: process.env, engines, rounds: 1 },
        onLibraries: (libraries) => {
          store.patch({ libraries });
          const present = libraries.filter((library) => library.available).length;
          this.#progress((run) => ({ ...run, libraries: { engine: null, total: total(present) } }));
        },
        onProgress: ({ engine, caseIndex, phase }) =>
          this.#progress((run) => ({
            ...run,
            caseIndex,
            phase,
            libraries: { engine, total: run.libraries?.total ?? total(engines.length) },
          })),
      });
      end(ended, null);
    } catch (error) {
      end('cancelled', DiagError.from(error));
    }
  }

  /** The selected device, freshly looked at. Throws `usage` when no run can start. */
  async #deviceToRunOn(): Promise<DeviceFacts> {
    const { store } = this.#ports;
    this.#refuseSecond();
    if (store.state.facts.status !== 'ready' || store.state.facts.stale) await this.#ports.probe();
    const block = runBlocked(store.state);
    if (block !== null) throw new DiagError('usage', { problem: block.sentence });
    const device = currentDevice(store.state);
    if (device === null) throw new DiagError('deviceNotFound', { asked: 'any', present: [] });
    return device;
  }

  #session(
    deviceId: string,
    cases: readonly AttentionCase[],
    signal: CancelSignal,
  ): Omit<RunSessionOptions, 'onRow' | 'onPhase'> {
    return {
      client: this.#ports.client(),
      params: { deviceId, cases: [...cases], options: { ...DEFAULT_RUN_OPTIONS, ...this.#ports.preferences() } },
      logger: this.#ports.log,
      signal,
      onFacts: this.#ports.acceptFacts,
      confirmBusy: ({ summary }) => this.#askBusy(deviceId, summary),
    };
  }

  /**
   * Puts a run that begins on every surface, whoever drives it: its progress is shown and Cancel ends it.
   * Throws `usage` while another one goes on.
   * @param abort what Cancel aborts
   */
  show(deviceId: string, cases: readonly AttentionCase[], abort: AbortController): ShownRun {
    this.#refuseSecond();
    const { store } = this.#ports;
    this.#abort = abort;
    store.patch({ run: { kind: 'running', deviceId, cases, counts: {}, caseIndex: null, phase: null } });
    return {
      onPhase: ({ caseIndex, phase }) => this.#progress((run) => ({ ...run, caseIndex, phase })),
      onCeilings: (ceilings) =>
        store.update((state) => ({ ...state, ceilings: { ...state.ceilings, [deviceId]: ceilings } })),
      onRow: (row) => {
        store.update((state) => ({ ...state, rows: addRow(state.rows, row) }));
        const { status } = row.result;
        this.#progress((run) => ({ ...run, counts: { ...run.counts, [status]: (run.counts[status] ?? 0) + 1 } }));
      },
      end: (ended, error) => {
        this.#abort = null;
        this.#answerBusy = null;
        if (error === null) {
          this.#finish(ended, null);
          return;
        }
        const declined = error.code === 'cancelled' || error.code === 'deviceBusy';
        if (!declined) this.#ports.log.warn('The run failed.', error);
        this.#finish(declined ? 'cancelled' : 'failed', declined ? null : failureOf(error));
      },
    };
  }

  /** Asked again after every wait: two buttons pressed in one moment are still one run. */
  #refuseSecond(): void {
    if (!isRunning(this.#ports.store.state.run)) return;
    throw new DiagError('usage', { problem: 'A run is already going on. Cancel it first, or wait until it ends.' });
  }

  /** "Run all the same". Ignored when nothing was asked. */
  confirm(): void {
    this.#answerBusy?.(true);
  }

  /** Ends the run, or declines to run beside others. Finished rows stay. Ignored when nothing runs. */
  cancel(): void {
    if (this.#answerBusy !== null) {
      this.#answerBusy(false);
      return;
    }
    const { store } = this.#ports;
    if (store.state.run.kind === 'running') store.patch({ run: { ...store.state.run, kind: 'cancelling' } });
    this.#abort?.abort();
  }

  #askBusy(deviceId: string, summary: string): Promise<boolean> {
    const { store } = this.#ports;
    const before = store.state.run;
    return new Promise((resolve) => {
      this.#answerBusy = (go) => {
        this.#answerBusy = null;
        store.patch({ run: before });
        resolve(go);
      };
      store.patch({ run: { kind: 'confirmBusy', deviceId, summary } });
    });
  }

  #progress(change: (run: RunProgressState) => RunProgressState): void {
    this.#ports.store.update((state) =>
      state.run.kind === 'running' || state.run.kind === 'cancelling'
        ? { ...state, run: { ...change(state.run), kind: state.run.kind } }
        : state,
    );
  }

  #finish(ended: Extract<RunState, { kind: 'finished' }>['ended'], failure: ReturnType<typeof failureOf> | null): void {
    this.#ports.store.update((state) => ({
      ...state,
      run: {
        kind: 'finished',
        ended,
        deviceId: 'deviceId' in state.run ? state.run.deviceId : '',
        counts: 'counts' in state.run ? state.run.counts : {},
        failure,
      },
    }));
  }
}
