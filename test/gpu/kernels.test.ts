/** The bundled kernels on the GPU of this machine, through the command line as it ships. Needs `npm run build` and the kernels. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { parseReport, type Report } from '../../extension/core/report/report';

/** Runs `attn-diag COMMAND --json FILE` and reads the report; rejects when it exits with another code than 0. */
async function reportOf(...command: string[]): Promise<Report> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'attn-gpu-'));
  const file = path.join(folder, 'report.json');
  try {
    await promisify(execFile)(process.execPath, ['dist/cli.js', ...command, '--json', file], { maxBuffer: 2 ** 26 });
    return parseReport(await readFile(file, 'utf8'), file);
  } finally {
    await rm(folder, { recursive: true });
  }
}

function ranOnGpu(report: Report): void {
  const gpus = new Set((report.facts?.devices ?? []).filter((each) => each.kind === 'gpu').map((each) => each.id));
  assert.ok(report.rows.length > 0 && report.rows.every((row) => gpus.has(row.deviceId)), 'there is no GPU here');
}

test('every bundled kernel agrees with the float64 reference', async () => {
  const report = await reportOf('selftest');
  ranOnGpu(report);
  assert.deepEqual(
    report.rows.filter((row) => row.result.status !== 'ok').map((row) => [row.case, row.result.reason]),
    [],
  );
});

test('a run has times, and shares of ceilings that were measured in it', async () => {
  const report = await reportOf('run', '--preset', 'quick');
  ranOnGpu(report);
  assert.ok(report.ceilings.length > 0);
  for (const { result } of report.rows.filter((row) => row.result.status === 'ok')) {
    assert.ok(result.gpuMs !== null && result.gpuMs.median > 0);
    assert.ok(result.percentOfCeiling !== null && result.percentOfCeiling > 0 && result.percentOfCeiling < 105);
  }
});
