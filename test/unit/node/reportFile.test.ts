/** Bounded reads of files that others may have put there. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { readTextFile } from '../../../extension/node/reportFile';

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
