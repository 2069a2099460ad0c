/** The request form as text: what it reads, what it refuses and with which sentence. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PRESETS } from '../../../extension/core/measure/presets';
import { draftOf, parseDraft, type FormDraft } from '../../../media/panel/formDraft';

const [preset] = PRESETS;
assert.ok(preset);
const base: FormDraft = draftOf(preset.gpu);

describe('form draft', () => {
  it('reads back every preset as it was', () => {
    for (const { gpu, cpu } of PRESETS) {
      for (const form of [gpu, cpu]) assert.deepEqual(parseDraft(draftOf(form)), { ok: true, form });
    }
  });

  it('takes spaces, semicolons, k and short words', () => {
    const parsed = parseDraft({ ...base, headDims: '64;128  256,', pageSizes: 'cont, 16', kvLen: '8k' });
    assert.ok(parsed.ok);
    assert.deepEqual(parsed.form.headDims, [64, 128, 256]);
    assert.deepEqual(parsed.form.pageSizes, [null, 16]);
    assert.equal(parsed.form.kvLen, 8192);
  });

  it('lets odd sizes through, because the answer to them is a reason', () => {
    for (const text of ['0', '7', '100000']) assert.equal(parseDraft({ ...base, headDims: text }).ok, true);
    assert.equal(parseDraft({ ...base, pageSizes: '24', kvLen: '0' }).ok, true);
  });

  it('names each field that cannot be read', () => {
    const parsed = parseDraft({ ...base, headDims: '', pageSizes: 'sixteen', qHeads: '-1', kvLen: '1e9', batch: '0' });
    assert.ok(!parsed.ok);
    assert.deepEqual(Object.keys(parsed.problems).sort(), ['batch', 'headDims', 'kvLen', 'pageSizes', 'qHeads']);
    assert.match(parsed.problems.headDims ?? '', /whole numbers/);
  });
});
