/** Files that an agent may name: only below folders given at start, whatever links and `..` the path holds. */
import { realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import { DiagError } from '../core/errors';
import { readTextFile } from './reportFile';

/** A file as it was asked for and what it holds. */
export interface RootedFile {
  /** Absolute, links resolved. */
  readonly path: string;
  readonly text: string;
}

function isBelow(file: string, root: string): boolean {
  const relative = path.relative(root, file);
  return relative === '' || (!relative.startsWith(`..${path.sep}`) && relative !== '..' && !path.isAbsolute(relative));
}

/**
 * Reads a model's config.json, or the one in a folder. A relative path counts from each root in turn.
 * Throws `usage` for a path outside the roots, before anything about it is looked up; `fileUnreadable`, `fileTooLarge`.
 */
export async function readBelowRoots(roots: readonly string[], asked: string, limitBytes: number): Promise<RootedFile> {
  if (asked.includes('\0')) throw new DiagError('usage', { problem: 'A path cannot hold a NUL character.' });
  const folders = await Promise.all(roots.map(async (root) => ({ root, real: await realpath(root) })));
  const candidates = folders
    .map(({ root, real }) => ({ root, real, file: path.resolve(root, asked) }))
    .filter(({ root, real, file }) => isBelow(file, root) || isBelow(file, real));
  if (candidates.length === 0) throw outside(roots, asked);
  let missing: DiagError | null = null;
  for (const { real, file } of candidates) {
    try {
      return await readBelow(real, file, limitBytes, () => outside(roots, asked));
    } catch (error) {
      if (!DiagError.is(error, 'fileUnreadable')) throw error;
      missing ??= error;
    }
  }
  throw missing ?? outside(roots, asked);
}

async function readBelow(
  root: string,
  file: string,
  limitBytes: number,
  refusal: () => DiagError,
): Promise<RootedFile> {
  const real = await resolved(file);
  if (!isBelow(real, root)) throw refusal();
  const info = await stat(real);
  if (info.isDirectory()) return readBelow(root, path.join(real, 'config.json'), limitBytes, refusal);
  // Before it is opened: opening a pipe waits for a writer that may never come.
  if (!info.isFile()) throw new DiagError('fileUnreadable', { path: file, problem: 'it is not a file' });
  return { path: real, text: await readTextFile(real, limitBytes) };
}

async function resolved(file: string): Promise<string> {
  try {
    return await realpath(file);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    const problem =
      code === 'ENOENT' || code === 'ENOTDIR'
        ? 'there is no such file or folder'
        : code === 'ELOOP'
          ? 'its links form a loop'
          : `${code ?? 'it cannot be looked up'}`;
    throw new DiagError('fileUnreadable', { path: file, problem }, error);
  }
}

function outside(roots: readonly string[], asked: string): DiagError {
  const problem =
    roots.length === 0
      ? 'No file may be read: no folder was allowed at start. Pass headDims instead of modelPath, or ask the user to allow a folder (attn-diag mcp --root DIR).'
      : `${asked} is outside the folders that may be read. Pass a path below one of them, or headDims instead.`;
  return new DiagError('usage', { problem });
}
