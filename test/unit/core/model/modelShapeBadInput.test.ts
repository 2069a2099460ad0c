/** What is no model configuration: each refused with the field it is about, and what it should be. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NEWEST_RELEASE } from '../../../../extension/core/catalog/releases';
import { errorText } from '../../../../extension/core/errorText';
import { DiagError } from '../../../../extension/core/errors';
import { readModelShape } from '../../../../extension/core/model/modelShape';
import { loadModel } from '../../../../extension/core/state/loadedFiles';

const OPTIONS = { vllmVersion: NEWEST_RELEASE, tensorParallelSize: 1, mlaDisabled: false };
const LLAMA = {
  model_type: 'llama',
  architectures: ['LlamaForCausalLM'],
  hidden_size: 4096,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  num_hidden_layers: 32,
};

const ROWS: readonly (readonly [change: object, field: string, problem: RegExp])[] = [
  [{ num_attention_heads: '32' }, 'num_attention_heads', /must be a whole number, not the string "32"/],
  [{ num_attention_heads: 3.5 }, 'num_attention_heads', /must be a whole number, not 3\.5/],
  [{ num_attention_heads: true }, 'num_attention_heads', /must be a whole number, not true/],
  [{ num_attention_heads: -32 }, 'num_attention_heads', /is -32; it must be between 1 and/],
  [{ num_attention_heads: 0 }, 'num_attention_heads', /is 0; it must be between 1 and/],
  [{ num_attention_heads: 1e308 }, 'num_attention_heads', /is 1e\+308; it must be between/],
  [{ num_key_value_heads: 0 }, 'num_key_value_heads', /is 0; it must be between 1 and/],
  [{ hidden_size: 4097 }, 'hidden_size', /4097 is not a multiple of 32 attention heads/],
  [{ head_dim: -128 }, 'head_dim', /is -128; it must be/],
  [{ num_hidden_layers: 1e9 }, 'num_hidden_layers', /it must be between/],
  [{ num_hidden_layers: undefined }, 'num_hidden_layers', /is missing/],
  [{ sliding_window: -4, model_type: 'mistral' }, 'sliding_window', /is -4; it must be/],
  [{ layer_types: ['full_attention'] }, 'layer_types', /names 1 layers, but the model has 32/],
];

for (const [change, field, problem] of ROWS) {
  test(`refused: ${JSON.stringify(change)}`, () => {
    const result = readModelShape({ ...LLAMA, ...change }, OPTIONS);
    assert.ok(!result.ok);
    assert.equal(result.error.field, field);
    assert.match(result.error.problem, problem);
  });
}

const TEXTS: readonly (readonly [what: string, text: string, problem: RegExp])[] = [
  ['nothing', '', /The file is not JSON/],
  ['cut off', '{"model_type": "llama",\n  "hidden_size": ', /The file is not JSON/],
  ['a value too many', '{"model_type": "llama"\n "hidden_size": 1}', /The file is not JSON \(line 2, column 2\)/],
  ['NaN', '{"hidden_size": NaN}', /The file is not JSON/],
  ['bytes', '\u0000\u0001', /The file is not JSON/],
  ['a list', '[1]', /does not hold a JSON object/],
  ['100,000 levels of lists', '['.repeat(100_000) + ']'.repeat(100_000), /does not hold a JSON object/],
  ['100,000 levels of objects', '{"a":'.repeat(100_000) + '1' + '}'.repeat(100_000), /is missing/],
];

for (const [what, text, problem] of TEXTS) {
  test(`a model file that holds ${what}`, () => {
    assert.throws(
      () => loadModel('/m/config.json', text, OPTIONS),
      (error) => {
        assert.ok(error instanceof DiagError);
        assert.equal(error.code, 'modelConfigInvalid');
        const said = errorText(error);
        assert.match(said.what, problem);
        assert.match(said.next, /\.$/);
        return true;
      },
    );
  });
}

test('100,000 levels in a field that nothing reads do not matter', () => {
  const nested = `,"extra":${'['.repeat(100_000)}${']'.repeat(100_000)}}`;
  const model = loadModel('/m/config.json', JSON.stringify(LLAMA).slice(0, -1) + nested, OPTIONS);
  assert.equal(model.facts.layerGroups[0]?.headDim, 128);
});

test('layers that read the KV cache of others are seen: written, by the default of the class, switched off', () => {
  const shared = (change: object): boolean | undefined => {
    const result = readModelShape({ ...LLAMA, head_dim: 256, ...change }, OPTIONS);
    assert.ok(result.ok);
    return result.model.kvSharing;
  };
  assert.equal(shared({}), undefined);
  assert.equal(shared({ model_type: 'gemma4_text', num_kv_shared_layers: 20 }), true);
  assert.equal(shared({ model_type: 'gemma4_text', num_kv_shared_layers: 0 }), undefined);
  assert.equal(shared({ model_type: 'gemma3n_text' }), true);
});
