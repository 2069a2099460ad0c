/** Evaluations side by side: what counts as a difference, and which reasons are given for it. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { comparedRows, sameOutcome, whyDifferent } from '../../../../extension/core/rules/comparison';
import { explainForm } from '../../../../extension/core/rules/explanation';
import { RELEASES } from '../../../../extension/core/catalog/releases';
import { loadModel, loadServeFile, modelUnder } from '../../../../extension/core/state/loadedFiles';
import { IDLE, ready } from '../../../../extension/core/state/store';
import { comparedColumn, COMPARED_FAMILIES, upgradeReleases } from '../../../../extension/core/state/whatIf';

const form = explainForm({ dtype: 'bf16', headDims: [64, 128, 256, 512], pageSizes: [16] }, false);
const NOTHING = { form, model: IDLE, serve: IDLE, environment: IDLE };

function model(name: string, vllmVersion = '0.33.0') {
  const file = `test/fixtures/models/${name}.json`;
  return loadModel(file, readFileSync(file, 'utf8'), { vllmVersion, tensorParallelSize: 1, mlaDisabled: false });
}

const column = (inputs: Parameters<typeof comparedColumn>[0], version: string, sm: readonly [number, number]) =>
  comparedColumn(inputs, version, sm, false);

test('nothing differs from itself, and what differs has a reason', () => {
  for (const name of ['gemma-4-31b', 'gpt-oss-20b', 'deepseek-v3', 'llama-3.1-8b']) {
    const inputs = { ...NOTHING, model: ready(model(name)) };
    const hopper = column(inputs, '0.24.0', [9, 0]).evaluation;
    for (const family of COMPARED_FAMILIES) {
      const other = column(inputs, '0.24.0', family).evaluation;
      for (const { layerGroup, selections } of comparedRows([{ evaluation: hopper }, { evaluation: other }])) {
        const [before = null, after = null] = selections;
        const why = whyDifferent(hopper, other, layerGroup);
        const backendDiffers = before?.backend !== after?.backend;
        assert.equal(sameOutcome(before, after) && why.length > 0, false, `${name} ${layerGroup} ${family.join('.')}`);
        assert.equal(
          backendDiffers && why.length === 0,
          false,
          `${name} ${layerGroup} ${family.join('.')} has no reason`,
        );
      }
    }
  }
});

test('every step from a release to the next that changes a backend says why', () => {
  for (const name of ['gemma-4-31b', 'gpt-oss-20b', 'deepseek-v3.2', 'qwen3-next-80b']) {
    const inputs = { ...NOTHING, model: ready(model(name)) };
    const columns = RELEASES.map((release) => column(inputs, release, [10, 0]));
    columns.slice(1).forEach((to, index) => {
      const from = columns[index];
      if (from === undefined) return;
      for (const { layerGroup, selections } of comparedRows([from, to])) {
        const [before = null, after = null] = selections;
        if (before?.backend === after?.backend) continue;
        const why = whyDifferent(from.evaluation, to.evaluation, layerGroup);
        assert.ok(why.length > 0, `${name} ${layerGroup}: ${from.vllmVersion} → ${to.vllmVersion}`);
      }
    });
  }
});

test('reasons are those of the rules: what is refused, and what was refused before', () => {
  const from = column(NOTHING, '0.33.0', [9, 0]).evaluation;
  const to = column(NOTHING, '0.33.0', [7, 5]).evaluation;
  const texts = whyDifferent(from, to, 'd128').map((reason) => reason.text);
  assert.ok(texts.includes('FLASH_ATTN is refused: compute capability not supported'), texts.join('; '));
});

test('variables count in the releases that read them, and the config is read as each release reads it', () => {
  const serve = ready(loadServeFile('/work/.env', 'VLLM_ATTENTION_BACKEND=TRITON_ATTN\n'));
  const inputs = { ...NOTHING, serve };
  assert.equal(column(inputs, '0.14.0', [9, 0]).evaluation.selections[0]?.backend, 'TRITON_ATTN');
  const after = column(inputs, '0.33.0', [9, 0]).evaluation;
  assert.equal(after.selections[0]?.backend, 'FLASH_ATTN');
  assert.ok(after.findings.some((finding) => finding.code === 'dead-env-variable'));
  const longcat = model('longcat-flash');
  assert.notEqual(modelUnder(longcat, '0.33.0'), undefined);
  assert.equal(modelUnder(longcat, '0.33.0'), longcat.facts);
});

test('the upgrade question starts at the release asked about, or one before the newest', () => {
  const none = { from: null, to: null };
  assert.deepEqual(upgradeReleases('0.24.0', none), { from: '0.24.0', to: '0.33.0' });
  assert.deepEqual(upgradeReleases('0.33.0', none), { from: '0.32.0', to: '0.33.0' });
  assert.deepEqual(upgradeReleases('0.33.1.dev3+g1', none), { from: '0.32.0', to: '0.33.0' });
  assert.deepEqual(upgradeReleases('0.24.0', { from: '0.20.0', to: '0.21.0' }), { from: '0.20.0', to: '0.21.0' });
});
