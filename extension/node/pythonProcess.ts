/**
 * How programs of ours are started under an interpreter of the user's, whatever they are for. The same rules everywhere:
 *
 * - an absolute path that is an executable file, no shell;
 * - a clean environment, a neutral working directory, and our script by its path: `-m` and `-c` would put the working
 *   directory, and so a workspace's files, on the import path; `-E` drops PYTHON* variables, `-B` writes no bytecode;
 * - a process group of its own, which is ended as a whole.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import type { Readable } from 'node:stream';
import { DiagError } from '../core/errors';

/** How much of an interpreter's own words go into a message. */
const QUOTE_CHARACTERS = 200;

/** Variables a program may see: to find programs and a home, to speak a language, to find CUDA. */
const ENV_ALLOWED = ['PATH', 'HOME', 'LANG', 'LC_ALL', 'TMPDIR', 'CUDA_HOME', 'CUDA_PATH', 'SYSTEMROOT', 'USERPROFILE'];

/** What is to be started. */
export interface PythonProgram {
  /** Absolute path of the interpreter. */
  readonly interpreter: string;
  /** Absolute path of the script. */
  readonly scriptPath: string;
  /** The editor's environment; only an allow-list of it is passed on. */
  readonly env: NodeJS.ProcessEnv;
  /** Variables of `env` that this program needs besides the usual ones. */
  readonly moreVariables?: readonly string[];
  /** `pipe` to speak to it, `ignore` when it is asked nothing. */
  readonly stdin: 'pipe' | 'ignore';
}

/** A started program; its output is always piped. */
export interface PythonChild extends ChildProcess {
  readonly stdout: Readable;
  readonly stderr: Readable;
}

/** Raised to the caller's `problem` text: one line, printable, short. */
export function quoteWords(text: string): string {
  const line = text.replace(/[^\x20-\x7e]+/g, ' ').trim();
  return line.length <= QUOTE_CHARACTERS ? line : `${line.slice(0, QUOTE_CHARACTERS)}…`;
}

/** Throws `interpreterUnusable` for a path that cannot be one, before anything is started. */
export async function checkInterpreter(interpreter: string): Promise<void> {
  const refuse = (problem: string): never => {
    throw new DiagError('interpreterUnusable', { path: interpreter, problem });
  };
  if (!path.isAbsolute(interpreter)) refuse('the path must be absolute');
  const info = await stat(interpreter).catch((error: unknown) => {
    const code = (error as NodeJS.ErrnoException).code;
    return refuse(code === 'ENOENT' ? 'there is no such file' : code === 'ELOOP' ? 'its links form a loop' : `${code}`);
  });
  if (info.isDirectory()) refuse('it is a directory');
  if (!info.isFile()) refuse('it is not a file');
  await access(interpreter, constants.X_OK).catch(() => refuse('it is not executable'));
}

/** Starts it. The child's `error` event tells when that fails; its output is the caller's to bound. */
export function spawnPython(program: PythonProgram): PythonChild {
  const env = Object.fromEntries(
    [...ENV_ALLOWED, ...(program.moreVariables ?? [])].flatMap((name): [string, string][] => {
      const value = program.env[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );
  return spawn(program.interpreter, ['-E', '-B', program.scriptPath], {
    cwd: os.tmpdir(),
    env,
    stdio: [program.stdin, 'pipe', 'pipe'],
    detached: process.platform !== 'win32',
    windowsHide: true,
    shell: false,
  }) as PythonChild;
}

/** Signals a process and everything in its group; on Windows, where there are no groups, the process alone. */
export function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(process.platform === 'win32' ? pid : -pid, signal);
  } catch {
    // Already gone.
  }
}
