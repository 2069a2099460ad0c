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
import { askPython } from './pythonAnswer';

/** The probe itself takes well under a second; the rest is start-up on slow disks. */
export const PROBE_DEADLINE_MS = 15_000;

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

const tooOldSchema = v.object({ schema: v.literal(PROBE_SCHEMA), tooOld: v.string() });

/**
 * Reads the environment of an interpreter. Throws DiagError: `interpreterUnusable`, `interpreterTooOld`,
 * `interpreterTimeout`, `cancelled`.
 */
export async function probePythonEnvironment(options: PythonProbeOptions): Promise<EnvironmentFacts> {
  const { interpreter, deadlineMs = PROBE_DEADLINE_MS } = options;
  const document = await askPython({ ...options, deadlineMs, marker: MARKER });
  if (v.is(tooOldSchema, document))
    throw new DiagError('interpreterTooOld', { path: interpreter, version: document.tooOld });
  const parsed = v.safeParse(environmentFactsSchema, document);
  if (parsed.success) return parsed.output;
  const where = v.getDotPath(parsed.issues[0]) ?? 'its top';
  throw new DiagError('interpreterUnusable', {
    path: interpreter,
    problem: `its answer is not as expected at ${where}`,
  });
}

/** Where an environment keeps its interpreter. */
const INTERPRETERS = [
  ['bin', 'python'],
  ['Scripts', 'python.exe'],
];

/** Virtual environments that folders usually hold, in the order they are tried. */
const VENV_FOLDERS = ['.venv', 'venv'];

/** The interpreter of a folder's own virtual environment, `null` without one. Looks only; use it after trust is given. */
export async function findVenvInterpreter(folder: string): Promise<string | null> {
  return firstFile(VENV_FOLDERS.flatMap((venv) => INTERPRETERS.map((parts) => path.join(folder, venv, ...parts))));
}

/**
 * What somebody names who means a Python: the interpreter itself, its environment's folder, or a folder that holds one.
 * `null` = a folder without any; a file, or nothing at all, is handed on as it is and judged when it is started.
 */
export async function namedInterpreter(place: string): Promise<string | null> {
  const isFolder = await stat(place).then(
    (info) => info.isDirectory(),
    () => false,
  );
  if (!isFolder) return place;
  const own = await firstFile(INTERPRETERS.map((parts) => path.join(place, ...parts)));
  return own ?? findVenvInterpreter(place);
}

async function firstFile(candidates: readonly string[]): Promise<string | null> {
  for (const candidate of candidates) {
    const isFile = await stat(candidate).then(
      (info) => info.isFile(),
      () => false,
    );
    if (isFile) return candidate;
  }
  return null;
}
