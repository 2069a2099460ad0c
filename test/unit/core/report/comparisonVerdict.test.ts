import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CaseResult, ResultRow } from '../../../../extension/core/attentionCase';
import { compareRows } from '../../../../extension/core/measure/benchStats';
import { emptyResult } from '../../../../extension/core/measure/emptyResult';
import { comparisonMarkdown } from '../../../../extension/core/report/comparisonMarkdown';
import { comparisonVerdict } from '../../../../extension/core/report/comparisonVerdict';
import { sampleCase } from '../../node/sampleCase';

const timed = (median: number): CaseResult => ({
  ...emptyResult('ok', '', ''),
  reason: null,
  gpuMs: { median, p10: median, p90: median, runs: 10 },
});
const checked: CaseResult = { ...emptyResult('ok', '', ''), reason: null };
const cancelled = emptyResult('cancelled', 'cancelled', 'Cancelled before it finished.');
const row = (seed: number, result: CaseResult): ResultRow => ({
  engine: 'bundled',
  deviceId: 'cpu',
  case: sampleCase(seed),
  result,
});
const CRASH = { code: 'helperExited', text: 'The GPU helper was ended by SIGSEGV.' };

function verdict(before: readonly ResultRow[], after: readonly ResultRow[], failure: typeof CRASH | null = null) {
  return comparisonVerdict(compareRows(before, after), failure);
}

test('a verdict says how many rows it rests on', () => {
  assert.deepEqual(verdict([row(1, timed(1)), row(2, timed(1))], [row(1, timed(1)), row(2, timed(2))]), {
    passed: false,
    regressions: 1,
    compared: 2,
    missing: 0,
    text: '1 of 2 compared rows became slower or broke.',
  });
  const fine = verdict([row(1, timed(1)), row(2, checked)], [row(1, timed(1)), row(2, checked)]);
  assert.deepEqual([fine.passed, fine.text], [true, 'No regression in 2 compared rows.']);
  assert.equal(verdict([row(1, emptyResult('wrong', 'w', 'w'))], [row(1, timed(1))]).passed, true);
});

test('nothing compared is no pass: no rows, all cancelled, no case in common, times on one side only', () => {
  const before = [row(1, timed(1)), row(2, timed(1))];
  for (const [after, text] of [
    [[], 'Nothing could be compared. 2 rows are missing in the second report.'],
    [[row(1, cancelled), row(2, cancelled)], 'Nothing could be compared. 2 pairs could not be judged.'],
    [[row(3, timed(1))], 'Nothing could be compared. 2 rows are missing in the second report.'],
    [[row(1, checked), row(2, checked)], 'Nothing could be compared. 2 pairs could not be judged.'],
  ] as const) {
    const { passed, compared, text: said } = verdict(before, after);
    assert.deepEqual([passed, compared, said], [false, 0, text]);
  }
  assert.equal(verdict([], []).passed, false);
});

test('a second report that ended early is no pass, whatever its rows say, and the reason is told', () => {
  const { passed, text } = verdict([row(1, timed(1)), row(2, timed(1))], [row(1, timed(1))], CRASH);
  assert.equal(passed, false);
  assert.equal(
    text,
    'The second report ended early: The GPU helper was ended by SIGSEGV. ' +
      'No regression in 1 compared row. 1 row is missing in the second report.',
  );
});

test('rows without a partner and pairs that cannot be judged are counted beside a pass', () => {
  const { passed, missing, text } = verdict(
    [row(1, timed(1)), row(2, timed(1)), row(3, timed(1))],
    [row(1, timed(1)), row(2, cancelled), row(4, timed(1))],
  );
  assert.deepEqual([passed, missing], [true, 1]);
  assert.equal(
    text,
    'No regression in 1 compared row. 1 row is missing in the second report. 1 pair could not be judged.',
  );
});

test('a time on one side only says nothing about the time; a status that got worse still does', () => {
  const change = (before: CaseResult, after: CaseResult): string | undefined =>
    compareRows([row(1, before)], [row(1, after)])[0]?.change;
  assert.equal(change(timed(1), checked), 'notComparable');
  assert.equal(change(checked, timed(1)), 'notComparable');
  assert.equal(change(timed(0), timed(1)), 'notComparable');
  assert.equal(change(checked, checked), 'same');
  assert.equal(change(timed(1), emptyResult('timeout', 't', 't')), 'broken');
});

test('the Markdown of a comparison carries the same verdict', () => {
  const comparisons = compareRows([row(1, timed(1))], []);
  assert.ok(comparisonMarkdown(['a', 'b'], comparisons, CRASH).includes(comparisonVerdict(comparisons, CRASH).text));
});
