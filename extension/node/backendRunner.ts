/**
 * Installed libraries beside the bundled kernels: the same device, the same cases, one after the other, so that nothing
 * measured here disturbs anything else measured here. With several rounds all of them take turns case by case.
 */
import os from 'node:os';
import path from 'node:path';
import { onCancel, type CancelSignal, type Clock } from '../core/async';
import type { CaseResult, Ceilings, ResultRow } from '../core/attentionCase';
import { DiagError } from '../core/errors';
import { BUNDLED_ENGINE, engineFacts, type BackendEngine } from '../core/measure/engines';
import { roundRatios, rowOfRounds, withCeilingShare, type RoundRatio, type RoundTime } from '../core/measure/rounds';
import type { LibraryState } from '../core/report/report';
import type { RunOptions, RunProgress } from '../protocol/helperApi';
import type { BackendMessage } from '../protocol/backendApi';
import { EngineRunner, type NumberedCase } from './backendEngine';
import type { BackendDeadlines, BackendLaunch } from './backendProcess';
import { checkInterpreter } from './pythonProcess';
import {
  computeProcesses,
  findDevice,
  holdDevice,
  type HeldDevice,
  type RunSessionOptions,
  type RunSessionResult,
} from './runSession';
import { caseDeadlineMs } from './runSupervisor';
import { systemClock } from './systemClock';

/** Which libraries, under which interpreter. */
export interface BackendPlan {
  /** Absolute path. */
  readonly interpreter: string;
  /** Those of engines that live in an environment of their own: libraries' requirements exclude each other. */
  readonly interpreters?: Readonly<Partial<Record<BackendEngine, string>>>;
  /** bench_backends.py. */
  readonly scriptPath: string;
  readonly env: NodeJS.ProcessEnv;
  readonly engines: readonly BackendEngine[];
  /** How often each case is measured by each engine, taking turns; 1 = one engine after the other. */
  readonly rounds: number;
  /** Shorter ones for tests. */
  readonly deadlines?: Partial<BackendDeadlines>;
}

/** Where a run with libraries is. */
export interface BackendProgress {
  /** `null` while all libraries are asked or compiled at once. */
  readonly engine: string | null;
  readonly caseIndex: number | null;
  readonly phase:
    Extract<RunProgress, { kind: 'phase' }>['phase'] | Extract<BackendMessage, { kind: 'phase' }>['phase'];
  /** From 0; `null` without rounds. */
  readonly round: number | null;
}

/** What a run with libraries needs besides. */
export interface BackendRunOptions extends Omit<RunSessionOptions, 'onPhase' | 'onRow'> {
  readonly plan: BackendPlan;
  readonly signal: CancelSignal;
  /** When the libraries that were asked for are known. */
  readonly onLibraries?: (libraries: readonly LibraryState[]) => void;
  readonly onProgress?: (progress: BackendProgress) => void;
  readonly onRow: (row: ResultRow, caseIndex: number) => void;
}

export interface BackendRunResult extends RunSessionResult {
  readonly libraries: readonly LibraryState[];
  readonly ratios: readonly RoundRatio[];
}

/** Starting an interpreter on a cold network file system. */
const START_DEADLINE_MS = 60_000;
/** Importing torch and a library from such a place. */
const IMPORT_DEADLINE_MS = 240_000;
/** A compiler run per case; the slowest known takes minutes for all of them. */
const JIT_DEADLINE_MS = 600_000;
/** Rounds look at fewer rows where the case was not held: the same process ran the same case before. */
const LATER_CHECK_ROWS = 32;
/**
 * The GPU comes from the turn of another engine and is warm, but its clock has risen in the moments in which an output was
 * compared: under a power limit that would favour short turns.
 */
const LATER_WARMUP_MS = 60;
/** Cases compiled in one process before the next one takes over, at least. */
const WARM_CHUNK = 4;
/** Who else uses the GPU is looked up this often, although every waiting engine is taken for a stranger by the one at work. */
const STRANGERS_KNOWN_MS = 1000;

/** Where bench_backends.py is in an installation or a checkout. */
export function benchScript(rootDir: string): string {
  return path.join(rootDir, 'extension', 'python', 'bench_backends.py');
}

/** The interpreter that has this engine. */
export function interpreterOf(plan: Pick<BackendPlan, 'interpreter' | 'interpreters'>, engine: BackendEngine): string {
  return plan.interpreters?.[engine] ?? plan.interpreter;
}

/** How many interpreters are busy at a time while nothing is timed. */
function parallelProcesses(): number {
  return Math.max(1, Math.min(12, Math.floor(os.availableParallelism() * 0.75)));
}

/**
 * Measures the bundled kernels and the libraries of the plan. Libraries that are not there are listed, never a failure.
 * Rejects as `runKernels` does, and with `interpreterUnusable`; rows reported until then stand.
 */
export async function runBackends(options: BackendRunOptions): Promise<BackendRunResult> {
  const { plan } = options;
  for (const file of new Set(plan.engines.map((engine) => interpreterOf(plan, engine)))) await checkInterpreter(file);
  return holdDevice(options, (held) => new BackendRun(options, held).run());
}

class BackendRun {
  readonly #options: BackendRunOptions;
  readonly #held: HeldDevice;
  readonly #launch: Omit<BackendLaunch, 'interpreter'>;
  readonly #deadlines: BackendDeadlines;
  readonly #cases: readonly NumberedCase[];
  readonly #rows: ResultRow[] = [];
  readonly #times: RoundTime[] = [];
  /** Compute processes of others on the device before ours were started. */
  readonly #othersBefore: number;
  #runners: EngineRunner[] = [];
  #ceilings: Ceilings | null = null;
  /** First-call times of the parallel compilation, by engine and case. */
  readonly #jitMs = new Map<string, number>();
  /** Cases whose compilation had no end, by engine and case; they are not tried again. */
  readonly #hung = new Map<string, CaseResult>();
  /** The last look at who uses the GPU. */
  #strangers: { readonly askedMs: number; readonly answer: Promise<boolean> } | null = null;

  constructor(options: BackendRunOptions, held: HeldDevice) {
    const { plan, params } = options;
    const clock: Clock = options.clock ?? systemClock;
    this.#options = options;
    this.#held = held;
    this.#launch = {
      scriptPath: plan.scriptPath,
      env: plan.env,
      logger: options.logger,
      clock,
    };
    this.#deadlines = {
      startMs: START_DEADLINE_MS,
      importMs: IMPORT_DEADLINE_MS,
      jitMs: JIT_DEADLINE_MS,
      caseMs: caseDeadlineMs(params.options),
      ...plan.deadlines,
    };
    this.#cases = params.cases.map((each, caseIndex) => ({ caseIndex, case: each }));
    this.#othersBefore = computeProcesses(held.device).length;
  }

  async run(): Promise<BackendRunResult> {
    const { signal } = this.#options;
    try {
      const libraries = await this.#describe();
      if (!signal.aborted) await this.#warm();
      if (!signal.aborted) await (this.#options.plan.rounds > 1 ? this.#inRounds() : this.#oneAfterTheOther());
      return {
        facts: this.#held.facts,
        rows: this.#rows,
        ceilings: this.#ceilings,
        ended: signal.aborted ? 'cancelled' : 'complete',
        libraries,
        ratios: roundRatios(this.#times),
      };
    } finally {
      await Promise.all(this.#runners.map((runner) => (signal.aborted ? runner.kill() : runner.close())));
    }
  }

  /** The first call of a library that compiles nothing has no more time than any other. */
  #runner(engine: BackendEngine): EngineRunner {
    const { jitMs, caseMs } = this.#deadlines;
    const compiles = engineFacts(engine)?.compiles === true;
    const launch = { ...this.#launch, interpreter: interpreterOf(this.#options.plan, engine) };
    return new EngineRunner(engine, launch, { ...this.#deadlines, jitMs: compiles ? jitMs : caseMs });
  }

  async #describe(): Promise<readonly LibraryState[]> {
    const { plan, signal } = this.#options;
    this.#progress({ engine: null, caseIndex: null, phase: 'import', round: null });
    const runners = plan.engines.map((engine) => this.#runner(engine));
    const libraries = await inParallel(
      runners.map((runner) => () => runner.describe(signal)),
      parallelProcesses(),
      signal,
    );
    const present = new Set(libraries.filter((library) => library.available).map((library) => library.engine));
    this.#runners = runners.filter((runner) => present.has(runner.engine));
    this.#options.onLibraries?.(libraries);
    return libraries;
  }

  /** Compiles what the cases need, in processes of their own: libraries keep what they compiled on disk. */
  async #warm(): Promise<void> {
    const { params, signal } = this.#options;
    const compiling = this.#runners.filter((runner) => engineFacts(runner.engine)?.compiles === true);
    const share = Math.ceil((this.#cases.length * compiling.length) / parallelProcesses());
    const chunks = compiling.flatMap((runner) =>
      chunksOf(this.#cases, Math.max(WARM_CHUNK, share)).map((cases) => ({ engine: runner.engine, cases })),
    );
    if (chunks.length === 0) return;
    const atATime = Math.min(parallelProcesses(), chunks.length);
    const options = { ...params.options, maxMemoryFraction: params.options.maxMemoryFraction / atATime };
    await inParallel(
      chunks.map(({ engine, cases }) => async () => {
        const runner = this.#runner(engine);
        await runner.turn(
          { command: 'warm', deviceId: params.deviceId, cases, options, ceilings: null },
          {
            signal,
            onPhase: ({ caseIndex, phase }) => this.#progress({ engine, caseIndex, phase, round: null }),
            onResult: (caseIndex, result) => {
              const key = engineCaseKey(engine, caseIndex);
              if (result.jitMs !== null && result.jitMs >= 0) this.#jitMs.set(key, result.jitMs);
              if (result.status === 'timeout') this.#hung.set(key, result);
            },
          },
        );
        await (signal.aborted ? runner.kill() : runner.close());
      }),
      atATime,
      signal,
    );
  }

  async #oneAfterTheOther(): Promise<void> {
    const { params } = this.#options;
    await this.#bundled(this.#cases, params.options, null, (row, caseIndex) => this.#keep(row, caseIndex));
    for (const runner of this.#runners) {
      await this.#engine(runner, this.#cases, params.options, null, (row, caseIndex) => this.#keep(row, caseIndex));
      // Its context and its memory are not there while the next one is timed.
      await runner.close();
    }
  }

  async #inRounds(): Promise<void> {
    const { params, plan, signal } = this.#options;
    const players: readonly (EngineRunner | null)[] = [null, ...this.#runners];
    for (const each of this.#cases) {
      const checked = await this.#prepared(each, players);
      const rows = new Map<string, ResultRow[]>();
      for (let round = 0; round < plan.rounds && !signal.aborted; round += 1) {
        for (const runner of turned(players, round)) {
          if (signal.aborted) break;
          const engine = engineOf(runner);
          const before = rows.get(engine) ?? [];
          // What cannot run this case is not asked again.
          const last = before.at(-1) ?? checked.get(engine);
          if (last?.result.status !== 'ok') continue;
          const options: RunOptions = {
            ...this.#sharedOptions(players),
            hold: true,
            ceilings: false,
            checkRows: fewerRows(params.options.checkRows),
            warmupMs: round === 0 ? params.options.warmupMs : Math.min(params.options.warmupMs, LATER_WARMUP_MS),
          };
          await this.#player(runner, each, options, round, (row) => {
            rows.set(engine, [...before, row]);
            this.#times.push({ engine, caseIndex: each.caseIndex, round, row });
          });
        }
      }
      for (const [engine, first] of checked) {
        const own = rows.get(engine);
        const row = own === undefined ? first : rowOfRounds(own, first);
        // Without a round there is nothing but an error to tell of, or a cancelled run.
        if (row !== null && (own !== undefined || first.result.status !== 'ok')) this.#keep(row, each.caseIndex);
      }
      if (signal.aborted) return;
    }
  }

  /** Everybody prepares a case and compares it with the reference, side by side: nothing is timed meanwhile. */
  async #prepared(
    each: NumberedCase,
    players: readonly (EngineRunner | null)[],
  ): Promise<ReadonlyMap<string, ResultRow>> {
    const { params } = this.#options;
    const found = new Map<string, ResultRow>();
    const prepare = async (runner: EngineRunner | null, ceilings: boolean): Promise<void> => {
      const options: RunOptions = { ...this.#sharedOptions(players), hold: true, checkOnly: true, ceilings };
      await this.#player(runner, each, options, null, (row) => found.set(engineOf(runner), row));
      const jitMs = found.get(engineOf(runner))?.result.jitMs ?? null;
      if (jitMs !== null) this.#jitMs.set(engineCaseKey(engineOf(runner), each.caseIndex), jitMs);
    };
    const ceilings = params.options.ceilings && this.#ceilings === null;
    // The ceilings are times: nobody else is at work yet.
    if (ceilings) await prepare(null, true);
    await Promise.all(players.filter((runner) => runner !== null || !ceilings).map((runner) => prepare(runner, false)));
    return new Map(
      players.flatMap((runner) => {
        const row = found.get(engineOf(runner));
        return row === undefined ? [] : [[engineOf(runner), row] as const];
      }),
    );
  }

  /** Cases of all players stay on the device for the rounds, so each may take its part of the share. */
  #sharedOptions(players: readonly unknown[]): RunOptions {
    const { options } = this.#options.params;
    return { ...options, maxMemoryFraction: options.maxMemoryFraction / players.length };
  }

  #player(
    runner: EngineRunner | null,
    each: NumberedCase,
    options: RunOptions,
    round: number | null,
    keep: (row: ResultRow) => void,
  ): Promise<void> {
    return runner === null
      ? this.#bundled([each], options, round, keep)
      : this.#engine(runner, [each], options, round, keep);
  }

  async #bundled(
    cases: readonly NumberedCase[],
    options: RunOptions,
    round: number | null,
    keep: (row: ResultRow, caseIndex: number) => void,
  ): Promise<void> {
    const { client, params, signal, onCancelAck } = this.#options;
    const pending: Promise<void>[] = [];
    await client.run(
      { ...params, cases: cases.map((each) => each.case), options },
      {
        signal,
        ...(onCancelAck === undefined ? {} : { onCancelAck }),
        onProgress: (progress) => {
          if (progress.kind === 'ceilings') {
            this.#ceilings = progress.ceilings;
            this.#options.onCeilings?.(progress.ceilings);
            return;
          }
          const numbered = progress.caseIndex === null ? undefined : cases[progress.caseIndex];
          if (progress.kind === 'phase') {
            const caseIndex = numbered?.caseIndex ?? null;
            this.#progress({ engine: BUNDLED_ENGINE, caseIndex, phase: progress.phase, round });
          } else if (numbered !== undefined) {
            pending.push(this.#settle(BUNDLED_ENGINE, numbered, progress.result, keep));
          }
        },
      },
    );
    await Promise.all(pending);
  }

  async #engine(
    runner: EngineRunner,
    cases: readonly NumberedCase[],
    options: RunOptions,
    round: number | null,
    keep: (row: ResultRow, caseIndex: number) => void,
  ): Promise<void> {
    const { engine } = runner;
    const { params, signal } = this.#options;
    const pending: Promise<void>[] = [];
    const numbered = new Map(cases.map((each) => [each.caseIndex, each]));
    const settle = (caseIndex: number, result: CaseResult): void => {
      const each = numbered.get(caseIndex);
      if (each !== undefined) pending.push(this.#settle(engine, each, result, keep));
    };
    const left = cases.filter(({ caseIndex }) => {
      const hung = this.#hung.get(engineCaseKey(engine, caseIndex));
      if (hung !== undefined) settle(caseIndex, hung);
      return hung === undefined;
    });
    await runner.turn(
      { command: 'run', deviceId: params.deviceId, cases: left, options, ceilings: this.#ceilings },
      {
        signal,
        onPhase: ({ caseIndex, phase }) => this.#progress({ engine, caseIndex, phase, round }),
        onResult: settle,
      },
    );
    await Promise.all(pending);
  }

  /** From a result to a row: ceiling share, compile time of the parallel compilation, and whose neighbours disturbed it. */
  async #settle(
    engine: string,
    { caseIndex, case: asked }: NumberedCase,
    result: CaseResult,
    keep: (row: ResultRow, caseIndex: number) => void,
  ): Promise<void> {
    const warmed = this.#jitMs.get(engineCaseKey(engine, caseIndex)) ?? null;
    const jitMs = warmed === null ? result.jitMs : Math.max(warmed, result.jitMs ?? 0);
    const contended = result.contended && (await this.#othersArePresent());
    const whole = withCeilingShare(asked, { ...result, jitMs, contended }, this.#ceilings);
    keep({ engine, deviceId: this.#options.params.deviceId, case: asked, result: whole }, caseIndex);
  }

  /** An engine sees the waiting processes of the others as strangers; only we can tell. */
  #othersArePresent(): Promise<boolean> {
    const nowMs = performance.now();
    if (this.#strangers === null || nowMs - this.#strangers.askedMs > STRANGERS_KNOWN_MS) {
      this.#strangers = { askedMs: nowMs, answer: this.#countOthers() };
    }
    return this.#strangers.answer;
  }

  async #countOthers(): Promise<boolean> {
    const { busy, device } = this.#held;
    if (busy || device.kind !== 'gpu') return true;
    const ours = this.#runners.filter((runner) => runner.alive).length + 1;
    try {
      const facts = await this.#options.client.probe('nvml', this.#options.signal);
      return computeProcesses(findDevice(facts, device.id)).length > this.#othersBefore + ours;
    } catch (error) {
      this.#options.logger.debug('Could not look who uses the GPU.', DiagError.from(error));
      return true;
    }
  }

  #keep(row: ResultRow, caseIndex: number): void {
    this.#rows.push(row);
    this.#options.onRow(row, caseIndex);
  }

  #progress(progress: BackendProgress): void {
    this.#options.onProgress?.(progress);
  }
}

function engineOf(runner: EngineRunner | null): string {
  return runner?.engine ?? BUNDLED_ENGINE;
}

function engineCaseKey(engine: string, caseIndex: number): string {
  return `${engine}|${caseIndex}`;
}

function fewerRows(checkRows: RunOptions['checkRows']): RunOptions['checkRows'] {
  return checkRows === 'all' ? LATER_CHECK_ROWS : Math.min(checkRows, LATER_CHECK_ROWS);
}

/** The list begun at another place each round, so that nobody is always first. */
function turned<T>(list: readonly T[], round: number): readonly T[] {
  const start = round % list.length;
  return [...list.slice(start), ...list.slice(0, start)];
}

function chunksOf<T>(list: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(list.length / size) }, (_, index) =>
    list.slice(index * size, (index + 1) * size),
  );
}

/** Runs tasks, at most `atATime` at once, and gives their answers in order; after an abort no further one is started. */
async function inParallel<T>(
  tasks: readonly (() => Promise<T>)[],
  atATime: number,
  signal: CancelSignal,
): Promise<T[]> {
  const answers: T[] = [];
  let next = 0;
  let stopped = false;
  const stopListening = onCancel(signal, () => (stopped = true));
  const work = async (): Promise<void> => {
    for (let index = next++; index < tasks.length && !stopped; index = next++) {
      const answer = await tasks[index]?.();
      if (answer !== undefined) answers[index] = answer;
    }
  };
  await Promise.all(Array.from({ length: Math.min(atATime, tasks.length) }, work));
  stopListening();
  return answers.filter(() => true);
}
