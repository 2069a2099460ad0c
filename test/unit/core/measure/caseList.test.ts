import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DiagError } from '../../../../extension/core/errors';
import { parseCaseList } from '../../../../extension/core/measure/caseList';
import { sampleCase } from '../../node/sampleCase';

const SHAPE = { op: 'prefill', headDim: 128, qHeads: 8, kvHeads: 2, batch: 1, qLens: 64, kvLens: 64, causal: true };
const list = (...items: readonly unknown[]): string => JSON.stringify(items);

test('a shape is enough; the rest is bf16, contiguous and plain', () => {
  assert.deepEqual(parseCaseList(list(SHAPE), 'f'), [
    {
      ...SHAPE,
      dtype: 'bf16',
      kvDtype: 'auto',
      kvScale: 1,
      headDimV: 128,
      window: null,
      softcap: 0,
      sinks: false,
      kvLayout: 'NHD',
      pageSize: null,
      lse: false,
      seed: 1,
    },
  ]);
});

test('MLA keeps its values in the first 512 elements unless told otherwise', () => {
  const mla = { ...SHAPE, op: 'mlaDecode', headDim: 576, kvHeads: 1, qLens: 1 };
  assert.deepEqual(
    parseCaseList(list(mla, { ...mla, headDimV: 256 }), 'f').map((each) => each.headDimV),
    [512, 256],
  );
});

test('cases as a report holds them are taken as they are, each once', () => {
  const whole = sampleCase(3);
  assert.deepEqual(parseCaseList(list(whole, SHAPE, whole, { ...SHAPE, dtype: 'bf16' }), 'f').length, 2);
  assert.deepEqual(parseCaseList(list(whole), 'f'), [whole]);
});

const refused: readonly [string, string, RegExp][] = [
  ['nothing', ' ', /^it is empty$/],
  ['text', 'prefill', /^it is not JSON$/],
  ['a cut file', '[{"op": ', /^it is not JSON$/],
  ['one case without a list', JSON.stringify(SHAPE), /not a list of cases/],
  ['an empty list', '[]', /lists no case/],
  ['too many', list(...new Array<object>(4097).fill(SHAPE)), /4097 cases; 4096 is the limit/],
  ['no object', list(SHAPE, 7), /^case 2: /],
  ['a missing field', list({ ...SHAPE, qHeads: undefined }), /^case 1: qHeads: /],
  ['a misspelt field', list({ ...SHAPE, pagesize: 16 }), /^case 1: pagesize: /],
  ['a wrong type', list({ ...SHAPE, causal: 'yes' }), /^case 1: causal: /],
  ['an absurd size', list({ ...SHAPE, kvLens: 1e12 }), /^case 1: kvLens: /],
];
for (const [name, text, problem] of refused) {
  test(`refused, in words: ${name}`, () => {
    assert.throws(
      () => parseCaseList(text, 'cases.json'),
      (error) =>
        DiagError.is(error, 'notACaseList') && error.data.path === 'cases.json' && problem.test(error.data.problem),
    );
  });
}
