import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AttentionCase, CaseResult, ResultRow } from '../../../../extension/core/attentionCase';
import { compareRows, summarizeEngines } from '../../../../extension/core/measure/benchStats';
import { emptyResult } from '../../../../extension/core/measure/emptyResult';
import {
  besideEachOther,
  median,
  medianInterval,
  roundRatios,
  rowOfRounds,
  withCeilingShare,
} from '../../../../extension/core/measure/rounds';
import { secondIsSlower, sideBySide } from '../../../../extension/core/measure/sideBySide';
import { sampleCase } from '../../node/sampleCase';

function row(engine: string, ms: number | null, changes: Partial<CaseResult> = {}, seed = 1): ResultRow {
  const result: CaseResult =
    ms === null
      ? emptyResult('unsupported', 'refusedByLibrary', 'no')
      : {
          ...emptyResult('ok', '', ''),
          reason: null,
          gpuMs: { median: ms, p10: ms * 0.99, p90: ms * 1.01, runs: 9 },
          relError: 0.001,
          checkedRows: 4,
        };
  return { engine, deviceId: 'g', case: sampleCase(seed), result: { ...result, ...changes } };
}

const medians: readonly [readonly number[], number][] = [
  [[3], 3],
  [[3, 1], 2],
  [[5, 1, 3], 3],
  [[4, 1, 3, 2], 2.5],
];
for (const [values, expected] of medians) {
  test(`the median of ${values.join(', ')}`, () => assert.equal(median(values), expected));
}

test('no 95 % interval of the median exists below 6 values', () => {
  for (let n = 0; n < 6; n += 1) assert.equal(medianInterval(Array.from({ length: n }, (_, index) => index)), null);
});

// Ranks of the sign test: the largest k with P(Binomial(n, 1/2) < k) ≤ 2.5 %, as tables of it have them.
const ranks: readonly [number, number][] = [
  [6, 1],
  [7, 1],
  [8, 1],
  [9, 2],
  [11, 2],
  [12, 3],
  [15, 4],
  [20, 6],
  [25, 8],
];
for (const [n, rank] of ranks) {
  test(`the interval of ${n} values goes from the ${rank}. smallest to the ${rank}. largest`, () => {
    const values = Array.from({ length: n }, (_, index) => n - index);
    const sorted = [...values].sort((a, b) => a - b);
    assert.deepEqual(medianInterval(values), { low: sorted[rank - 1], high: sorted[n - rank] });
  });
}

test('the row of several rounds is the middle one, whole, with all times and the largest errors', () => {
  const rounds = [
    row('e', 3, { relError: 0.001, hostUs: 30, jitMs: 500 }),
    row('e', 1, { relError: 0.004, hostUs: 10 }),
    row('e', 2, { relError: 0.002, hostUs: 20, contended: true }),
  ];
  const made = rowOfRounds(rounds);
  assert.equal(made?.result.gpuMs?.median, 2);
  assert.equal(made?.result.hostUs, 20);
  assert.equal(made?.result.relError, 0.004);
  assert.equal(made?.result.jitMs, 500);
  assert.equal(made?.result.contended, true);
  assert.deepEqual(made?.roundMs, [3, 1, 2]);
});

test('a round that is not right is the answer, whatever the others were', () => {
  const made = rowOfRounds([row('e', 1), row('e', null), row('e', 1)]);
  assert.equal(made?.result.status, 'unsupported');
  assert.equal(rowOfRounds([]), null);
});

test('ratios pair the rounds, so that what slows both of them down cancels out', () => {
  const slow = [1, 1.5, 1, 2, 1, 1, 1.2];
  const times = slow.flatMap((factor, round) => [
    { engine: 'bundled', caseIndex: 0, round, row: row('bundled', factor) },
    { engine: 'e', caseIndex: 0, round, row: row('e', 1.25 * factor * (1 + round / 1000)) },
  ]);
  const [ratio] = roundRatios(times);
  assert.equal(ratio?.rounds, 7);
  assert.ok(Math.abs((ratio?.ratio ?? 0) - 1.25 * 1.003) < 1e-9);
  assert.ok(Math.abs((ratio?.interval?.low ?? 0) - 1.25) < 1e-9);
  assert.ok(Math.abs((ratio?.interval?.high ?? 0) - 1.25 * 1.006) < 1e-9);
});

test('rounds that are wrong, disturbed or alone do not count; six are no verdict', () => {
  const times = Array.from({ length: 9 }, (_, round) => [
    { engine: 'bundled', caseIndex: 0, round, row: row('bundled', round === 0 ? null : 1) },
    { engine: 'e', caseIndex: 0, round, row: row('e', 2, round === 1 ? { contended: true } : {}) },
    { engine: 'f', caseIndex: 0, round, row: row('f', null) },
  ])
    .flat()
    .filter((time) => !(time.engine === 'e' && time.round === 8));
  assert.deepEqual(
    roundRatios(times).map((each) => [each.engine, each.rounds, each.ratio, each.interval]),
    [['e', 6, 2, null]],
  );
});

test('rows of a case stand together, in the order in which the cases came', () => {
  const rows = [row('bundled', 1, {}, 1), row('bundled', 1, {}, 2), row('a', 1, {}, 1), row('a', 1, {}, 2)];
  assert.deepEqual(
    besideEachOther(rows).map((each) => `${each.case.seed} ${each.engine}`),
    ['1 bundled', '1 a', '2 bundled', '2 a'],
  );
});

test('the share of a ceiling is of the ceiling that counts, and never overwrites what the engine said', () => {
  const ceilings = {
    readStreamTbps: 4,
    copyTbps: null,
    tensorCoreTflops: 800,
    tensorCoreInstruction: null,
    smClockMHz: null,
  };
  const { result, case: asked } = row('e', 1, { tflops: 400, tbps: 1 });
  const prefill: AttentionCase = { ...asked, op: 'prefill' };
  assert.deepEqual(
    [prefill, { ...asked, op: 'decode' as const }]
      .map((each) => withCeilingShare(each, result, ceilings))
      .map((each) => [each.percentOfCeiling, each.ceiling]),
    [
      [50, 'tensorCore'],
      [25, 'readStream'],
    ],
  );
  assert.equal(withCeilingShare(prefill, { ...result, percentOfCeiling: 7 }, ceilings).percentOfCeiling, 7);
  assert.equal(withCeilingShare(prefill, result, null).percentOfCeiling, null);
});

test('two engines beside each other: slower only when the bands do not touch', () => {
  const [clear] = sideBySide([row('a', 1), row('b', 1.1)], 'a', 'b');
  assert.ok(clear !== undefined && secondIsSlower(clear));
  const [within] = sideBySide([row('a', 1), row('b', 1.015)], 'a', 'b');
  assert.ok(within !== undefined && !secondIsSlower(within));
  const [disturbed] = sideBySide([row('a', 1), row('b', 2, { contended: true })], 'a', 'b');
  assert.equal(disturbed?.timeRatio, null);
  const [alone] = sideBySide([row('b', 2), row('c', 1)], 'a', 'b');
  assert.deepEqual([alone?.first, alone?.second?.engine, alone?.timeRatio], [null, 'b', null]);
});

test('two reports: each engine is summed up by itself', () => {
  const before = [row('bundled', 1), row('a', 1), row('a', 1, {}, 2), row('gone', 1)];
  const after = [row('bundled', 1), row('a', 4), row('a', 1, {}, 2)];
  assert.deepEqual(summarizeEngines(compareRows(before, after)), [
    { engine: 'bundled', changes: { same: 1 }, timeRatio: 1 },
    { engine: 'a', changes: { slower: 1, same: 1 }, timeRatio: 2 },
    { engine: 'gone', changes: { onlyBefore: 1 }, timeRatio: null },
  ]);
});
