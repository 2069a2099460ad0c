/** Writing an opened report again: what identifies a machine goes, everything else stays. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { emptyResult } from '../../../../extension/core/measure/emptyResult';
import { createReport, parseReport, printReport, type Report } from '../../../../extension/core/report/report';
import { exportedReport } from '../../../../extension/core/state/exportedReport';
import { sampleCase } from '../../node/sampleCase';
import { GPU_ID, sampleFacts, sampleGpu } from '../../node/sampleFacts';

/** Of the user who exports, on another machine than the report's. */
const WORDS = { homeDir: '/home/grace', userName: 'grace', hostName: 'laptop' };

function written(privateWords: Parameters<typeof createReport>[0]['privateWords']): Report {
  return createReport({
    command: 'run',
    toolVersion: '0.0.9',
    createdAtMs: Date.UTC(2026, 10, 22),
    machine: { platform: 'linux-x64', nodeVersion: '20.20.0', hostName: 'gpu-node-17' },
    facts: sampleFacts(sampleGpu(), { cudaVisibleDevices: GPU_ID }),
    rows: [
      {
        engine: 'bundled',
        deviceId: GPU_ID,
        case: sampleCase(1),
        result: emptyResult('failed', 'x', 'on gpu-node-17 in /home/ada/kernels for grace in /home/grace/work'),
      },
    ],
    libraries: [
      { engine: 'fa2', available: false, version: null, torch: null, reason: { code: 'x', text: 'in /home/ada' } },
    ],
    failure: { code: 'x', text: `${GPU_ID} is gone` },
    privateWords,
  });
}

describe('an opened report that is exported', () => {
  it('loses what identifies when it was written with it, its own host included', () => {
    const report = written(null);
    const exported = exportedReport(report, WORDS);
    const text = printReport(exported);
    for (const word of [GPU_ID, 'gpu-node-17', '/home/ada', 'grace']) assert.ok(!text.includes(word), word);
    assert.equal(exported.redacted, true);
    assert.deepEqual(parseReport(text, 'a.json'), exported);
  });

  it('stays the same report: who wrote it, when, and what was measured', () => {
    const report = written(null);
    const exported = exportedReport(report, WORDS);
    assert.deepEqual(Object.keys(exported).sort(), Object.keys(report).sort());
    assert.deepEqual(exported.tool, report.tool);
    assert.equal(exported.createdAtMs, report.createdAtMs);
    assert.equal(exported.command, 'run');
    assert.deepEqual(exported.rows[0]?.case, report.rows[0]?.case);
    assert.equal(exported.rows[0]?.deviceId, exported.facts?.devices.find(({ kind }) => kind === 'gpu')?.id);
  });

  it('is left as it is when its words were replaced before', () => {
    const report = written({ homeDir: '/home/ada', userName: 'ada', hostName: 'gpu-node-17' });
    assert.equal(exportedReport(report, WORDS), report);
  });
});
