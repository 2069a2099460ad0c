/**
 * The runner with a real torch, on the CPU: the same inputs, judge and rows as the native runner, through torch's own kernels.
 * BENCH_TORCH_PYTHON names the interpreter; without it these tests fail, because nothing was tried.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AttentionCase, CaseResult } from '../../extension/core/attentionCase';
import type { BackendEngine } from '../../extension/core/measure/engines';
import { bench, benchCase, only, request } from '../unit/python/benchProcess';

const PYTHON = process.env['BENCH_TORCH_PYTHON'] ?? '';

/** Cases, and what rounding costs on 97 of their rows as the native runner's CPU device says (`roundingFloor`). */
const CASES: ReadonlyArray<readonly [Partial<AttentionCase>, number]> = [
  [{}, 0.0021169777284733475],
  [{ headDimV: 32 }, 0.0021541483024758246],
  [{ op: 'mlaDecode', headDim: 576, headDimV: 512, kvHeads: 1, qLens: 1, kvLens: 64 }, 0.0022041267039381533],
  [{ seed: 7 + 2 ** 28 }, 0.0007890510428284151],
  [{ seed: 7 + 2 ** 29 }, 0.001641958265907965],
  [{ kvLens: 60 }, 0.0019039306948016948],
];

function rows(
  engine: BackendEngine,
  cases: readonly Partial<AttentionCase>[],
  command: 'run' | 'warm' = 'run',
): CaseResult[] {
  const options = { targetMs: 1, warmupMs: 0, checkRows: 97 };
  const line = request(engine, command, cases.map(benchCase), 'cpu', options);
  assert.notEqual(PYTHON, '', 'BENCH_TORCH_PYTHON names no interpreter with torch');
  const outcome = bench(PYTHON, [line], { timeoutMs: 600_000 });
  assert.equal(only(outcome, 'library').available, true, outcome.stderr);
  assert.deepEqual([outcome.strays, outcome.status, outcome.messages.at(-1)?.kind], [[], 0, 'done']);
  return outcome.messages.flatMap((message) => (message.kind === 'row' ? [message.result] : []));
}

test('torch SDPA math on the CPU: right, with the same inputs and checked rows as the native runner', () => {
  const found = rows(
    'torch.sdpa.math',
    CASES.map(([changes]) => changes),
  );
  found.forEach((result, index) => {
    const floor = CASES[index]?.[1] ?? NaN;
    assert.equal(result.status, 'ok', JSON.stringify(result));
    assert.ok(Math.abs((result.roundingFloor ?? 0) / floor - 1) < 1e-3, `${result.roundingFloor} is not ${floor}`);
    assert.equal(result.kernel?.target, 'cpu');
    assert.ok((result.gpuMs?.median ?? 0) > 0 && (result.tflops ?? 0) > 0 && (result.jitMs ?? 0) > 0);
    assert.deepEqual([result.hostUs, result.percentOfCeiling, result.smClockMHz], [null, null, null]);
  });
});

test('what cannot be put to SDPA is told apart from what it refuses', () => {
  const found = rows('torch.sdpa.flash', [
    { window: 20 },
    { headDimV: 32 },
    { softcap: 5 },
    { sinks: true },
    { pageSize: 16 },
    { kvLens: [50, 130] },
    { dtype: 'fp16', kvLayout: 'HND' },
    { batch: 0 },
    { qLens: 20_000, kvLens: 20_000 },
  ]);
  assert.deepEqual(
    found.map((result) => [result.status, result.reason?.code ?? null]),
    [
      ['ok', null],
      ['unsupported', 'refusedByLibrary'],
      ['unsupported', 'refusedByAdapter'],
      ['unsupported', 'refusedByAdapter'],
      ['unsupported', 'refusedByAdapter'],
      ['unsupported', 'refusedByAdapter'],
      ['ok', null],
      ['unsupported', 'batch'],
      ['unsupported', 'tooLargeForCpu'],
    ],
  );
  assert.match(found[1]?.reason?.text ?? '', /same last dimension/);
});

test('FlexAttention compiles masks, soft cap and ragged batches; warming gives no time', () => {
  const cases = [{ window: 20 }, { softcap: 5 }, { qLens: [3, 100], kvLens: [50, 130] }];
  const warm = rows('torch.flex', cases, 'warm');
  assert.deepEqual(
    warm.map((result) => [result.status, result.gpuMs, result.checkedRows]),
    cases.map(() => ['ok', null, 0]),
  );
  assert.ok(warm.every((result) => (result.jitMs ?? 0) > 0));
  assert.deepEqual(
    rows('torch.flex', cases).map((result) => result.status),
    cases.map(() => 'ok'),
  );
});
