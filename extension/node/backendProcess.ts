/**
 * One process of python/bench_backends.py: one engine, requests one after the other. It is watched while it works: every step
 * has a deadline of its own, output is bounded, and what it leaves behind is ended with it.
 */
import { onCancel, type CancelSignal, type Clock } from '../core/async';
import { exitWords } from '../core/errorText';
import type { Logger } from '../core/logger';
import {
  BACKEND_LINE_MARKER,
  BACKEND_PROTOCOL_VERSION,
  backendMessageSchema,
  type BackendMessage,
  type BackendRequest,
} from '../protocol/backendApi';
import { firstIssue } from '../core/schemaIssue';
import { quoteWords, signalGroup, spawnPython, type PythonChild } from './pythonProcess';
import * as v from 'valibot';

/** How an engine's process is started. */
export interface BackendLaunch {
  /** Absolute path of the interpreter. */
  readonly interpreter: string;
  /** Absolute path of bench_backends.py. */
  readonly scriptPath: string;
  /** The surrounding environment; only what a library needs of it is passed on. */
  readonly env: NodeJS.ProcessEnv;
  readonly logger: Logger;
  readonly clock: Clock;
}

/** How long each step may take, milliseconds. */
export interface BackendDeadlines {
  /** From the start to the first line. */
  readonly startMs: number;
  readonly importMs: number;
  /** Compiling one case. */
  readonly jitMs: number;
  /** Every other step of a case. */
  readonly caseMs: number;
}

/** Who hears of a request. */
export interface RequestListeners {
  readonly onMessage: (message: Exclude<BackendMessage, { kind: 'done' }>) => void;
  /** A line that is not what was agreed on; Python writes NaN and Infinity, which JSON does not have. */
  readonly onGarbled: (problem: string) => void;
}

/** How a request ended. */
export type RequestEnd =
  | { readonly kind: 'done' }
  | {
      readonly kind: 'lost';
      readonly why: 'died' | 'deadline' | 'flood' | 'otherVersion' | 'cancelled';
      /** A sentence with the process's last words. */
      readonly text: string;
      /** Stable: a signal, `exit 3`, `watchdog` … */
      readonly code: string;
    };

/** Besides the usual variables: which GPUs, where caches and compilers are, and where a cluster's modules put libraries. */
const MORE_VARIABLES = [
  'CUDA_VISIBLE_DEVICES',
  'CUDA_DEVICE_ORDER',
  'LD_LIBRARY_PATH',
  'USER',
  'XDG_CACHE_HOME',
  'TRITON_CACHE_DIR',
  'TORCHINDUCTOR_CACHE_DIR',
  'FLASHINFER_WORKSPACE_BASE',
  'FLASHINFER_CUDA_ARCH_LIST',
  'CC',
  'CXX',
];

/** What one request may print on standard output, and how long a line may be. */
const OUTPUT_LIMIT_BYTES = 64 * 1024 * 1024;
const LINE_LIMIT = 1024 * 1024;
/** The end of standard error is where a traceback says what happened. */
const STDERR_TAIL = 4000;
/** SIGTERM first, so that a library can clean up; then SIGKILL. Together well below the two seconds a cancel may take. */
const SIGTERM_GRACE_MS = 1000;
/** How long the pipes may stay open after the process has ended. */
const PIPE_DRAIN_MS = 500;
/** How long a process may take to leave when its input ends. */
const LEAVE_GRACE_MS = 1500;

/** A started process. */
export class BackendProcess {
  readonly #child: PythonChild;
  readonly #launch: BackendLaunch;
  readonly #deadlines: BackendDeadlines;
  readonly #exited: Promise<void>;
  #alive = true;
  #greeted = false;
  #line = '';
  #bytes = 0;
  #stderr = '';
  #exit: { readonly code: number | null; readonly signal: string | null; readonly problem: string | null } | null =
    null;
  /** Why it was ended, when that was us. */
  #ended: Extract<RequestEnd, { kind: 'lost' }> | null = null;
  #hear: ((message: BackendMessage) => void) | null = null;
  #garbled: ((problem: string) => void) | null = null;
  #unwatch: () => void = () => undefined;

  private constructor(launch: BackendLaunch, deadlines: BackendDeadlines) {
    this.#launch = launch;
    this.#deadlines = deadlines;
    const child = spawnPython({ ...launch, moreVariables: MORE_VARIABLES, stdin: 'pipe' });
    this.#child = child;
    // A process that is gone does not take its request; its end is noticed below.
    child.stdin?.on('error', () => undefined);
    child.stdout.setEncoding('utf8').on('data', (text: string) => this.#read(text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-STDERR_TAIL);
    });
    this.#exited = new Promise((resolve) => {
      const finish = (code: number | null, signal: string | null, problem: string | null): void => {
        if (this.#exit !== null) return;
        this.#exit = { code, signal, problem };
        this.#alive = false;
        this.#unwatch();
        // Whatever it started and left behind goes too, and nobody holds our pipes open.
        this.#signal('SIGKILL');
        child.stdout.destroy();
        child.stderr.destroy();
        resolve();
      };
      child.on('error', (error) => finish(null, null, error.message));
      child.on('close', (code, signal) => finish(code, signal, null));
      child.on('exit', (code, signal) => {
        // What it started holds the pipes open; what it wrote itself is read before they close.
        this.#signal('SIGKILL');
        setTimeout(() => finish(code, signal, null), PIPE_DRAIN_MS).unref();
      });
    });
  }

  static start(launch: BackendLaunch, deadlines: BackendDeadlines): BackendProcess {
    return new BackendProcess(launch, deadlines);
  }

  /** It can be asked. */
  get alive(): boolean {
    return this.#alive && this.#ended === null;
  }

  /**
   * Carries out one request; messages are heard as they come. Never rejects. An abort ends the process.
   */
  async request(
    request: BackendRequest,
    { onMessage, onGarbled }: RequestListeners,
    signal?: CancelSignal,
  ): Promise<RequestEnd> {
    this.#bytes = 0;
    this.#garbled = onGarbled;
    const stopListening = onCancel(signal, () => {
      void this.#end({ kind: 'lost', why: 'cancelled', text: 'Cancelled.', code: 'cancelled' });
    });
    const done = new Promise<RequestEnd>((resolve) => {
      const seen = new Set<string>();
      this.#hear = (message) => {
        if (this.#ended !== null) return;
        if (message.kind === 'done') {
          this.#unwatch();
          resolve({ kind: 'done' });
          return;
        }
        this.#watchAfter(message, seen);
        onMessage(message);
      };
      void this.#exited.then(() => resolve(this.#ended ?? this.#death()));
    });
    if (this.#ended === null) {
      this.#watch(this.#greeted ? this.#deadlines.importMs : this.#deadlines.startMs, 'a sign of life');
      this.#child.stdin?.write(`${JSON.stringify(request)}\n`);
    }
    try {
      return await done;
    } finally {
      this.#hear = null;
      this.#garbled = null;
      stopListening();
    }
  }

  /** Lets it leave by itself, and ends it when it does not. Resolves when it is gone with everything it started. */
  async close(): Promise<void> {
    if (!this.#alive) return;
    this.#child.stdin?.end();
    const unschedule = this.#launch.clock.schedule(LEAVE_GRACE_MS, () => void this.kill());
    await this.#exited;
    unschedule();
  }

  /** Ends it and everything it started. Resolves when it is gone. */
  kill(): Promise<void> {
    return this.#end({ kind: 'lost', why: 'cancelled', text: 'Ended.', code: 'cancelled' });
  }

  async #end(why: Extract<RequestEnd, { kind: 'lost' }>): Promise<void> {
    if (!this.#alive) return;
    this.#ended ??= why;
    this.#unwatch();
    this.#signal('SIGTERM');
    const unschedule = this.#launch.clock.schedule(SIGTERM_GRACE_MS, () => this.#signal('SIGKILL'));
    await this.#exited;
    unschedule();
  }

  #signal(signal: NodeJS.Signals): void {
    if (this.#child.pid !== undefined) signalGroup(this.#child.pid, signal);
  }

  #read(text: string): void {
    this.#bytes += text.length;
    if (this.#bytes > OUTPUT_LIMIT_BYTES) {
      this.#flood(`It printed more than ${OUTPUT_LIMIT_BYTES / 1024 / 1024} MiB and was ended.`);
      return;
    }
    const [first = '', ...more] = text.split('\n');
    this.#line += first;
    for (const next of more) {
      this.#hearLine(this.#line);
      this.#line = next;
    }
    if (this.#line.length > LINE_LIMIT) this.#flood('It printed a line without an end and was ended.');
  }

  #flood(text: string): void {
    this.#line = '';
    void this.#end({ kind: 'lost', why: 'flood', text, code: 'flood' });
  }

  #hearLine(line: string): void {
    if (!line.startsWith(BACKEND_LINE_MARKER)) return;
    let document: unknown;
    try {
      document = JSON.parse(line.slice(BACKEND_LINE_MARKER.length));
    } catch {
      this.#launch.logger.warn(`A line of the library runner is not JSON: ${quoteWords(line)}`);
      this.#garbled?.('it is not JSON, which has no NaN and no Infinity');
      return;
    }
    const parsed = v.safeParse(backendMessageSchema, document);
    if (!parsed.success) {
      const problem = firstIssue(parsed.issues);
      this.#launch.logger.warn(`A line of the library runner is not as agreed: ${problem}`);
      this.#garbled?.(problem);
      return;
    }
    const message = parsed.output;
    if (message.kind === 'hello') {
      this.#greeted = true;
      if (message.protocolVersion !== BACKEND_PROTOCOL_VERSION) {
        const text = `The runner speaks protocol version ${message.protocolVersion}, this extension version ${BACKEND_PROTOCOL_VERSION}: reinstall the extension.`;
        void this.#end({ kind: 'lost', why: 'otherVersion', text, code: 'otherVersion' });
        return;
      }
    }
    this.#hear?.(message);
  }

  /** A step that is announced again does not get its time again. */
  #watchAfter(message: Exclude<BackendMessage, { kind: 'done' }>, seen: Set<string>): void {
    const { importMs, jitMs, caseMs } = this.#deadlines;
    switch (message.kind) {
      case 'hello':
        this.#watch(importMs, 'the import');
        return;
      case 'library':
      case 'row':
        this.#watch(caseMs, 'the next case');
        return;
      case 'phase': {
        const step = `${message.caseIndex ?? ''} ${message.phase}`;
        if (seen.has(step)) return;
        seen.add(step);
        const deadlineMs = message.phase === 'import' ? importMs : message.phase === 'jit' ? jitMs : caseMs;
        this.#watch(deadlineMs, PHASE_WORDS[message.phase]);
        return;
      }
    }
  }

  #watch(deadlineMs: number, what: string): void {
    this.#unwatch();
    this.#unwatch = this.#launch.clock.schedule(deadlineMs, () => {
      const text = `${what[0]?.toUpperCase() ?? ''}${what.slice(1)} took more than ${Math.max(1, Math.round(deadlineMs / 1000))} s, so its process was ended.`;
      void this.#end({ kind: 'lost', why: 'deadline', text, code: 'watchdog' });
    });
  }

  #death(): Extract<RequestEnd, { kind: 'lost' }> {
    const exit = this.#exit ?? { code: null, signal: null, problem: null };
    if (exit.problem !== null) {
      return {
        kind: 'lost',
        why: 'died',
        code: 'notStarted',
        text: `It could not be started: ${quoteWords(exit.problem)}.`,
      };
    }
    const words = quoteWords(lastLine(this.#stderr));
    return {
      kind: 'lost',
      why: 'died',
      code: exit.signal ?? `exit ${exit.code ?? '?'}`,
      text: `Its process ${exitWords(exit.code, exit.signal)}${words === '' ? '.' : `: ${words}`}`,
    };
  }
}

type Phase = Extract<BackendMessage, { kind: 'phase' }>['phase'];
const PHASE_WORDS: Readonly<Record<Phase, string>> = {
  import: 'the import',
  allocate: 'allocating',
  jit: 'compiling',
  check: 'the check against the reference',
  warmup: 'the warm-up',
  time: 'timing',
};

function lastLine(text: string): string {
  return (
    text
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line !== '')
      .at(-1) ?? ''
  );
}
