/**
 * One run per GPU across windows, command lines and users: a small file in a folder that all of them have, named after the
 * device. That folder is anybody's, so nothing in it is trusted: links are not followed, what is no lock does not block, and
 * what a lock says is only shown.
 *
 * A lock whose owner is gone, or whose process id now belongs to another process (start times differ), is stale and is
 * taken over. A stale file that cannot be removed (left by another user) does not block for ever: it is ignored.
 */
import { createHash, randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { link, open, readFile, rename, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import * as v from 'valibot';
import { DiagError } from '../core/errors';
import type { Logger } from '../core/logger';

const lockSchema = v.object({
  deviceId: v.string(),
  pid: v.pipe(v.number(), v.integer(), v.minValue(1)),
  /** Field 22 of /proc/PID/stat; `null` where there is no /proc. */
  startTicks: v.nullable(v.string()),
  sinceMs: v.number(),
});
type Lock = v.InferOutput<typeof lockSchema>;

/** A lock file is a line; anything longer is not ours. */
const MAX_LOCK_BYTES = 4096;

/** Not TMPDIR where there is a choice: a batch system gives each job its own, and the GPU is the same one. */
const SHARED_FOLDER = process.platform === 'linux' ? '/tmp' : os.tmpdir();

/** Where the lock of a device is. The id is hashed because MIG ids hold slashes. */
export function lockPath(deviceId: string, folder = SHARED_FOLDER): string {
  const name = createHash('sha256').update(deviceId).digest('hex').slice(0, 16);
  return path.join(folder, `attention-diagnostics-${name}.lock`);
}

/**
 * Takes the lock of a device; the returned function gives it back.
 * Rejects with `runLocked` naming the process that holds it.
 */
export async function acquireRunLock(deviceId: string, log: Logger, folder?: string): Promise<() => Promise<void>> {
  const file = lockPath(deviceId, folder);
  const mine: Lock = { deviceId, pid: process.pid, startTicks: await startTicksOf(process.pid), sinceMs: Date.now() };
  // Two rounds: the second one after a stale lock was moved away. A third means others are faster each time.
  for (let round = 0; round < 3; round += 1) {
    if (await create(file, mine)) return () => giveBack(file, mine);
    const holder = await readLock(file);
    if (holder === 'gone') continue;
    if (holder !== 'notALock' && (await isAlive(holder))) {
      throw new DiagError('runLocked', { deviceId, pid: holder.pid, sinceMs: holder.sinceMs });
    }
    if (!(await removeStale(file, holder))) {
      log.warn(`stale lock ${file} cannot be removed; running without a lock`);
      return () => Promise.resolve();
    }
  }
  throw new DiagError('runLocked', { deviceId, pid: 0, sinceMs: Date.now() });
}

/** The lock appears with its content in one step, so that nobody takes one that is being written for garbage. */
async function create(file: string, lock: Lock): Promise<boolean> {
  const own = `${file}.${randomUUID()}`;
  try {
    const handle = await open(own, 'wx', 0o644);
    try {
      await handle.writeFile(JSON.stringify(lock));
      // Whatever the umask: another user who cannot read a lock could not honour it.
      await handle.chmod(0o644);
    } finally {
      await handle.close();
    }
    await link(own, file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw new DiagError('fileUnwritable', { path: file, problem: (error as Error).message }, error);
  } finally {
    await rm(own, { force: true });
  }
}

async function readLock(file: string): Promise<Lock | 'gone' | 'notALock'> {
  try {
    // Neither follows a link nor waits for the other end of a pipe.
    const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const info = await handle.stat();
      if (!info.isFile() || info.size > MAX_LOCK_BYTES) return 'notALock';
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(MAX_LOCK_BYTES), 0, MAX_LOCK_BYTES, 0);
      const parsed = v.safeParse(lockSchema, JSON.parse(buffer.toString('utf8', 0, bytesRead)));
      return parsed.success ? parsed.output : 'notALock';
    } finally {
      await handle.close();
    }
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'gone' : 'notALock';
  }
}

async function isAlive(lock: Lock): Promise<boolean> {
  try {
    process.kill(lock.pid, 0);
  } catch (error) {
    // EPERM: it exists and belongs to somebody else.
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  const ticks = await startTicksOf(lock.pid);
  return lock.startTicks === null || ticks === null || ticks === lock.startTicks;
}

/** When a process started, in clock ticks since boot, as text; `null` when it cannot be told. */
async function startTicksOf(pid: number): Promise<string | null> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    // The second field is the name in parentheses and may hold anything; the start time is the 20th field after it.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null;
  } catch {
    return null;
  }
}

/**
 * Moves a stale lock away. Moving and then looking, instead of unlinking, because between our look and our move somebody
 * else may have taken it over: then it is put back.
 */
async function removeStale(file: string, seen: Lock | 'notALock'): Promise<boolean> {
  const aside = `${file}.${randomUUID()}`;
  try {
    await rename(file, aside);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT';
  }
  const moved = await readLock(aside);
  if (seen !== 'notALock' && JSON.stringify(moved) !== JSON.stringify(seen)) {
    await link(aside, file).catch(() => undefined);
  }
  await rm(aside, { recursive: true, force: true });
  return true;
}

async function giveBack(file: string, mine: Lock): Promise<void> {
  const lock = await readLock(file);
  if (typeof lock === 'object' && lock.pid === mine.pid && lock.sinceMs === mine.sinceMs)
    await rm(file, { force: true });
}
