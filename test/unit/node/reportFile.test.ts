/** Bounded reads of files that others may have put there. */
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { chmod, lstat, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { promisify } from 'node:util';
import { checkWritable, readTextFile, writeFileWhole } from '../../../extension/node/reportFile';

const folder = await mkdtemp(path.join(os.tmpdir(), 'report-file-'));
after(() => rm(folder, { recursive: true, force: true }));
const at = (name: string): string => path.join(folder, name);

test('a file is read whole up to the limit, and not at all beyond it', async () => {
  await writeFile(at('fits'), 'grüße');
  assert.equal(await readTextFile(at('fits'), 7), 'grüße');
  await assert.rejects(readTextFile(at('fits'), 6), { code: 'fileTooLarge' });
});

test('what is no file is refused, and a pipe without a writer is not waited for', async () => {
  execFileSync('mkfifo', [at('pipe')]);
  await symlink('/dev/zero', at('endless'));
  for (const name of ['pipe', 'endless', '.']) {
    await assert.rejects(readTextFile(at(name), 100), { code: 'fileUnreadable' });
  }
  await assert.rejects(readTextFile(at('missing'), 100), { code: 'fileUnreadable' });
});

test('a file that says it is empty and is not ends at the limit', { skip: process.platform !== 'linux' }, async () => {
  await assert.rejects(readTextFile('/proc/self/maps', 100), { code: 'fileTooLarge' });
});

test('a written file keeps its link and its mode', async () => {
  await writeFile(at('target'), 'old');
  await chmod(at('target'), 0o600);
  await symlink('target', at('link'));
  await writeFileWhole(at('link'), 'new');
  assert.equal(await readFile(at('target'), 'utf8'), 'new');
  assert.ok((await lstat(at('link'))).isSymbolicLink());
  assert.equal((await stat(at('target'))).mode & 0o777, 0o600);
});

test('what is no regular file is written to, not replaced', async () => {
  execFileSync('mkfifo', [at('reader')]);
  const read = promisify(execFile)('cat', [at('reader')]);
  await writeFileWhole(at('reader'), 'a report');
  assert.equal((await read).stdout, 'a report');
  assert.ok((await lstat(at('reader'))).isFIFO());
});

test('what cannot be written is known before there is anything to write', async () => {
  await checkWritable(at('new'));
  await assert.rejects(stat(at('new')));
  await assert.rejects(checkWritable(at('no/such/report.json')), { code: 'fileUnwritable' });
  await assert.rejects(checkWritable(folder), { code: 'fileUnwritable' });
});
