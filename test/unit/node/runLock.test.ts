import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { readFileSync, watch } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { DiagError } from '../../../extension/core/errors';
import { silentLogger } from '../../../extension/core/logger';
import { acquireRunLock, lockPath } from '../../../extension/node/runLock';

const folder = await mkdtemp(path.join(os.tmpdir(), 'run-lock-'));
after(() => rm(folder, { recursive: true, force: true }));

const take = (deviceId: string): Promise<() => Promise<void>> => acquireRunLock(deviceId, silentLogger, folder);

test('one holder per device; giving back frees it; devices do not block each other', async () => {
  const giveBack = await take('GPU-a');
  const error = await take('GPU-a').catch((caught: unknown) => caught);
  assert.ok(DiagError.is(error, 'runLocked'));
  assert.equal(error.data.pid, process.pid);
  await (
    await take('GPU-b')
  )();
  await giveBack();
  await (
    await take('GPU-a')
  )();
  assert.deepEqual(await readdir(folder), []);
});

test('a lock whose process is gone is taken over', async () => {
  const child = spawn(process.execPath, ['-e', '']);
  const { pid = 0 } = child;
  await new Promise((resolve) => child.once('exit', resolve));
  await writeFile(lockPath('GPU-c', folder), JSON.stringify({ deviceId: 'GPU-c', pid, startTicks: '1', sinceMs: 1 }));
  await (
    await take('GPU-c')
  )();
});

test('a lock whose process id now belongs to another process is taken over', async () => {
  const lock = { deviceId: 'GPU-d', pid: process.pid, startTicks: '1', sinceMs: 1 };
  await writeFile(lockPath('GPU-d', folder), JSON.stringify(lock));
  const giveBack = await take('GPU-d');
  const held = JSON.parse(await readFile(lockPath('GPU-d', folder), 'utf8')) as { startTicks: string };
  assert.notEqual(held.startTicks, '1');
  await giveBack();
});

test('a live lock of another process holds', async () => {
  const child = spawn(process.execPath, ['-e', 'setTimeout(() => undefined, 60_000)']);
  try {
    const lock = { deviceId: 'GPU-e', pid: child.pid, startTicks: null, sinceMs: 1 };
    await writeFile(lockPath('GPU-e', folder), JSON.stringify(lock));
    await assert.rejects(take('GPU-e'), { code: 'runLocked' });
  } finally {
    child.kill('SIGKILL');
  }
});

test('garbage, a huge file and a symbolic link in its place do not block', async () => {
  await writeFile(lockPath('GPU-f', folder), 'not a lock');
  await (
    await take('GPU-f')
  )();
  await writeFile(lockPath('GPU-g', folder), 'x'.repeat(10_000));
  await (
    await take('GPU-g')
  )();
  const victim = path.join(folder, 'victim');
  await writeFile(victim, 'precious');
  await symlink(victim, lockPath('GPU-h', folder));
  await (
    await take('GPU-h')
  )();
  assert.equal(await readFile(victim, 'utf8'), 'precious');
});

test('a pipe and an empty file in its place do not block', async () => {
  execFileSync('mkfifo', [lockPath('GPU-p', folder)]);
  await (
    await take('GPU-p')
  )();
  await writeFile(lockPath('GPU-q', folder), '');
  await (
    await take('GPU-q')
  )();
});

test('other users can read it whatever the umask, and it is whole from the moment it is there', async () => {
  const before = process.umask(0o077);
  const watched: string[] = [];
  const watcher = watch(folder, (_event, name) => {
    if (name !== path.basename(lockPath('GPU-r', folder))) return;
    try {
      watched.push(readFileSync(path.join(folder, name), 'utf8'));
    } catch {
      // Given back already.
    }
  });
  try {
    const giveBack = await take('GPU-r');
    assert.equal((await stat(lockPath('GPU-r', folder))).mode & 0o777, 0o644);
    await giveBack();
    for (const content of watched) assert.equal((JSON.parse(content) as { deviceId: string }).deviceId, 'GPU-r');
  } finally {
    process.umask(before);
    watcher.close();
  }
});

test(
  'every job of a Linux machine looks in the same folder, whatever its TMPDIR',
  { skip: process.platform !== 'linux' },
  () => {
    assert.equal(path.dirname(lockPath('GPU-a')), '/tmp');
  },
);

test('of many that ask at once exactly one gets it', async () => {
  const outcomes = await Promise.allSettled(Array.from({ length: 12 }, () => take('GPU-i')));
  const won = outcomes.filter((each) => each.status === 'fulfilled');
  assert.equal(won.length, 1);
  for (const each of won) await each.value();
});
