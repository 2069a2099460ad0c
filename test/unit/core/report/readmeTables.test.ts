import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { parseReport } from '../../../../extension/core/report/report';

const FOLDER = 'test/fixtures/reports';
const REPORTS = existsSync(FOLDER) ? readdirSync(FOLDER).filter((name) => name.startsWith('h200-')) : [];

test('the README shows exactly what its reports say', () => {
  const { status, stderr } = spawnSync(process.execPath, ['extension/dev/readmeTables.mjs', '--check'], {
    encoding: 'utf8',
  });
  assert.equal(status, 0, stderr);
});

test('each figure of the bundled kernels was checked, the log-sum-exp too', async () => {
  for (const name of REPORTS) {
    const file = path.join(FOLDER, name);
    const own = parseReport(await readFile(file, 'utf8'), file).rows.filter((row) => row.engine === 'bundled');
    assert.ok(own.length > 0, file);
    for (const { case: asked, result } of own) {
      const { relError, lseError, checkedRows } = result;
      const words = `${file}: ${JSON.stringify(asked)}`;
      assert.ok(result.status === 'ok' && checkedRows > 0 && relError !== null && relError < 5e-3, words);
      assert.ok(lseError !== null && lseError < 2e-3, words);
    }
  }
});

test(
  'the reports were measured with these kernels',
  { skip: REPORTS.length === 0 && 'no report is committed yet' },
  async () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, ['native/kernels/build.mjs', '--print-hash'], {
      encoding: 'utf8',
    });
    assert.equal(status, 0, stderr);
    for (const name of REPORTS) {
      const file = path.join(FOLDER, name);
      const report = parseReport(await readFile(file, 'utf8'), file);
      assert.equal(report.redacted, true, `${file} is not redacted`);
      assert.equal(report.facts?.kernelBuild?.hash, stdout.trim(), `${file} is of other kernels: measure again`);
    }
  },
);
