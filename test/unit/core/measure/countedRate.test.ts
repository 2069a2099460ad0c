import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AttentionCase } from '../../../../extension/core/attentionCase';
import { countedRate, rateText, rateUnit } from '../../../../extension/core/measure/countedRate';
import { emptyResult } from '../../../../extension/core/measure/emptyResult';
import { sampleCase } from '../../node/sampleCase';

const mla = { op: 'mlaDecode', headDim: 576, headDimV: 512, kvHeads: 1, qLens: 1 } as const;
const table: readonly (readonly [string, Partial<AttentionCase>, string])[] = [
  ['prefill', { op: 'prefill' }, 'TFLOP/s'],
  ['decode', { op: 'decode' }, 'TB/s'],
  ['MLA, 16 heads', { ...mla, qHeads: 16 }, 'TB/s'],
  ['MLA, 64 heads', { ...mla, qHeads: 64 }, 'TB/s'],
  ['MLA, 128 heads', { ...mla, qHeads: 128 }, 'TFLOP/s'],
  ['MLA, 64 heads and two query tokens', { ...mla, qHeads: 64, batch: 2, qLens: [1, 2] }, 'TFLOP/s'],
  ['MLA, 64 heads over an fp8 cache', { ...mla, qHeads: 64, kvDtype: 'fp8_e4m3' }, 'TFLOP/s'],
];
for (const [name, change, unit] of table)
  test(`${name} is counted in ${unit}`, () => assert.equal(rateUnit({ ...sampleCase(1), ...change }), unit));

test('the text of a rate names the one that counts, and says when there is none', () => {
  const result = { ...emptyResult('ok', '', ''), tflops: 540, tbps: 2.25 };
  const heads = (qHeads: number): AttentionCase => ({ ...sampleCase(1), ...mla, qHeads });
  assert.equal(countedRate(heads(128)), 'tflops');
  assert.equal(rateText(heads(128), result), '540 TFLOP/s');
  assert.equal(rateText(heads(16), result), '2.25 TB/s');
  assert.equal(rateText(heads(16), null), rateText(heads(16), emptyResult('ok', '', '')));
});
