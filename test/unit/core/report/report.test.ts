import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import type { CaseResult, ResultRow } from '../../../../extension/core/attentionCase';
import { compareRows } from '../../../../extension/core/measure/benchStats';
import { emptyResult } from '../../../../extension/core/measure/emptyResult';
import { DiagError } from '../../../../extension/core/errors';
import { redact } from '../../../../extension/core/report/redact';
import {
  createReport,
  MAX_REPORT_BYTES,
  parseReport,
  printReport,
  type ReportParts,
} from '../../../../extension/core/report/report';
import { reportSummary, rowsMarkdown } from '../../../../extension/core/report/reportMarkdown';
import { readReportFile, writeFileWhole } from '../../../../extension/node/reportFile';
import { sampleCase } from '../../node/sampleCase';
import { GPU_ID, sampleFacts, sampleGpu } from '../../node/sampleFacts';

const folder = await mkdtemp(path.join(os.tmpdir(), 'report-'));
after(() => rm(folder, { recursive: true, force: true }));

function timed(median: number, spread = 0.01, changes: Partial<CaseResult> = {}): CaseResult {
  return {
    ...emptyResult('ok', '', ''),
    reason: null,
    kernel: { name: 'prefill_mma_bf16_d64', headDimTile: 64, target: 'sm_90', numSplits: 1 },
    gpuMs: { median, p10: median * (1 - spread), p90: median * (1 + spread), runs: 10 },
    tflops: 500,
    relError: 2.1e-3,
    checkedRows: 256,
    ...changes,
  };
}

const row = (seed: number, result: CaseResult): ResultRow => ({
  engine: 'bundled',
  deviceId: GPU_ID,
  case: sampleCase(seed),
  result,
});

function parts(changes: Partial<ReportParts> = {}): ReportParts {
  return {
    command: 'run',
    toolVersion: '0.1.0',
    createdAtMs: Date.UTC(2026, 10, 22),
    machine: { platform: 'linux-x64', nodeVersion: '20.20.0', hostName: 'gpu-node-17' },
    facts: sampleFacts(sampleGpu(), {
      cudaVisibleDevices: GPU_ID.slice(0, 12),
      loadAttempts: [{ library: 'cuda', path: '/home/ada/lib/libcuda.so.1', ok: false, error: 'gpu-node-17: no' }],
    }),
    rows: [row(1, timed(1)), row(2, emptyResult('failed', 'x', `on ${GPU_ID} by ada in /home/ada/kernels`))],
    ceilings: [
      {
        deviceId: GPU_ID,
        ceilings: {
          readStreamTbps: 4.5,
          copyTbps: 4.2,
          tensorCoreTflops: 660,
          tensorCoreInstruction: 'mma.sync',
          smClockMHz: 1700,
        },
      },
    ],
    privateWords: { homeDir: '/home/ada', userName: 'ada', hostName: 'gpu-node-17' },
    ...changes,
  };
}

test('a report survives being printed and parsed', () => {
  const report = createReport(parts({ privateWords: null }));
  assert.deepEqual(parseReport(printReport(report), 'r.json'), report);
  assert.equal(report.redacted, false);
});

test('a redacted report names no UUID, bus, host, user or home, and keeps what belongs together together', () => {
  const report = createReport(parts());
  const text = printReport(report);
  for (const secret of ['0a1b2c3d', '3B:00.0', 'gpu-node-17', 'ada']) assert.ok(!text.includes(secret), secret);
  assert.equal(report.redacted, true);
  const device = report.facts?.devices[0];
  assert.ok(device !== undefined);
  assert.equal(device.uuid, device.id);
  assert.equal(report.rows[0]?.deviceId, device.id);
  assert.equal(report.ceilings[0]?.deviceId, device.id);
  assert.equal(report.facts?.cudaVisibleDevices, device.id);
  assert.match(report.rows[1]?.result.reason?.text ?? '', /in ~\/kernels/);
  assert.deepEqual(parseReport(text, 'r.json'), report);
});

test('redaction leaves common words and other numbers alone', () => {
  const words = { homeDir: '/root', userName: 'root', hostName: 'localhost' };
  const text = 'root cause at 12:30:05, driver 580.159.03, /root/x, /rooted, GPU-bound, prefill_mma_bf16_d128';
  assert.equal(redact(text, words), text.replace('/root/x', '~/x'));
  assert.equal(redact('/home/bob/a and /Users/eve/b', words), '/home/<user>/a and /Users/<user>/b');
  assert.equal(
    redact(['GPU-aaaa1111-0000-0000-0000-000000000000', 'GPU-bbbb1111-0000-0000-0000-000000000000'], words).join(),
    'GPU-device-1,GPU-device-2',
  );
});

test('redaction takes the folders out of absolute paths, and leaves what is none', () => {
  const words = { homeDir: '/home/ada', userName: 'ada', hostName: null };
  for (const [text, expected] of [
    ['In /scratch/acme/ve/lib/site-packages/vllm, not found', 'In <path>/vllm, not found'],
    ['"/data/acme corp"', '"<path>/acme corp"'],
    ['/mnt/a/b.yaml:3: no', '<path>/b.yaml:3: no'],
    ['--model=/mnt/a/b/', '--model=<path>/'],
    ['/home/ada/x/y.json /home/eve/z', '~/x/y.json /home/<user>/z'],
    ['/usr/lib/x86_64-linux-gnu/libcuda.so.1', '/usr/lib/x86_64-linux-gnu/libcuda.so.1'],
    ['https://github.com/vllm-project/vllm 32/8 heads, bf16/fp16, yes / no', null],
  ] as const) {
    assert.equal(redact(text, words), expected ?? text);
  }
});

const faults: readonly [string, string, string][] = [
  ['an empty file', '', 'notAReport'],
  ['text', 'hello', 'notAReport'],
  ['other JSON', '{"a":1}', 'notAReport'],
  ['JSON that is no object', 'null', 'notAReport'],
  ['a truncated report', printReport(createReport(parts())).slice(0, 3000), 'reportTruncated'],
  ['a newer report', '{"schema":"attention-diagnostics-report/2","rows":[]}', 'reportNewer'],
  [
    'a damaged report',
    printReport(createReport(parts())).replace('"status":"ok"', '"status":"splendid"'),
    'reportInvalid',
  ],
];
for (const [what, text, code] of faults) {
  test(`${what} is ${code}, naming the file`, async () => {
    const file = path.join(folder, 'fault.json');
    await writeFile(file, text);
    const error = await readReportFile(file).catch((caught: unknown) => caught);
    assert.ok(error instanceof DiagError);
    assert.equal(error.code, code);
    assert.match(error.message, /fault\.json/);
  });
}

test('a huge file is refused without being read', async () => {
  const file = path.join(folder, 'huge.json');
  await writeFile(file, '');
  await truncate(file, MAX_REPORT_BYTES + 1);
  await assert.rejects(readReportFile(file), { code: 'fileTooLarge' });
});

test('a missing file and a folder are unreadable, in words', async () => {
  await assert.rejects(readReportFile(path.join(folder, 'nothing.json')), /no such file/);
  await assert.rejects(readReportFile(folder), { code: 'fileUnreadable' });
});

test('a write is whole or not at all and leaves no temporary file', async () => {
  const own = await mkdtemp(path.join(folder, 'write-'));
  const file = path.join(own, 'out.json');
  await writeFileWhole(file, 'one');
  await writeFileWhole(file, 'two');
  assert.equal(await readFile(file, 'utf8'), 'two');
  await assert.rejects(writeFileWhole(path.join(own, 'no', 'such', 'folder.json'), 'x'), { code: 'fileUnwritable' });
  await assert.rejects(writeFileWhole(own, 'x'), { code: 'fileUnwritable' });
  assert.deepEqual(await readdir(own), ['out.json']);
});

test('comparison: only what moved beyond noise with bands apart counts, and disturbed rows are not judged', () => {
  const change = (before: CaseResult, after: CaseResult): string | undefined =>
    compareRows([row(1, before)], [row(1, after)])[0]?.change;
  assert.equal(change(timed(1), timed(1.03)), 'same');
  assert.equal(change(timed(1), timed(1.1)), 'slower');
  assert.equal(change(timed(1, 0.1), timed(1.1, 0.1)), 'same');
  assert.equal(change(timed(1.1), timed(1)), 'faster');
  assert.equal(change(timed(1), timed(2, 0.01, { contended: true })), 'notComparable');
  assert.equal(change(timed(1), emptyResult('wrong', 'w', 'w')), 'broken');
  assert.equal(change(timed(1), emptyResult('cancelled', 'c', 'c')), 'notComparable');
  assert.equal(change(emptyResult('unsupported', 'u', 'u'), timed(1)), 'fixed');
  assert.equal(change(emptyResult('failed', 'f', 'f'), emptyResult('failed', 'f', 'f')), 'notComparable');
});

test('comparison pairs by engine and case across devices and keeps what has no partner', () => {
  const elsewhere = { ...row(1, timed(1)), deviceId: 'GPU-other' };
  const comparisons = compareRows([row(1, timed(1)), row(2, timed(1))], [row(3, timed(1)), elsewhere]);
  assert.deepEqual(
    comparisons.map((each) => [each.before?.case.seed, each.after?.case.seed, each.change]),
    [
      [1, 1, 'same'],
      [2, undefined, 'onlyBefore'],
      [undefined, 3, 'onlyAfter'],
    ],
  );
});

test('the Markdown names device, driver, day, kernels and ceilings, and puts page layouts side by side', () => {
  const paged = row(3, timed(1, 0.01, { tflops: 480, percentOfCeiling: 73 }));
  const report = createReport(
    parts({
      rows: [
        row(1, timed(1)),
        { ...paged, case: { ...paged.case, pageSize: 16 } },
        { ...paged, case: { ...paged.case, pageSize: 64 }, result: emptyResult('failed', 'x', `on ${GPU_ID}`) },
        { ...paged, case: { ...paged.case, headDim: 96, headDimV: 96 } },
      ],
    }),
  );
  const table = rowsMarkdown(report.rows).split('\n');
  assert.match(
    reportSummary(report),
    /NVIDIA H200 · driver 580\.159\.03 · 2026-11-22 · kernels `abababababab` · .*660 TFLOP\/s.*4\.50 TB\/s/,
  );
  assert.match(table[0] ?? '', /\| contiguous \| page 16 \| page 64 \|/);
  assert.equal(table.length, 4);
  assert.equal(new Set(table.map((line) => line.split(' | ').length)).size, 1);
  assert.match(table[2] ?? '', /\| 500 TFLOP\/s \| 480 TFLOP\/s \(73 %\) \| failed: on GPU-device-1 \| 2\.10e-3 \|/);
  assert.match(table[3] ?? '', /\| 96 \|.*\| 480 TFLOP\/s \(73 %\) \| {2}\| {2}\|/);
});
