/** Report files on disk: bounded reads, and writes that are whole or not at all. */
import { randomUUID } from 'node:crypto';
import { constants, type Stats } from 'node:fs';
import { access, open, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { DiagError } from '../core/errors';
import type { PrivateWords } from '../core/report/redact';
import { createReport, MAX_REPORT_BYTES, parseReport, type Report, type ReportParts } from '../core/report/report';

/**
 * Reads a report. Rejects with `fileUnreadable`, `fileTooLarge` (nothing is read then) and what `parseReport` throws.
 */
export async function readReportFile(file: string): Promise<Report> {
  return parseReport(await readTextFile(file, MAX_REPORT_BYTES), file);
}

/** Reads a text file. Rejects like {@link readFileBytes}. */
export async function readTextFile(file: string, limitBytes: number): Promise<string> {
  return (await readFileBytes(file, limitBytes)).toString('utf8');
}

/**
 * Reads a file. Rejects with `fileUnreadable`, or with `fileTooLarge`: before anything is read where the size is known, and
 * at the limit where it is not (files of the kernel say 0).
 */
export async function readFileBytes(file: string, limitBytes: number): Promise<Buffer> {
  try {
    // A pipe would wait for its other end; Windows has no such flag, and no such pipes.
    const handle = await open(file, constants.O_RDONLY | ((constants.O_NONBLOCK as number | undefined) ?? 0));
    try {
      const info = await handle.stat();
      if (!info.isFile()) throw new DiagError('fileUnreadable', { path: file, problem: 'it is not a file' });
      if (info.size > limitBytes) throw new DiagError('fileTooLarge', { path: file, bytes: info.size, limitBytes });
      const chunks: Buffer[] = [];
      let bytes = 0;
      for await (const chunk of handle.createReadStream({ autoClose: false }) as AsyncIterable<Buffer>) {
        chunks.push(chunk);
        bytes += chunk.length;
        if (bytes > limitBytes) throw new DiagError('fileTooLarge', { path: file, bytes, limitBytes });
      }
      return Buffer.concat(chunks);
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (error instanceof DiagError) throw error;
    throw new DiagError('fileUnreadable', { path: file, problem: problemOf(error) }, error);
  }
}

/** Rejects with `fileUnwritable` when `writeFileWhole` would: for telling so before the work whose result is to be written. */
export async function checkWritable(file: string): Promise<void> {
  try {
    await writableTarget(file);
  } catch (error) {
    throw new DiagError('fileUnwritable', { path: file, problem: problemOf(error) }, error);
  }
}

/**
 * Writes a file whole or not at all: to a temporary name beside it, which is then renamed. Links are followed and the mode of an
 * old file stays. What is no regular file (`/dev/null`, a pipe) is written to and stays what it is. Rejects with
 * `fileUnwritable`; the old file then stands.
 */
export async function writeFileWhole(file: string, text: string): Promise<void> {
  try {
    const { target, info } = await writableTarget(file);
    if (info === null || info.isFile()) await replaceFile(target, text, info);
    else await writeFile(target, text);
  } catch (error) {
    throw new DiagError('fileUnwritable', { path: file, problem: problemOf(error) }, error);
  }
}

async function replaceFile(target: string, text: string, old: Stats | null): Promise<void> {
  const temporary = path.join(path.dirname(target), `.${path.basename(target)}.${randomUUID()}.tmp`);
  try {
    const handle = await open(temporary, 'wx', 0o644);
    try {
      await handle.writeFile(text);
      if (old !== null) await handle.chmod(old.mode & 0o7777);
    } finally {
      await handle.close();
    }
    await rename(temporary, target);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Where links lead, and what is there; `info` null = nothing yet. Rejects when it may not be written. */
async function writableTarget(file: string): Promise<{ target: string; info: Stats | null }> {
  const found = await targetOf(file);
  await access(found.info === null ? path.dirname(found.target) : found.target, constants.W_OK);
  return found;
}

async function targetOf(file: string): Promise<{ target: string; info: Stats | null }> {
  try {
    const target = await realpath(file);
    const info = await stat(target);
    if (info.isDirectory()) throw Object.assign(new Error(), { code: 'EISDIR' });
    return { target, info };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return { target: file, info: null };
  }
}

function problemOf(error: unknown): string {
  switch ((error as NodeJS.ErrnoException).code) {
    case 'ENOENT':
      return 'there is no such file or folder';
    case 'EACCES':
    case 'EPERM':
      return 'permission denied';
    case 'EISDIR':
      return 'it is a folder';
    case 'EROFS':
      return 'the file system is read-only';
    case 'ENOSPC':
      return 'the disk is full';
    default:
      return (error as Error).message;
  }
}

/** A report made now, on this machine. */
export function machineReport(
  toolVersion: string,
  redacted: boolean,
  parts: Omit<ReportParts, 'toolVersion' | 'createdAtMs' | 'machine' | 'privateWords'>,
): Report {
  return createReport({
    ...parts,
    toolVersion,
    createdAtMs: Date.now(),
    machine: machineFacts(),
    privateWords: redacted ? privateWords() : null,
  });
}

/** What to take out of reports made by this user on this machine. */
export function privateWords(): PrivateWords {
  return { homeDir: os.homedir(), userName: userName(), hostName: os.hostname() };
}

/** Where a report is made. */
export function machineFacts(): Report['machine'] {
  return {
    platform: `${process.platform}-${process.arch}`,
    nodeVersion: process.versions.node,
    hostName: os.hostname(),
  };
}

function userName(): string | null {
  try {
    return os.userInfo().username;
  } catch {
    // A container may run under a user id that has no name.
    return null;
  }
}
