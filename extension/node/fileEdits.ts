/**
 * Writes edits to a file of the user's: whole or not at all, only when nobody changed it meanwhile, with its mode, owner
 * and symlink kept.
 */
import { randomBytes } from 'node:crypto';
import type { Stats } from 'node:fs';
import { open, readFile, realpath, rename, stat, unlink } from 'node:fs/promises';
import path from 'node:path';
import type { ConfigTextEdit } from '../core/serve/configEdits';
import { applyTextEdits } from '../core/serve/configEdits';
import { DiagError } from '../core/errors';

/** Larger files are not configuration. */
const EDITABLE_LIMIT_BYTES = 1024 * 1024;

/** A file as it was when its edits were made. */
export interface EditableFile {
  /** As the user named it. */
  readonly path: string;
  /** What the links lead to; this file is replaced, the links stay. */
  readonly target: string;
  readonly text: string;
  readonly bytes: Buffer;
}

/** The operating system's reason in words. */
function reason(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  const known: Readonly<Record<string, string>> = {
    ENOENT: 'there is no such file',
    EACCES: 'permission denied',
    EPERM: 'not permitted',
    ELOOP: 'its links form a loop',
    EROFS: 'the file system is read-only',
    ENOSPC: 'no space is left',
    EISDIR: 'it is a directory',
  };
  return (code === undefined ? undefined : known[code]) ?? message;
}

/** Reads a file for editing. Throws `fileUnreadable` and `fileTooLarge`. */
export async function readEditableFile(file: string): Promise<EditableFile> {
  const refuse = (problem: string, cause?: unknown): never => {
    throw new DiagError('fileUnreadable', { path: file, problem }, cause);
  };
  try {
    const target = await realpath(file);
    const info = await stat(target);
    if (!info.isFile()) return refuse('it is not a file');
    if (info.size > EDITABLE_LIMIT_BYTES) {
      throw new DiagError('fileTooLarge', { path: file, bytes: info.size, limitBytes: EDITABLE_LIMIT_BYTES });
    }
    const bytes = await readFile(target);
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    return { path: file, target, text, bytes };
  } catch (error) {
    if (error instanceof DiagError) throw error;
    return refuse(error instanceof TypeError ? 'it is not UTF-8 text' : reason(error), error);
  }
}

/** The new content beside the target, with its mode and owner, safely on disk. */
async function writeBeside(target: string, info: Stats, content: string): Promise<string> {
  const temporary = path.join(path.dirname(target), `.${path.basename(target)}.${randomBytes(6).toString('hex')}.tmp`);
  const handle = await open(temporary, 'wx', 0o600);
  try {
    await handle.writeFile(content, 'utf8');
    // Owner first: changing it can clear mode bits. Only root may give files away; others own what they can edit anyway.
    if (process.getuid?.() === 0) await handle.chown(info.uid, info.gid);
    await handle.chmod(info.mode & 0o7777);
    await handle.sync();
  } catch (error) {
    await unlink(temporary).catch(() => undefined);
    throw error;
  } finally {
    await handle.close();
  }
  return temporary;
}

/**
 * Replaces the file by its edited text in one step. Throws `fileChanged` when it is not byte for byte what was read, and
 * `fileUnwritable`; the file is then as it was.
 */
export async function writeFileEdits(file: EditableFile, edits: readonly ConfigTextEdit[]): Promise<void> {
  if (edits.length === 0) return;
  let temporary: string | null = null;
  try {
    const target = await realpath(file.path);
    temporary = await writeBeside(target, await stat(target), applyTextEdits(file.text, edits));
    // Compared last, so that the time in which a change could be lost is as short as it can be.
    if (target !== file.target || !(await readFile(target)).equals(file.bytes)) {
      throw new DiagError('fileChanged', { path: file.path });
    }
    await rename(temporary, target);
  } catch (error) {
    if (temporary !== null) await unlink(temporary).catch(() => undefined);
    if (error instanceof DiagError) throw error;
    if ((error as NodeJS.ErrnoException).code === 'ENOENT')
      throw new DiagError('fileChanged', { path: file.path }, error);
    throw new DiagError('fileUnwritable', { path: file.path, problem: reason(error) }, error);
  }
}
