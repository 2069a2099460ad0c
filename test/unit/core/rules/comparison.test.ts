/** Evaluations side by side: what counts as a difference, and which reasons are given for it. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
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

describe('a backend that differs because of what is set, not because of the order', () => {
  const why = (file: string, text: string, from: string, to: string, name = 'llama-3.1-8b'): readonly string[] => {
    const inputs = { ...NOTHING, model: ready(model(name)), serve: ready(loadServeFile(file, text)) };
    const [before, after] = [from, to].map((release) => column(inputs, release, [9, 0]).evaluation);
    assert.ok(before !== undefined && after !== undefined);
    const group = after.selections[0]?.layerGroup ?? '';
    return whyDifferent(before, after, group).map((reason) => reason.text);
  };

  test('a variable that is no longer read gives way to the option', () => {
    const text = 'VLLM_ATTENTION_BACKEND=FLASHINFER vllm serve x --attention-backend TRITON_ATTN\n';
    assert.deepEqual(why('/w/serve.sh', text, '0.14.1', '0.15.0'), [
      'TRITON_ATTN counts as the set backend, before it was FLASHINFER',
      'vLLM 0.15.0 does not read VLLM_ATTENTION_BACKEND',
    ]);
    assert.deepEqual(why('/w/serve.sh', text, '0.15.0', '0.14.1'), [
      'FLASHINFER counts as the set backend, before it was TRITON_ATTN',
      'vLLM 0.15.0 does not read VLLM_ATTENTION_BACKEND',
    ]);
  });

  test('or to the automatic choice', () => {
    assert.deepEqual(why('/w/.env', 'VLLM_ATTENTION_BACKEND=TRITON_ATTN\n', '0.14.1', '0.33.0'), [
      'no backend counts as set, before it was TRITON_ATTN',
      'vLLM 0.33.0 does not read VLLM_ATTENTION_BACKEND',
    ]);
  });

  test('a setting that is read from a release on', () => {
    const text = `vllm serve x -ac '{"backend_per_kind": {"full_attention": "TRITON_ATTN"}}'\n`;
    assert.deepEqual(why('/w/serve.sh', text, '0.25.1', '0.26.0'), [
      'TRITON_ATTN counts as the set backend, before none did',
    ]);
  });

  test('a backend that the release set itself is told with its rule', () => {
    const texts = why('/w/serve.sh', 'vllm serve x\n', '0.23.0', '0.24.0', 'gemma-4-31b');
    assert.ok(
      texts.some((text) => /^before: Gemma 4 with head sizes .*forces TRITON_ATTN on every GPU/.test(text)),
      texts.join('; '),
    );
    for (const [from, to] of [
      ['0.18.0', '0.19.0'],
      ['0.23.0', '0.24.0'],
    ] as const) {
      const order = why('/w/serve.sh', 'vllm serve x\n', from, to, 'gemma-4-31b').filter((text) =>
        /priority/.test(text),
      );
      assert.deepEqual(order, [], `${from} → ${to}`);
    }
  });
});

test('an order that changed is still said', () => {
  const inputs = { ...NOTHING, model: ready(model('llama-3.1-8b')) };
  const hopper = column(inputs, '0.24.0', [9, 0]).evaluation;
  const blackwell = column(inputs, '0.24.0', [10, 0]).evaluation;
  const [reason] = whyDifferent(hopper, blackwell, hopper.selections[0]?.layerGroup ?? '');
  assert.equal(reason?.text, 'FLASHINFER now comes before FLASH_ATTN in the priority order');
});
