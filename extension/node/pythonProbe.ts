/**
 * Runs python/probe.py under the user's interpreter and parses what it says.
 *
 * Starting any interpreter runs the site code of its environment (`*.pth`, sitecustomize), so callers do it only for an
 * interpreter of the user's own settings or in a trusted workspace. What can be kept out is kept out:
 * - argument array, the script by its absolute path: never `-m` or `-c`, which put the working directory on the path;
 * - a neutral working directory and a short allow-list of environment variables (`-E` ignores PYTHON* on top of that);
 * - not `-I`: it also drops the user site directory, where `pip install --user` puts vLLM, and would describe another
 *   environment than the one vLLM runs in. The script takes its own folder off the path instead;
 * - `-B`, so that nothing is written into the environment;
 * - a process group of its own that is killed as a whole at the deadline, on cancel and at the end.
 */
import { stat } from 'node:fs/promises';
import path from 'node:path';
import * as v from 'valibot';
import type { CancelSignal } from '../core/async';
import type { EnvironmentFacts } from '../core/environment';
import { PROBE_SCHEMA, environmentFactsSchema } from '../core/environment';
import { DiagError } from '../core/errors';
import { checkInterpreter, quoteWords, signalGroup, spawnPython } from './pythonProcess';

/** The probe itself takes well under a second; the rest is start-up on slow disks. */
export const PROBE_DEADLINE_MS = 15_000;

/** The answer is about 20 kB; site code may print before it. */
const OUTPUT_LIMIT_BYTES = 4 * 1024 * 1024;

/** How long the pipes may stay open after the interpreter has ended. */
const PIPE_DRAIN_MS = 500;

const MARKER = 'attn-diag-probe:';

/** Where probe.py is in an installation or a checkout. */
export function probeScript(rootDir: string): string {
  return path.join(rootDir, 'extension', 'python', 'probe.py');
}

/** What is to be run. */
export interface PythonProbeOptions {
  /** Absolute path of the interpreter. */
  readonly interpreter: string;
  /** Absolute path of probe.py. */
  readonly scriptPath: string;
  /** The editor's environment; only an allow-list of it is passed on. */
  readonly env: NodeJS.ProcessEnv;
  readonly deadlineMs?: number;
  /** Cancels and kills. */
  readonly signal?: CancelSignal;
}

/** How a run ended and what it printed. */
interface RunOutcome {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly ended: 'exit' | 'deadline' | 'cancelled' | 'flood';
}

function run(options: PythonProbeOptions, deadlineMs: number): Promise<RunOutcome> {
  const { interpreter, scriptPath, env, signal } = options;
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(new DiagError('cancelled', {}));
      return;
    }
    const child = spawnPython({ interpreter, scriptPath, env, stdin: 'ignore' });
    const chunks: { stdout: Buffer[]; stderr: Buffer[] } = { stdout: [], stderr: [] };
    let bytes = 0;
    let ended: RunOutcome['ended'] = 'exit';
    let done = false;
    let lateClose: NodeJS.Timeout | undefined;
    const stop = (why: RunOutcome['ended']): void => {
      if (done) return;
      ended = why;
      if (child.pid !== undefined) signalGroup(child.pid, 'SIGKILL');
    };
    const timer = setTimeout(() => stop('deadline'), deadlineMs);
    const onAbort = (): void => stop('cancelled');
    signal?.addEventListener('abort', onAbort, { once: true });
    const finish = (exitCode: number | null, exitSignal: NodeJS.Signals | null): void => {
      if (done) return;
      done = true;
      clearTimeout(timer);
      clearTimeout(lateClose);
      signal?.removeEventListener('abort', onAbort);
      // Whatever it started and left behind goes too, and nobody holds our pipes open.
      if (child.pid !== undefined) signalGroup(child.pid, 'SIGKILL');
      child.stdout.destroy();
      child.stderr.destroy();
      resolve({
        stdout: Buffer.concat(chunks.stdout).toString('utf8'),
        stderr: Buffer.concat(chunks.stderr).toString('utf8'),
        exitCode,
        signal: exitSignal,
        ended,
      });
    };
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > OUTPUT_LIMIT_BYTES) stop('flood');
        else chunks[name].push(chunk);
      });
    }
    child.on('error', (error) => {
      done = true;
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      reject(new DiagError('interpreterUnusable', { path: interpreter, problem: quoteWords(error.message) }, error));
    });
    child.on('close', finish);
    // A grandchild may keep the pipes open after the interpreter is gone; what was read until then is all there is.
    child.on('exit', (exitCode, exitSignal) => {
      lateClose = setTimeout(() => finish(exitCode, exitSignal), PIPE_DRAIN_MS);
    });
  });
}

const tooOldSchema = v.object({ schema: v.literal(PROBE_SCHEMA), tooOld: v.string() });

/** Finds and parses the marked line; what site code printed around it is ignored. */
function parseAnswer(interpreter: string, outcome: RunOutcome): EnvironmentFacts {
  const refuse = (problem: string): never => {
    throw new DiagError('interpreterUnusable', { path: interpreter, problem });
  };
  const line = outcome.stdout
    .split('\n')
    .filter((candidate) => candidate.startsWith(MARKER))
    .at(-1);
  if (line === undefined) {
    const how = outcome.signal === null ? `exit code ${outcome.exitCode}` : outcome.signal;
    const words = quoteWords(outcome.stderr.trim().split('\n').at(-1) ?? '') || quoteWords(outcome.stdout);
    return refuse(`it gave no answer (${how}${words === '' ? '' : `: ${words}`})`);
  }
  let document: unknown;
  try {
    document = JSON.parse(line.slice(MARKER.length));
  } catch {
    return refuse('its answer is cut off');
  }
  if (v.is(tooOldSchema, document))
    throw new DiagError('interpreterTooOld', { path: interpreter, version: document.tooOld });
  const parsed = v.safeParse(environmentFactsSchema, document);
  if (parsed.success) return parsed.output;
  const issue = parsed.issues[0];
  return refuse(`its answer is not as expected at ${v.getDotPath(issue) ?? 'its top'}`);
}

/**
 * Reads the environment of an interpreter. Throws DiagError: `interpreterUnusable`, `interpreterTooOld`,
 * `interpreterTimeout`, `cancelled`.
 */
export async function probePythonEnvironment(options: PythonProbeOptions): Promise<EnvironmentFacts> {
  const { interpreter } = options;
  const deadlineMs = options.deadlineMs ?? PROBE_DEADLINE_MS;
  await checkInterpreter(interpreter);
  const outcome = await run(options, deadlineMs);
  if (outcome.ended === 'cancelled') throw new DiagError('cancelled', {});
  if (outcome.ended === 'deadline') throw new DiagError('interpreterTimeout', { path: interpreter, deadlineMs });
  if (outcome.ended === 'flood') {
    throw new DiagError('interpreterUnusable', {
      path: interpreter,
      problem: 'it printed more than 4 MiB and was stopped',
    });
  }
  return parseAnswer(interpreter, outcome);
}

/** Interpreters of virtual environments that folders usually hold, in the order they are tried. */
const VENV_INTERPRETERS = [
  ['.venv', 'bin', 'python'],
  ['venv', 'bin', 'python'],
  ['.venv', 'Scripts', 'python.exe'],
  ['venv', 'Scripts', 'python.exe'],
];

/** The interpreter of a folder's own virtual environment, `null` without one. Looks only; use it after trust is given. */
export async function findVenvInterpreter(folder: string): Promise<string | null> {
  for (const parts of VENV_INTERPRETERS) {
    const candidate = path.join(folder, ...parts);
    const isFile = await stat(candidate).then(
      (info) => info.isFile(),
      () => false,
    );
    if (isFile) return candidate;
  }
  return null;
}
