import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import type { ModelShapeErrorCode } from '../../../../extension/core/model/modelShapeFields';
import type { ModelShapeOptions } from '../../../../extension/core/model/modelShape';
import { readModelShape } from '../../../../extension/core/model/modelShape';
import type { LayerGroup } from '../../../../extension/core/request';

const FIXTURES = path.resolve('test/fixtures/models');
const NEWEST: ModelShapeOptions = { vllmVersion: '0.33.0', tensorParallelSize: 1, mlaDisabled: false };

function fixture(name: string): Record<string, unknown> {
  return JSON.parse(readFileSync(path.join(FIXTURES, `${name}.json`), 'utf8')) as Record<string, unknown>;
}

function groups(json: unknown, options: Partial<ModelShapeOptions> = {}): readonly LayerGroup[] {
  const result = readModelShape(json, { ...NEWEST, ...options });
  if (!result.ok) assert.fail(result.error.problem);
  return result.model.layerGroups;
}

/** One line per group: id, layers, query/KV heads, then what is not the default. */
function summary(group: LayerGroup): string {
  return [
    `${group.id} x${group.layers} ${group.qHeads}/${group.kvHeads}`,
    ...(group.headDimV === null ? [] : [`v${group.headDimV}`]),
    ...(group.slidingWindow === null ? [] : [`window${group.slidingWindow}`]),
    ...(group.sinks ? ['sinks'] : []),
    ...(group.softcap === 0 ? [] : [`cap${group.softcap}`]),
    ...(group.alibi ? ['alibi'] : []),
    ...(group.mmPrefix ? ['mmPrefix'] : []),
    ...(typeof group.mla?.indexTopk === 'number' ? [`topk${group.mla.indexTopk}`] : []),
    ...(group.attnType === 'decoder' ? [] : [group.attnType]),
  ].join(' ');
}

/** Per model what vLLM 0.33.0 builds, from the published shapes of these models. */
const EXPECTED: Readonly<Record<string, readonly string[]>> = {
  'command-a': ['sliding_window d128 x48 96/8 window4097', 'full_attention d128 x16 96/8'],
  'ernie-4.5-21b': ['full_attention d128 x28 20/4'],
  'exaone-4-32b': ['sliding_window d128 x48 40/8 window4096', 'full_attention d128 x16 40/8'],
  'falcon-h1-7b': ['full_attention d128 x44 12/2'],
  'gemma-3n-e4b': ['sliding_window d256 x28 8/2 window512', 'full_attention d256 x7 8/2'],
  'glm-4.5-air': ['full_attention d128 x46 96/8'],
  'glm-5': ['mla_attention d576 x78 64/1 topk2048'],
  'hunyuan-a13b': ['full_attention d128 x32 32/8'],
  'kimi-k2.5': ['mla_attention d576 x61 64/1'],
  'minimax-m2': ['full_attention d128 x62 48/8'],
  'minimax-m3': ['full_attention d128 x60 64/4'],
  'ministral-3-8b': ['full_attention d128 x34 32/8'],
  'modernbert-base': ['full_attention d64 x8 12/12 encoder_only', 'sliding_window d64 x14 12/12 window64 encoder_only'],
  'olmo-3-7b': ['sliding_window d128 x24 32/32 window4096', 'full_attention d128 x8 32/32'],
  'phi-4-multimodal': ['sliding_window d128 x32 24/8 window262144'],
  'qwen3-vl-8b': ['full_attention d128 x36 32/8'],
  step3: ['full_attention d256 x61 64/1'],
  'bloom-7b1': ['full_attention d128 x30 32/32 alibi'],
  'command-r7b': ['sliding_window d128 x24 32/8 window4097', 'full_attention d128 x8 32/8'],
  'deepseek-v2-lite': ['mla_attention d576 x27 16/1'],
  'deepseek-v3': ['mla_attention d576 x61 128/1'],
  'deepseek-v3.2': ['mla_attention d576 x61 128/1 topk2048'],
  'falcon-7b': ['full_attention d64 x32 71/1'],
  'falcon-rw-1b': ['full_attention d64 x24 32/32 alibi'],
  'gemma-2-9b': ['sliding_window d256 x21 16/8 window4096 cap50', 'full_attention d256 x21 16/8 cap50'],
  'gemma-3-4b': ['sliding_window d256 x29 8/4 window1024 mmPrefix', 'full_attention d256 x5 8/4 mmPrefix'],
  'gemma-4-31b': ['sliding_window d256 x50 32/16 window1024 mmPrefix', 'full_attention d512 x10 32/4 mmPrefix'],
  'gemma-4-e2b': ['sliding_window d256 x8 8/1 window512', 'full_attention d512 x2 8/1'],
  'glm-4-9b': ['full_attention d128 x40 32/2'],
  'gpt-oss-20b': ['sliding_window d64 x12 64/8 window128 sinks', 'full_attention d64 x12 64/8 sinks'],
  'granite-3-8b': ['full_attention d128 x40 32/8'],
  'granite-4-h-small': ['full_attention d128 x1 32/8'],
  'jamba-1.5-mini': ['full_attention d128 x4 32/8'],
  'kimi-k2': ['mla_attention d576 x61 64/1'],
  'kimi-linear-48b': ['mla_attention d576 x7 32/1'],
  'llama-3.1-8b': ['full_attention d128 x32 32/8'],
  'llama-4-scout': ['chunked_local_attention d128 x36 40/8', 'full_attention d128 x12 40/8'],
  'longcat-flash': ['mla_attention d576 x56 64/1'],
  'mamba-2.8b': [],
  'mimo-v2-flash': ['full_attention d192 x2 64/4 v128', 'sliding_window d192 x4 64/8 v128 window128 sinks'],
  'minicpm3-4b': ['full_attention d96 x62 40/40'],
  'mistral-7b-v0.1': ['sliding_window d128 x32 32/8 window4096'],
  'mistral-small-24b': ['full_attention d128 x40 32/8'],
  'mpt-7b': ['full_attention d128 x32 32/32 alibi'],
  'nemotron-h-8b': ['full_attention d128 x2 32/8'],
  'phi-2': ['full_attention d80 x32 32/32'],
  'phi-3-mini': ['sliding_window d96 x32 32/32 window2047'],
  'phi-4': ['full_attention d128 x40 40/10'],
  'qwen2.5-7b': ['full_attention d128 x28 28/4'],
  'qwen3-0.6b': ['full_attention d128 x28 16/8'],
  'qwen3-next-80b': ['full_attention d256 x12 16/2'],
  'whisper-large-v3': [
    'encoder d64 x32 20/20 encoder',
    'decoder d64 x32 20/20',
    'encoder_decoder d64 x32 20/20 encoder_decoder',
  ],
  'zamba2-7b': ['full_attention d224 x2 32/32'],
};

test('every model fixture has an expectation and the other way round', () => {
  const files = readdirSync(FIXTURES).map((file) => path.basename(file, '.json'));
  assert.deepEqual(files.sort(), Object.keys(EXPECTED).sort());
  assert.ok(files.length >= 20);
});

for (const [name, expected] of Object.entries(EXPECTED)) {
  test(`shape of ${name}`, () => {
    assert.equal(typeof fixture(name)['_source'], 'string');
    assert.deepEqual(groups(fixture(name)).map(summary), expected);
  });
}

test('head counts are per tensor-parallel rank, KV heads never fewer than one', () => {
  const [group] = groups(fixture('llama-3.1-8b'), { tensorParallelSize: 16 });
  assert.deepEqual([group?.qHeads, group?.kvHeads], [2, 1]);
});

test('query heads that do not divide by the ranks are refused in vLLM’s words', () => {
  const result = readModelShape(fixture('falcon-7b'), { ...NEWEST, tensorParallelSize: 8 });
  assert.ok(!result.ok);
  assert.equal(
    result.error.problem,
    'Total number of attention heads (71) must be divisible by tensor parallel size (8).',
  );
});

test('the dtype comes from either spelling, an unknown one stays unknown', () => {
  const dtypeOf = (extra: object): unknown => {
    const result = readModelShape({ ...fixture('phi-4'), torch_dtype: undefined, ...extra }, NEWEST);
    return result.ok ? result.model.dtype : result.error;
  };
  assert.equal(dtypeOf({ torch_dtype: 'float16' }), 'float16');
  assert.equal(dtypeOf({ dtype: 'torch.bfloat16' }), 'bfloat16');
  assert.equal(dtypeOf({ dtype: 'int8' }), null);
});

test('values taken from the class are named in a note', () => {
  const result = readModelShape(fixture('gemma-3-4b'), NEWEST);
  assert.ok(result.ok);
  assert.match(result.notes.join('\n'), /Gemma3TextConfig: .*num_attention_heads/);
});

test('MLA by release: a type vLLM does not know yet runs as ordinary attention and says so', () => {
  const json = { ...fixture('deepseek-v3'), model_type: 'glm_moe_dsa', head_dim: 64 };
  assert.equal(groups(json, { vllmVersion: '0.16.0' })[0]?.headDim, 576);
  const before = readModelShape(json, { ...NEWEST, vllmVersion: '0.15.1' });
  assert.ok(before.ok);
  assert.equal(before.model.layerGroups[0]?.mla, null);
  assert.match(before.notes.join(), /does not run glm_moe_dsa/);
});

test('VLLM_MLA_DISABLE turns MLA into heads of nope + rope, one KV head per query head', () => {
  const [group] = groups(fixture('deepseek-v3'), { mlaDisabled: true, tensorParallelSize: 8 });
  assert.deepEqual([group?.mla, group?.headDim, group?.qHeads, group?.kvHeads], [null, 192, 16, 16]);
});

test('MLA types that ended or were renamed hold exactly in their releases', () => {
  const mlaIn = (type: string, vllmVersion: string): boolean =>
    groups({ ...fixture('deepseek-v3'), model_type: type }, { vllmVersion })[0]?.mla !== null;
  assert.deepEqual(
    ['0.16.0', '0.17.0', '0.25.1', '0.26.0'].map((v) => mlaIn('AXK1', v)),
    [false, true, true, false],
  );
  assert.deepEqual(
    ['0.25.1', '0.26.0', '0.31.0', '0.32.0'].map((v) => mlaIn('longcat_flash_ngram', v)),
    [false, true, true, false],
  );
  assert.ok(mlaIn('hy_v4', '0.34.0.dev12+g0badcafe'));
});

test('mm prefix by release', () => {
  const at = (json: unknown, vllmVersion: string): boolean | undefined => groups(json, { vllmVersion })[0]?.mmPrefix;
  assert.deepEqual(
    ['0.12.0', '0.13.0'].map((v) => at(fixture('gemma-3-4b'), v)),
    [false, true],
  );
  assert.deepEqual(
    ['0.19.1', '0.20.0'].map((v) => at(fixture('gemma-4-31b'), v)),
    [false, true],
  );
  const told = { ...fixture('llama-3.1-8b'), is_mm_prefix_lm: true };
  assert.deepEqual(
    ['0.16.0', '0.17.0'].map((v) => at(told, v)),
    [false, true],
  );
  assert.equal(at({ ...fixture('gemma-3-4b'), is_mm_prefix_lm: false }, '0.33.0'), false);
});

test('sliding windows: a switch that is off, a written 0 and a written null all mean none', () => {
  for (const extra of [{ sliding_window: 0 }, { sliding_window: null }, { use_sliding_window: false }]) {
    assert.equal(groups({ ...fixture('mistral-7b-v0.1'), ...extra })[0]?.slidingWindow, null);
  }
  const mixed = { ...fixture('qwen2.5-7b'), use_sliding_window: true, max_window_layers: 20 };
  assert.deepEqual(groups(mixed).map(summary), [
    'full_attention d128 x20 28/4',
    'sliding_window d128 x8 28/4 window131072',
  ]);
});

test('before 0.27.0 a listed single layer kind let the model-wide window apply everywhere', () => {
  const json = { ...fixture('mistral-7b-v0.1'), layer_types: Array.from({ length: 32 }, () => 'full_attention') };
  assert.equal(groups(json, { vllmVersion: '0.26.0' })[0]?.slidingWindow, 4096);
  assert.equal(groups(json, { vllmVersion: '0.27.0' })[0]?.slidingWindow, null);
});

const REFUSED: ReadonlyArray<readonly [string, unknown, ModelShapeErrorCode, string]> = [
  ['not an object', [1, 2], 'notAnObject', ''],
  ['null', null, 'notAnObject', ''],
  ['heads as a string', { ...fixture('phi-4'), num_attention_heads: '40' }, 'wrongType', 'num_attention_heads'],
  ['zero heads', { ...fixture('phi-4'), num_attention_heads: 0 }, 'outOfRange', 'num_attention_heads'],
  ['negative KV heads', { ...fixture('phi-4'), num_key_value_heads: -8 }, 'outOfRange', 'num_key_value_heads'],
  ['a fraction', { ...fixture('phi-4'), num_attention_heads: 40.5 }, 'wrongType', 'num_attention_heads'],
  ['not divisible', { ...fixture('phi-4'), hidden_size: 5121 }, 'notDivisible', 'hidden_size'],
  ['a billion layers', { ...fixture('phi-4'), num_hidden_layers: 10_000_000 }, 'outOfRange', 'num_hidden_layers'],
  [
    'a layer kind nobody knows',
    { ...fixture('phi-4'), layer_types: Array(40).fill('warp') },
    'unsupported',
    'layer_types[0]',
  ],
  ['too few layer kinds', { ...fixture('phi-4'), layer_types: ['full_attention'] }, 'outOfRange', 'layer_types'],
  [
    'no heads and no known class',
    { model_type: 'nobody', num_hidden_layers: 2 },
    'missingField',
    'num_attention_heads',
  ],
  [
    'nested field named in full',
    { text_config: { num_hidden_layers: '2' } },
    'wrongType',
    'text_config.num_hidden_layers',
  ],
  ['a list where an object belongs', { ...fixture('mpt-7b'), attn_config: [] }, 'notAnObject', 'attn_config'],
];

for (const [what, json, code, field] of REFUSED) {
  test(`refused with its field: ${what}`, () => {
    const result = readModelShape(json, NEWEST);
    assert.ok(!result.ok, 'must be refused');
    assert.deepEqual([result.error.code, result.error.field], [code, field]);
    assert.match(result.error.problem, /\.$/);
  });
}

test('100,000 random configs: an answer or a typed error, never another throw; groups keep their invariants', () => {
  let state = 20261122;
  const random = (below: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const pick = <T>(values: readonly T[]): T => values[random(values.length)] as T;
  const names = Object.keys(EXPECTED).map(fixture);
  const keys = [...new Set(names.flatMap((json) => Object.keys(json)))];
  const odd = [
    null,
    -1,
    0,
    1,
    2.5,
    '64',
    '',
    true,
    [],
    {},
    [null],
    1e300,
    NaN,
    'full_attention',
    [1, 0],
    { a: 1 },
    64,
    128,
  ];
  let read = 0;
  for (let i = 0; i < 100_000; i++) {
    const json: Record<string, unknown> = { ...pick(names) };
    for (let change = random(4); change > 0; change--)
      json[pick(keys)] = random(2) === 0 ? pick(odd) : pick(names)[pick(keys)];
    const result = readModelShape(json, {
      ...NEWEST,
      tensorParallelSize: pick([1, 2, 8]),
      mlaDisabled: random(2) === 1,
    });
    if (!result.ok) continue;
    read += 1;
    for (const group of result.model.layerGroups) {
      assert.ok(group.headDim > 0 && (group.qHeads ?? 0) > 0 && (group.kvHeads ?? 0) > 0, JSON.stringify(json));
    }
  }
  assert.ok(read > 10_000, `only ${read} were readable`);
});

test("what vLLM's own convertor reads from incomplete configs: the class fills in its defaults", () => {
  const heads = (json: Record<string, unknown>): string =>
    groups(json)
      .map((group) => `${group.headDim} ${group.qHeads}/${group.kvHeads}`)
      .join(' ');
  // KV heads of the class, even beside query heads of the file.
  assert.equal(
    heads({ model_type: 'gemma2', num_attention_heads: 16, head_dim: 256, num_hidden_layers: 1 }),
    '256 16/4',
  );
  assert.equal(
    heads({ model_type: 'qwen2', num_attention_heads: 28, hidden_size: 3584, num_hidden_layers: 1 }),
    '128 28/32',
  );
  // A class whose default is none takes as many as query heads.
  assert.equal(
    heads({ model_type: 'llama', num_attention_heads: 16, hidden_size: 2048, num_hidden_layers: 1 }),
    '128 16/16',
  );
  assert.equal(heads({ model_type: 'gpt_bigcode', n_layer: 1 }), '64 12/1');
  assert.equal(heads({ model_type: 'step3_text', num_hidden_layers: 1 }), '256 64/1');
  assert.deepEqual(
    groups({ model_type: 'kimi_k2', num_hidden_layers: 1 }).map((group) => [group.headDim, group.mla?.qkRopeHeadDim]),
    [[576, 64]],
  );
  const modern = groups({ model_type: 'modernbert' });
  assert.deepEqual(
    modern.map((group) => [group.slidingWindow, group.layers]),
    [
      [null, 8],
      [64, 14],
    ],
  );
  const v4 = { model_type: 'deepseek_v4', num_attention_heads: 64, num_hidden_layers: 1, head_dim: 512 };
  const rates = { ...v4, qk_rope_head_dim: 64, compress_rates: { compressed_sparse_attention: 4 } };
  assert.equal(groups(rates)[0]?.mla?.kvLoraRank, 448);
  assert.equal(groups(rates, { vllmVersion: '0.32.0' })[0]?.mla ?? null, null);
});

test('Baichuan: the class with the small c uses ALiBi but for the 7B, the other class never', () => {
  const alibi = (architecture: string | null, width: number): boolean | undefined =>
    groups({
      ...(architecture === null ? {} : { architectures: [architecture] }),
      model_type: 'baichuan',
      hidden_size: width,
      num_attention_heads: width / 128,
      num_hidden_layers: 2,
    })[0]?.alibi;
  assert.deepEqual(
    [
      alibi('BaichuanForCausalLM', 5120),
      alibi(null, 5120),
      alibi('BaichuanForCausalLM', 4096),
      alibi('BaiChuanForCausalLM', 4096),
    ],
    [true, true, false, false],
  );
});
