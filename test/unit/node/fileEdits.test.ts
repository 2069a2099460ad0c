import assert from 'node:assert/strict';
import {
  chmodSync,
  lstatSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { DiagError } from '../../../extension/core/errors';
import { readEditableFile, writeFileEdits } from '../../../extension/node/fileEdits';

async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'attn-diag edit \'é\n"-'));
  try {
    await body(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const codeOf = (error: unknown): string => DiagError.from(error).code;
const EDIT = [{ offset: 3, length: 1, newText: '2' }];

test('writes the edit, keeps the mode and the symlink, leaves no temporary file', () =>
  inFolder(async (folder) => {
    const target = path.join(folder, 'real.yaml');
    const link = path.join(folder, 'link.yaml');
    writeFileSync(target, 'a: 1 # ü\n');
    chmodSync(target, 0o640);
    symlinkSync('real.yaml', link);
    await writeFileEdits(await readEditableFile(link), EDIT);
    assert.equal(readFileSync(target, 'utf8'), 'a: 2 # ü\n');
    assert.equal(statSync(target).mode & 0o777, 0o640);
    assert.ok(lstatSync(link).isSymbolicLink());
    assert.deepEqual(readdirSync(folder).sort(), ['link.yaml', 'real.yaml']);
  }));

test('a file changed, replaced by another target or gone since it was read is left alone', () =>
  inFolder(async (folder) => {
    const target = path.join(folder, 'a.yaml');
    writeFileSync(target, 'a: 1\n');
    const read = await readEditableFile(target);
    writeFileSync(target, 'b: 1\n');
    await assert.rejects(writeFileEdits(read, EDIT), (error) => codeOf(error) === 'fileChanged');
    assert.equal(readFileSync(target, 'utf8'), 'b: 1\n');
    rmSync(target);
    await assert.rejects(writeFileEdits(read, EDIT), (error) => codeOf(error) === 'fileChanged');
    writeFileSync(path.join(folder, 'other'), 'a: 1\n');
    symlinkSync('other', target);
    await assert.rejects(writeFileEdits(read, EDIT), (error) => codeOf(error) === 'fileChanged');
    assert.deepEqual(readdirSync(folder).sort(), ['a.yaml', 'other']);
  }));

test('what cannot be edited is refused when it is read', () =>
  inFolder(async (folder) => {
    const at = (name: string): string => path.join(folder, name);
    symlinkSync('loop', at('loop'));
    writeFileSync(at('latin1'), Buffer.from([0x61, 0xe9, 0x0a]));
    writeFileSync(at('large'), 'x'.repeat(1024 * 1024 + 1));
    const codes = await Promise.all(
      [folder, at('loop'), at('missing'), at('latin1'), at('large')].map((file) =>
        readEditableFile(file).then(() => 'read', codeOf),
      ),
    );
    assert.deepEqual(codes, ['fileUnreadable', 'fileUnreadable', 'fileUnreadable', 'fileUnreadable', 'fileTooLarge']);
  }));

test('a byte order mark survives', () =>
  inFolder(async (folder) => {
    const target = path.join(folder, 'bom.yaml');
    writeFileSync(target, '\ufeffa: 1\n');
    await writeFileEdits(await readEditableFile(target), [{ offset: 4, length: 1, newText: '2' }]);
    assert.equal(readFileSync(target, 'utf8'), '\ufeffa: 2\n');
  }));
