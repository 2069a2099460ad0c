/** One build at a time in a checkout: the others wait for it. */
import * as fs from 'node:fs';
import * as path from 'node:path';

const POLL_MS = 100;
/** A build takes a minute or two; a process id that is still there after this belongs to somebody else. */
const STALE_AFTER_MS = 15 * 60_000;

/**
 * Runs `work` while holding the lock. A lock whose process is gone is taken over.
 * @template Result
 * @param {string} file where the lock is; holds the process id
 * @param {() => Result} work
 * @returns {Result}
 */
export function withBuildLock(file, work) {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  for (let polls = 0; !take(file); polls += 1) {
    if (polls === 10) console.log(`Waiting for another build to end (${file}) …`);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, POLL_MS);
  }
  try {
    return work();
  } finally {
    fs.rmSync(file, { force: true });
  }
}

/**
 * The lock appears with its content in one step: a link to a file of our own.
 * @param {string} file
 * @returns {boolean} whether it is ours now
 */
function take(file) {
  const own = `${file}.${String(process.pid)}`;
  fs.writeFileSync(own, String(process.pid));
  try {
    fs.linkSync(own, file);
    return true;
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'EEXIST') throw error;
    removeWhenStale(file, `${own}.stale`);
    return false;
  } finally {
    fs.rmSync(own, { force: true });
  }
}

/**
 * Moves a stale lock away and looks again: somebody else may have replaced it between our look and our move, and gets it
 * back.
 * @param {string} file
 * @param {string} aside
 */
function removeWhenStale(file, aside) {
  try {
    const holder = fs.readFileSync(file, 'utf8');
    if (Date.now() - fs.statSync(file).mtimeMs < STALE_AFTER_MS && isAlive(Number(holder))) return;
    fs.renameSync(file, aside);
    if (fs.readFileSync(aside, 'utf8') !== holder) fs.linkSync(aside, file);
    fs.rmSync(aside, { force: true });
  } catch (error) {
    // Given back, or taken over by somebody else, while we looked.
    if (!['ENOENT', 'EEXIST'].includes(/** @type {NodeJS.ErrnoException} */ (error).code ?? '')) throw error;
  }
}

/** @param {number} pid */
function isAlive(pid) {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return /** @type {NodeJS.ErrnoException} */ (error).code === 'EPERM';
  }
}
