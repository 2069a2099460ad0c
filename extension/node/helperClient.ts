/**
 * The client's side of the helper: starts it when it is needed, restarts it within a budget, ends it when idle, and
 * stops asking a GPU whose helper is stuck in the driver.
 */
import { abandonable, CancelSource, sleep, type CancelSignal, type Clock } from '../core/async';
import { DiagError } from '../core/errors';
import { errorText } from '../core/errorText';
import type { ProbeLevel, SystemFacts } from '../core/facts';
import { silentLogger, type Logger } from '../core/logger';
import { probeMethod, type Hello, type RunParams, type RunResult } from '../protocol/helperApi';
import {
  HelperProcess,
  KILL_LADDER_MS,
  spawnHelper,
  type EndOutcome,
  type HelperLaunch,
  type SpawnHelper,
} from './helperProcess';
import { superviseRun, type HelperLender, type HelperPurpose, type RunListeners } from './runSupervisor';
import { systemClock } from './systemClock';

/** Three restarts in a row at most; a success refills the budget. */
export const RESTART_BACKOFF_MS: readonly number[] = [1000, 2000, 4000];

/** An unused helper leaves after this, so that no process and no GPU context outlives the question. */
export const IDLE_EXIT_MS = 30_000;

export interface HelperClientOptions {
  /** The bundled helperMain. */
  readonly helperPath: string;
  /** Where the addon may be, in order. */
  readonly addonPaths: readonly string[];
  /** Folder of kernel modules and manifest; `null` = none built or shipped. */
  readonly kernelDir: string | null;
  readonly logger?: Logger;
  readonly clock?: Clock;
  readonly env?: NodeJS.ProcessEnv;
  readonly spawn?: SpawnHelper;
  /** Waits before the restarts that follow a failure; their number is the budget. */
  readonly restartBackoffMs?: readonly number[];
}

/** One per window or command line. */
export class HelperClient {
  readonly #launch: HelperLaunch;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #spawn: SpawnHelper;
  readonly #restartBackoffMs: readonly number[];
  #current: HelperProcess | null = null;
  #starting: Promise<HelperProcess> | null = null;
  #hello: Hello | null = null;
  /** Failures since the last success. */
  #failures = 0;
  #stuck: { readonly pid: number; readonly deviceId: string | null } | null = null;
  #probes = new Map<ProbeLevel, Promise<SystemFacts>>();
  #runningDevice: string | null = null;
  #users = 0;
  #cancelIdleExit = (): void => undefined;
  /** The user asked again after the budget was spent: no back-off for that one try. */
  #skipBackoff = false;
  readonly #disposal = new CancelSource();
  readonly #lender: HelperLender = {
    acquire: (purpose, signal) => this.#acquire(purpose, signal),
    discard: (helper, purpose, reason) => this.#discard(helper, purpose, reason),
    noteSuccess: () => this.#noteSuccess(),
    noteFailure: (error) => this.#noteFailure(error),
  };

  constructor(options: HelperClientOptions) {
    this.#launch = {
      helperPath: options.helperPath,
      args: [
        ...options.addonPaths.flatMap((path) => ['--addon', path]),
        ...(options.kernelDir === null ? [] : ['--kernels', options.kernelDir]),
      ],
      env: options.env ?? process.env,
    };
    this.#clock = options.clock ?? systemClock;
    this.#log = options.logger ?? silentLogger;
    this.#spawn = options.spawn ?? spawnHelper;
    this.#restartBackoffMs = options.restartBackoffMs ?? RESTART_BACKOFF_MS;
  }

  /** What the last helper said about itself; `null` before the first start. */
  get hello(): Hello | null {
    return this.#hello;
  }

  /** A run is going on. */
  get running(): boolean {
    return this.#runningDevice !== null;
  }

  /**
   * Facts of this machine. Concurrent probes of one level share one request; an abort only ends the caller's wait.
   * Rejects with `cancelled`, `requestTimeout`, `helperStuck`, `helperGaveUp` or a start error.
   */
  async probe(level: ProbeLevel, signal?: CancelSignal): Promise<SystemFacts> {
    let shared = this.#probes.get(level);
    if (shared === undefined) {
      shared = this.#probeOnce(level).finally(() => this.#probes.delete(level));
      this.#probes.set(level, shared);
    }
    return abandonable(shared, signal);
  }

  /**
   * Runs cases and reports one row for each, whatever happens to the helper meanwhile.
   * Rejects only for what concerns the run as a whole: `runLocked` (one run at a time), start errors, a device that
   * cannot be opened, `helperStuck`. Rows reported before that stand.
   */
  async run(params: RunParams, listeners: RunListeners): Promise<RunResult> {
    if (this.#runningDevice !== null) {
      throw new DiagError('runLocked', { deviceId: this.#runningDevice, pid: process.pid, sinceMs: 0 });
    }
    this.#runningDevice = params.deviceId;
    this.#allowOneTry();
    try {
      return await superviseRun(this.#lender, params, listeners, this.#clock);
    } finally {
      this.#runningDevice = null;
    }
  }

  /**
   * Borrows a running helper, starting one if needed (after the back-off its failures have earned).
   * The caller gives it back with `release`.
   */
  async #acquire(
    purpose: HelperPurpose,
    signal?: CancelSignal,
  ): Promise<{ helper: HelperProcess; release: () => void }> {
    this.#users += 1;
    this.#cancelIdleExit();
    let held = true;
    const release = (): void => {
      if (!held) return;
      held = false;
      this.#users -= 1;
      if (this.#users === 0) this.#scheduleIdleExit();
    };
    try {
      this.#refuseStuck(purpose);
      while (this.#current === null || !this.#current.usable) {
        this.#starting ??= this.#start().finally(() => (this.#starting = null));
        await abandonable(this.#starting, signal);
      }
      return { helper: this.#current, release };
    } catch (error) {
      release();
      throw error;
    }
  }

  /** The helper did what it was asked: the restart budget is full again. */
  #noteSuccess(): void {
    this.#failures = 0;
  }

  /** It crashed or had to be killed. Throws `helperGaveUp` when the budget is spent. */
  #noteFailure(error: DiagError): void {
    this.#failures += 1;
    if (this.#failures > this.#restartBackoffMs.length) {
      throw new DiagError('helperGaveUp', { attempts: this.#failures, last: errorText(error).what }, error);
    }
  }

  /** Ends a helper that cannot be trusted any more; remembers it when it cannot be killed. */
  async #discard(helper: HelperProcess, purpose: HelperPurpose, reason: DiagError | null): Promise<EndOutcome> {
    if (this.#current === helper) this.#current = null;
    const outcome = await helper.end(reason, KILL_LADDER_MS.sigterm);
    if (outcome === 'stuck') {
      const stuck = { pid: helper.pid, deviceId: purpose === 'probe' ? null : purpose.deviceId };
      this.#stuck = stuck;
      void helper.exited.then(() => {
        if (this.#stuck === stuck) this.#stuck = null;
      });
    }
    return outcome;
  }

  /** Ends everything; pending requests fail with `helperDisposed`. */
  async dispose(): Promise<void> {
    this.#disposal.cancel();
    this.#cancelIdleExit();
    await this.#starting?.catch(() => undefined);
    const current = this.#current;
    this.#current = null;
    await current?.end(new DiagError('helperDisposed', {}));
  }

  async #probeOnce(level: ProbeLevel): Promise<SystemFacts> {
    this.#allowOneTry();
    for (;;) {
      const { helper, release } = await this.#acquire('probe');
      try {
        const facts = await helper.request(probeMethod, { level });
        this.#noteSuccess();
        return facts;
      } catch (error) {
        const known = DiagError.from(error);
        if (known.code === 'requestTimeout' || known.code === 'invalidMessage') {
          // Either it hangs or it is not what we think it is: in both cases the next question needs another one.
          void this.#discard(helper, 'probe', known);
          throw known;
        }
        if (known.code !== 'helperExited') throw known;
        this.#noteFailure(known);
      } finally {
        release();
      }
    }
  }

  /** Asked for by name after giving up: one try, not a whole new budget. */
  #allowOneTry(): void {
    if (this.#failures <= this.#restartBackoffMs.length) return;
    this.#failures = this.#restartBackoffMs.length;
    this.#skipBackoff = true;
  }

  async #start(): Promise<HelperProcess> {
    for (;;) {
      const waitMs = this.#restartBackoffMs[this.#failures - 1] ?? 0;
      if (waitMs > 0 && !this.#skipBackoff) await sleep(this.#clock, waitMs, this.#disposal.signal);
      this.#skipBackoff = false;
      if (this.#disposal.signal.aborted) throw new DiagError('helperDisposed', {});
      const startedMs = this.#clock.nowMs();
      try {
        const { helper, hello } = await HelperProcess.start(this.#launch, this.#clock, this.#log, this.#spawn);
        this.#log.debug(`helper ${hello.pid} ready after ${Math.round(this.#clock.nowMs() - startedMs)} ms`, hello);
        this.#hello = hello;
        this.#current = helper;
        return helper;
      } catch (error) {
        const known = DiagError.from(error);
        // Another version or a missing file will not get better by trying again.
        if (known.code !== 'helperExited' && known.code !== 'requestTimeout') throw known;
        this.#noteFailure(known);
      }
    }
  }

  #refuseStuck(purpose: HelperPurpose): void {
    const stuck = this.#stuck;
    if (stuck === null) return;
    const concerned =
      purpose === 'probe'
        ? true
        : purpose.deviceId !== 'cpu' && (stuck.deviceId === null || stuck.deviceId === purpose.deviceId);
    if (concerned) throw new DiagError('helperStuck', stuck);
  }

  #scheduleIdleExit(): void {
    if (this.#disposal.signal.aborted) return;
    this.#cancelIdleExit = this.#clock.schedule(IDLE_EXIT_MS, () => {
      const idle = this.#current;
      this.#current = null;
      if (idle !== null) {
        this.#log.debug(`helper ${idle.pid} was idle for ${IDLE_EXIT_MS / 1000} s`);
        void idle.end(null);
      }
    });
  }
}
