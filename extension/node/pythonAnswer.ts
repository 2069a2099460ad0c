/**
 * One program, one answer: starts a script of ours under an interpreter of the user's, gives it its request, and takes the
 * marked line with its answer. What site code and libraries print around it is ignored.
 *
 * Its output is bounded, its time too, and when it is over, by whatever end, nothing it started is left.
 */
import type { CancelSignal } from '../core/async';
import { DiagError } from '../core/errors';
import { checkInterpreter, quoteWords, signalGroup, spawnPython } from './pythonProcess';

/** Answers are some kilobytes; what is printed around them may be much more. */
export const OUTPUT_LIMIT_BYTES = 4 * 1024 * 1024;

/** How long the pipes may stay open after the interpreter has ended. */
const PIPE_DRAIN_MS = 500;

/** What is to be run. */
export interface PythonQuestion {
  /** Absolute path of the interpreter. */
  readonly interpreter: string;
  /** Absolute path of the script. */
  readonly scriptPath: string;
  /** The editor's environment; only an allow-list of it is passed on. */
  readonly env: NodeJS.ProcessEnv;
  /** Variables of `env` that this program needs besides the usual ones. */
  readonly moreVariables?: readonly string[];
  readonly deadlineMs: number;
  /** Cancels and kills. */
  readonly signal?: CancelSignal;
  /** What the line with the answer begins with. */
  readonly marker: string;
  /** Handed over on stdin; without it the program is asked nothing. */
  readonly input?: string;
  /** Lines that tell how far it is, by what they begin with. */
  readonly progress?: { readonly marker: string; readonly onLine: (text: string) => void };
  /** How much it may print; default {@link OUTPUT_LIMIT_BYTES}. */
  readonly outputLimitBytes?: number;
}

/** How a run ended and what it printed. */
interface RunOutcome {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly ended: 'exit' | 'deadline' | 'cancelled' | 'flood';
}

/** Complete lines of a stream as they come, those with the prefix only. */
function lineWatcher(prefix: string, onLine: (text: string) => void): (chunk: Buffer) => void {
  let rest = '';
  return (chunk) => {
    const lines = (rest + chunk.toString('utf8')).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) if (line.startsWith(prefix)) onLine(line.slice(prefix.length));
  };
}

function run(question: PythonQuestion): Promise<RunOutcome> {
  const { interpreter, scriptPath, env, moreVariables, signal, input, progress } = question;
  const limit = question.outputLimitBytes ?? OUTPUT_LIMIT_BYTES;
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(new DiagError('cancelled', {}));
      return;
    }
    const child = spawnPython({
      interpreter,
      scriptPath,
      env,
      stdin: input === undefined ? 'ignore' : 'pipe',
      ...(moreVariables === undefined ? {} : { moreVariables }),
    });
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
    const timer = setTimeout(() => stop('deadline'), question.deadlineMs);
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
    if (progress !== undefined) child.stdout.on('data', lineWatcher(progress.marker, progress.onLine));
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > limit) stop('flood');
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
    // One that ends without reading its request says so by its exit; the broken pipe adds nothing.
    child.stdin?.on('error', () => undefined);
    if (input !== undefined) child.stdin?.end(input);
  });
}

/**
 * The answer as parsed JSON; its form is the caller's to check. Throws DiagError: `interpreterUnusable`,
 * `interpreterTimeout`, `cancelled`.
 */
export async function askPython(question: PythonQuestion): Promise<unknown> {
  const { interpreter, deadlineMs } = question;
  const refuse = (problem: string): never => {
    throw new DiagError('interpreterUnusable', { path: interpreter, problem });
  };
  await checkInterpreter(interpreter);
  const outcome = await run(question);
  if (outcome.ended === 'cancelled') throw new DiagError('cancelled', {});
  if (outcome.ended === 'deadline') throw new DiagError('interpreterTimeout', { path: interpreter, deadlineMs });
  if (outcome.ended === 'flood') {
    const limit = (question.outputLimitBytes ?? OUTPUT_LIMIT_BYTES) / (1024 * 1024);
    return refuse(`it printed more than ${limit} MiB and was stopped`);
  }
  const line = outcome.stdout
    .split('\n')
    .filter((candidate) => candidate.startsWith(question.marker))
    .at(-1);
  if (line === undefined) {
    const how = outcome.signal === null ? `exit code ${outcome.exitCode}` : outcome.signal;
    const words = quoteWords(outcome.stderr.trim().split('\n').at(-1) ?? '') || quoteWords(outcome.stdout);
    return refuse(`it gave no answer (${how}${words === '' ? '' : `: ${words}`})`);
  }
  try {
    return JSON.parse(line.slice(question.marker.length));
  } catch {
    return refuse('its answer is cut off');
  }
}
