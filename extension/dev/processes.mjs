/** Starting and ending other programs: argument arrays only, output kept for the error message, nothing left behind. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';

/** How long a program may take to end by itself before it is killed. */
const TERM_GRACE_MS = 3_000;
/** How much of a failed program's output is worth quoting. */
const QUOTED_CHARACTERS = 4_000;

/**
 * Runs a program and collects what it prints.
 * @param {string} command
 * @param {string[]} args
 * @param {{cwd: string, env?: NodeJS.ProcessEnv}} options
 * @returns {Promise<{exitCode: number | null, signal: NodeJS.Signals | null, output: string}>} stdout and stderr as they came
 */
export function runForOutput(command, args, { cwd, env = process.env }) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (/** @type {string} */ text) => (output += text));
    }
    child.once('error', reject);
    child.once('close', (exitCode, signal) => resolve({ exitCode, signal, output }));
  });
}

/**
 * Runs a program with its output hidden.
 * @param {string} command
 * @param {string[]} args
 * @param {{cwd: string, env?: NodeJS.ProcessEnv}} options
 * @throws {Error} that quotes the end of its output, when it fails or cannot be started
 */
export async function runQuietly(command, args, options) {
  const { exitCode, signal, output } = await runForOutput(command, args, options);
  if (exitCode === 0) return;
  const how = signal ?? `exit code ${String(exitCode)}`;
  throw new Error(`${path.basename(command)} ${args.join(' ')} failed (${how}):\n${output.slice(-QUOTED_CHARACTERS)}`);
}

/**
 * Runs a program with the terminal as its own.
 * @param {string} command
 * @param {string[]} args
 * @param {{cwd: string, env?: NodeJS.ProcessEnv}} options
 * @returns {Promise<number>} its exit code; 1 when a signal ended it
 */
export function runInTerminal(command, args, { cwd, env = process.env }) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, env, stdio: 'inherit' });
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });
}

/**
 * Ends a detached child and its whole process group: politely, then by force.
 * @param {import('node:child_process').ChildProcess} child started with `detached: true`
 */
export async function killTree(child) {
  const { pid } = child;
  if (pid === undefined) return;
  signalGroup(pid, 'SIGTERM');
  const deadline = Date.now() + TERM_GRACE_MS;
  while (signalGroup(pid, 0)) {
    if (Date.now() > deadline) {
      signalGroup(pid, 'SIGKILL');
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/**
 * @param {number} pid leader of the group
 * @param {NodeJS.Signals | 0} signal 0 = only look
 * @returns {boolean} whether a process of the group was there
 */
function signalGroup(pid, signal) {
  try {
    process.kill(-pid, signal);
    return true;
  } catch {
    return false;
  }
}

/**
 * npm as a command and its first arguments: the one that runs this script when there is one, else the one on PATH.
 * @returns {{command: string, args: string[]}}
 */
export function npmCommand() {
  const cli = process.env.npm_execpath;
  return cli !== undefined && /npm-cli\.c?js$/.test(cli)
    ? { command: process.execPath, args: [cli] }
    : { command: 'npm', args: [] };
}

/**
 * First executable of that name on PATH.
 * @param {string} name
 * @returns {string | null} absolute path
 */
export function which(name) {
  for (const dir of (process.env.PATH ?? '').split(path.delimiter)) {
    const file = path.join(dir, name);
    if (path.isAbsolute(dir) && existsSync(file)) return file;
  }
  return null;
}
