/**
 * One installed library during a run, over as many processes as it takes: a case that ends its process costs its own row,
 * and a new process goes on with the next case.
 */
import type { CancelSignal } from '../core/async';
import type { AttentionCase, CaseResult, Ceilings, ResultStatus } from '../core/attentionCase';
import type { BackendEngine } from '../core/measure/engines';
import { emptyResult } from '../core/measure/emptyResult';
import { soundResult } from '../core/measure/engineResult';
import type { LibraryState } from '../core/report/report';
import { BACKEND_PROTOCOL_VERSION, type BackendMessage, type BackendRequest } from '../protocol/backendApi';
import type { RunOptions } from '../protocol/helperApi';
import { BackendProcess, type BackendDeadlines, type BackendLaunch, type RequestEnd } from './backendProcess';

/** After so many processes in a row that finished no case, the rest of the engine is not tried. */
const DEATHS_IN_A_ROW = 3;
/** And after so many in one run, whatever finished between them: each start imports the library anew. */
const DEATHS_AT_MOST = 12;

/** A case with the number it has in the run. */
export interface NumberedCase {
  readonly caseIndex: number;
  readonly case: AttentionCase;
}

/** What a turn is about. */
export interface Turn {
  readonly command: 'warm' | 'run';
  readonly deviceId: string;
  readonly cases: readonly NumberedCase[];
  readonly options: RunOptions;
  readonly ceilings: Ceilings | null;
}

/** Who hears of a turn. */
export interface TurnListeners {
  /** Once for each case of the turn, whatever happens, unless the turn is cancelled. */
  readonly onResult: (caseIndex: number, result: CaseResult) => void;
  readonly onPhase?: (phase: Extract<BackendMessage, { kind: 'phase' }>) => void;
  readonly signal: CancelSignal;
}

/** The engine. */
export class EngineRunner {
  readonly engine: BackendEngine;
  readonly #launch: BackendLaunch;
  readonly #deadlines: BackendDeadlines;
  #process: BackendProcess | null = null;
  #deathsInARow = 0;
  #deaths = 0;
  /** Why nothing more is tried. */
  #gaveUp: string | null = null;

  constructor(engine: BackendEngine, launch: BackendLaunch, deadlines: BackendDeadlines) {
    this.engine = engine;
    this.#launch = launch;
    this.#deadlines = deadlines;
  }

  /** A process of it is there, and may hold a context on the GPU. */
  get alive(): boolean {
    return this.#process?.alive ?? false;
  }

  /** Imports the library and says what it is. A process that ends over it is an answer too. */
  async describe(signal: CancelSignal): Promise<LibraryState> {
    const process = BackendProcess.start(this.#launch, this.#deadlines);
    const heard: { library: LibraryState | null; problem: string | null } = { library: null, problem: null };
    const request: BackendRequest = {
      protocolVersion: BACKEND_PROTOCOL_VERSION,
      command: 'describe',
      engine: this.engine,
      deviceId: 'cpu',
      cases: [],
      options: DESCRIBE_OPTIONS,
      ceilings: null,
    };
    const end = await process.request(
      request,
      {
        onMessage: (message) => {
          if (message.kind === 'library') heard.library = libraryState(this.engine, message);
        },
        onGarbled: (text) => (heard.problem = text),
      },
      signal,
    );
    await process.close();
    if (heard.library !== null) return heard.library;
    const text =
      end.kind === 'lost'
        ? end.text
        : `The runner did not say whether the library is there${heard.problem === null ? '' : ` (${heard.problem})`}.`;
    return {
      engine: this.engine,
      available: false,
      version: null,
      torch: null,
      reason: { code: end.kind === 'lost' ? end.code : 'noAnswer', text },
    };
  }

  /** Carries out a turn. Never rejects; after an abort the cases without a result stay without one. */
  async turn(turn: Turn, listeners: TurnListeners): Promise<void> {
    const open = new Map(turn.cases.map((each) => [each.caseIndex, each]));
    const finish = (caseIndex: number, result: CaseResult): void => {
      if (open.delete(caseIndex)) listeners.onResult(caseIndex, result);
    };
    const closeRest = (status: ResultStatus, code: string, text: string): void => {
      for (const caseIndex of [...open.keys()]) finish(caseIndex, emptyResult(status, code, text));
    };
    while (open.size > 0 && !listeners.signal.aborted) {
      if (this.#gaveUp !== null) {
        closeRest('crashed', 'gaveUp', this.#gaveUp);
        return;
      }
      const part = await this.#part(turn, [...open.values()], listeners, finish);
      if (listeners.signal.aborted) return;
      if (part.library !== null && !part.library.available) {
        const { reason } = part.library;
        closeRest('unsupported', reason?.code ?? 'notAvailable', reason?.text ?? 'The library cannot be called.');
        return;
      }
      if (part.end.kind === 'done') {
        closeRest('failed', 'noResult', 'The runner finished without a result for this case.');
        return;
      }
      this.#noteDeath(part.end, part.began);
      if (part.caseIndex !== null) finish(part.caseIndex, lostResult(part.end, part.phase));
      else if (!part.began)
        closeRest(part.end.why === 'deadline' ? 'timeout' : 'crashed', part.end.code, part.end.text);
    }
  }

  /** Ends its process, by itself or by force. */
  async close(): Promise<void> {
    const process = this.#process;
    this.#process = null;
    await process?.close();
  }

  /** Ends its process at once. */
  async kill(): Promise<void> {
    const process = this.#process;
    this.#process = null;
    await process?.kill();
  }

  async #part(
    turn: Turn,
    cases: readonly NumberedCase[],
    listeners: TurnListeners,
    finish: (caseIndex: number, result: CaseResult) => void,
  ): Promise<Part> {
    if (!this.alive) this.#process = BackendProcess.start(this.#launch, this.#deadlines);
    const process = this.#process;
    if (process === null) throw new Error('a process was just started');
    const asked = new Set(cases.map((each) => each.caseIndex));
    const heard: Heard = { caseIndex: null, phase: null, began: false, library: null };
    const end = await process.request(
      {
        protocolVersion: BACKEND_PROTOCOL_VERSION,
        command: turn.command,
        engine: this.engine,
        deviceId: turn.deviceId,
        cases: [...cases],
        options: turn.options,
        ceilings: turn.ceilings,
      },
      {
        onMessage: (message) => {
          switch (message.kind) {
            case 'hello':
              return;
            case 'library':
              heard.library = libraryState(this.engine, message);
              return;
            case 'phase':
              if (message.caseIndex !== null && !asked.has(message.caseIndex)) return;
              heard.caseIndex = message.caseIndex;
              heard.phase = message.phase;
              heard.began ||= message.caseIndex !== null;
              listeners.onPhase?.(message);
              return;
            case 'row':
              if (!asked.has(message.caseIndex)) return;
              heard.began = true;
              if (heard.caseIndex === message.caseIndex) heard.caseIndex = null;
              this.#deathsInARow = 0;
              finish(
                message.caseIndex,
                turn.command === 'warm' ? message.result : soundResult(message.result, turn.options.checkOnly),
              );
              return;
          }
        },
        onGarbled: (problem) => {
          if (heard.caseIndex === null) return;
          finish(
            heard.caseIndex,
            emptyResult('failed', 'badAnswer', `The answer for this case cannot be read: ${problem}.`),
          );
        },
      },
      listeners.signal,
    );
    if (end.kind === 'lost') this.#process = null;
    return { ...heard, end };
  }

  #noteDeath(end: Extract<RequestEnd, { kind: 'lost' }>, began: boolean): void {
    this.#deaths += 1;
    this.#deathsInARow += 1;
    const hopeless = !began || end.why === 'otherVersion';
    if (hopeless) this.#gaveUp = end.text;
    else if (this.#deathsInARow >= DEATHS_IN_A_ROW || this.#deaths >= DEATHS_AT_MOST) {
      this.#gaveUp = `Not tried: the process of this library ended ${this.#deaths} times before (last: ${end.text})`;
    }
  }
}

/** Unused by `describe`; the schema wants them. */
const DESCRIBE_OPTIONS: RunOptions = {
  targetMs: 1,
  warmupMs: 0,
  checkRows: 1,
  checkOnly: true,
  maxMemoryFraction: 0.1,
  ceilings: false,
  allowSlowCpu: false,
  hold: false,
};

/** What a process said of its part of a turn. */
interface Heard {
  /** The case it is busy with. */
  caseIndex: number | null;
  phase: string | null;
  /** It got as far as a case. */
  began: boolean;
  library: LibraryState | null;
}

interface Part extends Readonly<Heard> {
  readonly end: RequestEnd;
}

function libraryState(engine: string, said: Extract<BackendMessage, { kind: 'library' }>): LibraryState {
  const { available, version, torch, reason } = said;
  return { engine, available, version, torch, reason };
}

function lostResult(end: Extract<RequestEnd, { kind: 'lost' }>, phase: string | null): CaseResult {
  const during = phase === 'jit' && end.why === 'died' ? 'While compiling: ' : '';
  return emptyResult(end.why === 'deadline' ? 'timeout' : 'crashed', end.code, `${during}${end.text}`);
}
