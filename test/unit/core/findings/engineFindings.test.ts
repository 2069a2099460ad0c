import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AttentionCase, CaseResult, ResultRow } from '../../../../extension/core/attentionCase';
import type { MatrixCell } from '../../../../extension/core/evaluation';
import { engineFindings } from '../../../../extension/core/findings/engineFindings';
import { emptyResult } from '../../../../extension/core/measure/emptyResult';
import type { Answer, Verdict } from '../../../../extension/core/verdict';
import { sampleCase } from '../../node/sampleCase';

function ok(ms: number, tflops = 100): Partial<CaseResult> {
  return {
    status: 'ok',
    reason: null,
    gpuMs: { median: ms, p10: ms * 0.99, p90: ms * 1.01, runs: 5 },
    tflops,
    relError: 0.002,
    checkedRows: 8,
  };
}

function bad(status: CaseResult['status'], code: string, text: string): Partial<CaseResult> {
  return { status, reason: { code, text } };
}

function row(engine: string, result: Partial<CaseResult>, changes: Partial<AttentionCase> = {}): ResultRow {
  return {
    engine,
    deviceId: 'g',
    case: sampleCase(1, { headDim: 512, headDimV: 512, pageSize: 16, ...changes }),
    result: { ...emptyResult('ok', '', ''), ...result },
  };
}

function cell(subject: string, selects: Answer, works: Answer, code = 'FA-3'): MatrixCell {
  const verdict = (question: Verdict['question'], answer: Answer): Verdict => ({
    subject,
    question,
    layerGroup: 'd512',
    answer,
    level: 'declared',
    reasons: [{ code, text: `${question} says ${answer}`, source: { where: 'vllm 0.33.0 flash_attn.py' } }],
  });
  return { subject, headDim: 512, pageSize: 16, selects: verdict('selects', selects), works: verdict('works', works) };
}

const refused = bad('unsupported', 'refusedByLibrary', 'head dimension at most 256');

interface Expected {
  readonly what: string;
  readonly rows: readonly ResultRow[];
  readonly cells: readonly MatrixCell[];
  readonly found: readonly [string, string][];
}

const table: readonly Expected[] = [
  {
    what: 'vLLM accepts what its library refuses',
    rows: [row('fa3.vllm', refused)],
    cells: [cell('FLASH_ATTN.FA3', 'yes', 'unknown')],
    found: [['engine-acceptedButFails', 'error']],
  },
  {
    what: 'a declared yes that crashes',
    rows: [row('fa4.system', bad('crashed', 'SIGSEGV', 'Its process crashed.'))],
    cells: [cell('fa4.system', 'no', 'yes')],
    found: [['engine-declaredButFails', 'warning']],
  },
  {
    what: 'a declared yes with a wrong result',
    rows: [row('fa4.system', bad('wrong', 'error', 'relative error 0.4'))],
    cells: [cell('fa4.system', 'no', 'yes')],
    found: [['engine-declaredButFails', 'warning']],
  },
  {
    what: 'a declared no that runs',
    rows: [row('fa4.system', ok(1))],
    cells: [cell('fa4.system', 'no', 'no')],
    found: [['engine-stricterThanKernel', 'info']],
  },
  {
    what: 'a validator that says no to what the kernel does',
    rows: [row('fa4.vllm', ok(1))],
    cells: [cell('FLASH_ATTN.FA4', 'no', 'unknown')],
    found: [['engine-stricterThanKernel', 'info']],
  },
  {
    what: 'a no because of a version or a flag is not about the kernel',
    rows: [row('fa4.vllm', ok(1))],
    cells: [cell('FLASH_ATTN.FA4', 'no', 'unknown', 'FA-VERSION')],
    found: [],
  },
  {
    what: 'a library that vLLM does not call says nothing about what vLLM selects',
    rows: [row('fa4.system', ok(1))],
    cells: [cell('fa4.system', 'no', 'unknown')],
    found: [],
  },
  {
    what: 'the bundled kernels never speak about a backend',
    rows: [row('bundled', bad('unsupported', 'headDim', 'no'))],
    cells: [cell('bundled', 'no', 'yes'), cell('FLASH_ATTN.FA3', 'yes', 'yes')],
    found: [],
  },
  {
    what: 'another copy of the library says nothing about the one vLLM brings',
    rows: [row('fa3.system', refused)],
    cells: [cell('FLASH_ATTN.FA3', 'yes', 'yes')],
    found: [],
  },
  {
    what: 'agreement is no finding, unknown neither',
    rows: [row('fa3.vllm', ok(1)), row('fa4.vllm', refused), row('flashinfer', refused)],
    cells: [
      cell('FLASH_ATTN.FA3', 'yes', 'yes'),
      cell('FLASH_ATTN.FA4', 'no', 'no'),
      cell('FLASHINFER', 'unknown', 'unknown'),
    ],
    found: [],
  },
  {
    what: 'what we cannot ask, what took too long, what did not fit: nobody contradicts anybody',
    rows: [
      row('fa3.vllm', bad('unsupported', 'refusedByAdapter', 'no page table')),
      row('fa4.vllm', bad('timeout', 'watchdog', 'Timing took more than 60 s')),
      row('flashinfer', bad('outOfMemory', 'memoryLimit', 'too large')),
      row('triton.vllm', bad('crashed', 'gaveUp', 'Not tried')),
    ],
    cells: ['FLASH_ATTN.FA3', 'FLASH_ATTN.FA4', 'FLASHINFER', 'TRITON_ATTN'].map((id) => cell(id, 'yes', 'yes')),
    found: [],
  },
  {
    what: 'cells speak about plain attention only',
    rows: [row('fa3.vllm', refused, { window: 128 }), row('fa3.vllm', refused, { softcap: 50 })],
    cells: [cell('FLASH_ATTN.FA3', 'yes', 'yes')],
    found: [],
  },
];
for (const { what, rows, cells, found } of table) {
  test(what, () => {
    const findings = engineFindings({ rows, cells, release: 'vLLM 0.33.0', fa4Forced: false });
    assert.deepEqual(
      findings.map((finding) => [finding.code, finding.severity]),
      found,
    );
    for (const finding of findings) {
      assert.equal(finding.level, 'measured');
      assert.match(finding.detail, /direct call/);
      assert.match(finding.detail, /\.$/);
    }
  });
}

test("the library's own words and the rule's stand beside each other; the same words make one finding", () => {
  const pages = [16, 64, null];
  const findings = engineFindings({
    rows: pages.map((pageSize) => row('fa3.vllm', refused, { pageSize })),
    cells: pages.map((pageSize) => ({ ...cell('FLASH_ATTN.FA3', 'yes', 'yes'), pageSize })),
    release: 'vLLM 0.33.0',
    fa4Forced: false,
  });
  assert.equal(findings.length, 1);
  const [finding] = findings;
  assert.match(finding?.title ?? '', /vLLM 0\.33\.0 accepts FLASH_ATTN\.FA3, and FA3 of vLLM refuses/);
  assert.match(finding?.title ?? '', /head size 512 \(page 16, page 64, contiguous\)/);
  assert.match(finding?.detail ?? '', /was refused: "head dimension at most 256"/);
  assert.match(finding?.detail ?? '', /declared\): selects says yes/);
});

test('FA4 slower than the FA3 it replaces: both figures, for the shape that was measured', () => {
  const rows = [row('fa3.vllm', ok(1, 652)), row('fa4.vllm', ok(1.07, 609)), row('fa4.system', ok(1.01, 645))];
  for (const fa4Forced of [false, true]) {
    const findings = engineFindings({ rows, cells: [], release: 'vLLM 0.33.0', fa4Forced });
    assert.deepEqual(
      findings.map((finding) => [finding.code, finding.severity]),
      [['engine-fa4-slower', fa4Forced ? 'warning' : 'info']],
    );
    assert.match(
      findings[0]?.detail ?? '',
      /d512 page 16 1\.07 ms, 609 TFLOP\/s against 1\.00 ms, 652 TFLOP\/s \(7 % more time\)/,
    );
  }
});
