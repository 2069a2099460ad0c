/** What a release settles before any layer is selected: KV cache formats of checkpoints, and rules of model families. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { readModelShape } from '../../../../extension/core/model/modelShape';
import type { KvQuantization, ModelFacts, ServeSettings } from '../../../../extension/core/request';
import { evaluate } from '../../../../extension/core/rules/evaluate';
import { ask, DEEPSEEK_V3, DEEPSEEK_V32, GEMMA4_TEXT, layer, LLAMA } from '../rules/evaluateFixtures';

type Capability = readonly [number, number];
const H: Capability = [9, 0];
const B: Capability = [10, 0];
const A: Capability = [8, 0];

/** Backend of the first group and the ids of the rewrites that led to it. */
function chosen(version: string, on: Capability, model: ModelFacts, serve: Partial<ServeSettings> = {}): string {
  const [selection] = evaluate(ask(version, on, model, serve)).selections;
  assert.ok(selection !== undefined);
  const ids = selection.reasons.map((reason) => reason.code).filter((code) => /^(KV-|DIFF|UNLIM|GEMMA)/.test(code));
  const version_ = selection.flashAttnVersion === null ? '' : `/${selection.flashAttnVersion}`;
  return [`${selection.backend ?? 'none'}${version_}`, ...ids].join(' ');
}

const quantized = (tool: KvQuantization['tool'], format: KvQuantization['format'], perHead = false): ModelFacts => ({
  ...LLAMA,
  kvQuantization: { tool, format, perHead },
});
const named = (model: ModelFacts, architecture: string): ModelFacts => ({ ...model, architecture });
const OCR: ModelFacts = { ...LLAMA, architecture: 'UnlimitedOCRForCausalLM', rswaWindow: 128 };
const DIFFUSION: ModelFacts = {
  ...LLAMA,
  architecture: 'DiffusionGemmaForBlockDiffusion',
  isDiffusion: true,
  layerGroups: [layer({ headDim: 256 })],
};

describe('KV cache dtype of the checkpoint', () => {
  const rows: readonly [string, string, Capability, ModelFacts, Partial<ServeSettings>, string][] = [
    ['ModelOpt fp8 before 0.14.0', '0.13.0', A, quantized('modelopt', 'fp8'), {}, 'FLASH_ATTN/2'],
    [
      'ModelOpt fp8 on 8.0: FLASH_ATTN has none',
      '0.33.0',
      A,
      quantized('modelopt', 'fp8'),
      {},
      'FLASHINFER KV-CHECKPOINT',
    ],
    [
      'ModelOpt fp8 with a dtype of the user',
      '0.33.0',
      A,
      quantized('modelopt', 'fp8'),
      { kvCacheDtype: 'bfloat16' },
      'FLASH_ATTN/2',
    ],
    ['ModelOpt nvfp4 before 0.20.0', '0.19.1', B, quantized('modelopt', 'nvfp4'), {}, 'FLASHINFER'],
    ['ModelOpt nvfp4', '0.33.0', B, quantized('modelopt', 'nvfp4'), {}, 'FLASHINFER KV-CHECKPOINT'],
    ['ModelOpt, a format vLLM does not take over', '0.33.0', H, quantized('modelopt', 'other'), {}, 'FLASH_ATTN/3'],
    ['llm-compressor before 0.15.0', '0.14.1', A, quantized('compressedTensors', 'fp8'), {}, 'FLASH_ATTN/2'],
    ['llm-compressor', '0.33.0', A, quantized('compressedTensors', 'fp8'), {}, 'FLASHINFER KV-CHECKPOINT'],
    [
      'llm-compressor overrules the user to 0.21.0',
      '0.21.0',
      A,
      quantized('compressedTensors', 'fp8'),
      { kvCacheDtype: 'bfloat16' },
      'FLASHINFER KV-CHECKPOINT',
    ],
    [
      'llm-compressor and the user, 0.22.0 on',
      '0.22.0',
      A,
      quantized('compressedTensors', 'fp8'),
      { kvCacheDtype: 'bfloat16' },
      'FLASH_ATTN/2',
    ],
    [
      'scales per head: only FLASH_ATTN with version 3 or 4',
      '0.33.0',
      A,
      quantized('compressedTensors', 'fp8', true),
      {},
      'none KV-CHECKPOINT',
    ],
    [
      'scales per head on 9.0',
      '0.33.0',
      H,
      quantized('compressedTensors', 'fp8', true),
      {},
      'FLASH_ATTN/3 KV-CHECKPOINT',
    ],
  ];
  for (const [what, version, on, model, serve, expected] of rows) {
    test(`${what} (${version})`, () => {
      assert.equal(chosen(version, on, model, serve), expected);
    });
  }

  test('is read from quantization_config', () => {
    const shape = { model_type: 'llama', num_attention_heads: 8, hidden_size: 1024, num_hidden_layers: 2 };
    const read = (quantization_config: unknown): unknown => {
      const result = readModelShape(
        { ...shape, quantization_config },
        { vllmVersion: '0.33.0', tensorParallelSize: 1, mlaDisabled: false },
      );
      return result.ok ? (result.model.kvQuantization ?? null) : result.error;
    };
    const modelopt = (format: string): unknown => ({ tool: 'modelopt', format, perHead: false });
    assert.deepEqual(read({ quant_method: 'modelopt', kv_cache_quant_algo: 'FP8' }), modelopt('fp8'));
    assert.deepEqual(
      read({ producer: { name: 'modelopt' }, quantization: { kv_cache_quant_algo: 'NVFP4' } }),
      modelopt('nvfp4'),
    );
    assert.deepEqual(
      read({ quant_method: 'modelopt_fp4', kv_cache_scheme: { dynamic: false, num_bits: 8, type: 'float' } }),
      modelopt('fp8'),
    );
    assert.deepEqual(read({ quant_method: 'modelopt', kv_cache_quant_algo: 'int8' }), modelopt('other'));
    assert.deepEqual(
      read({ quant_method: 'compressed-tensors', kv_cache_scheme: { num_bits: 8, strategy: 'attn_head' } }),
      { tool: 'compressedTensors', format: 'fp8', perHead: true },
    );
    assert.equal(read({ quant_method: 'compressed-tensors', kv_cache_scheme: null }), null);
    assert.equal(read({ quant_method: 'fp8' }), null);
  });
});

describe('rules of model families', () => {
  const v32 = named(DEEPSEEK_V32, 'DeepseekV32ForCausalLM');
  const glm = named(DEEPSEEK_V32, 'GlmMoeDsaForCausalLM');
  const glm5 = named(DEEPSEEK_V32, 'Glm5NextForCausalLM');
  const rows: readonly [string, string, Capability, ModelFacts, Partial<ServeSettings>, string][] = [
    [
      'DeepSeek V3.2, fp8 to 0.17.1: its own format',
      '0.17.1',
      H,
      v32,
      { kvCacheDtype: 'fp8' },
      'FLASHMLA_SPARSE KV-FAMILY',
    ],
    ['DeepSeek V3.2, fp8 from 0.18.0', '0.18.0', H, v32, { kvCacheDtype: 'fp8' }, 'FLASHMLA_SPARSE'],
    ['DeepSeek V3.2, bfloat16 is auto', '0.14.1', H, v32, { kvCacheDtype: 'bfloat16' }, 'FLASHMLA_SPARSE KV-FAMILY'],
    ['GLM sparse on 10.x before 0.32.0', '0.31.0', B, glm, {}, 'FLASHMLA_SPARSE'],
    ['GLM sparse on 10.x', '0.32.0', B, glm, {}, 'FLASHINFER_MLA_SPARSE KV-FAMILY'],
    ['GLM sparse on 9.0', '0.32.0', H, glm, {}, 'FLASH_ATTN_MLA_SPARSE'],
    ['GLM 5 Next on 10.x', '0.33.0', B, glm5, {}, 'FLASHINFER_MLA_SPARSE KV-FAMILY'],
    ['Unlimited-OCR on 9.0', '0.33.0', H, OCR, {}, 'FLASH_ATTN/4 UNLIMITED-OCR'],
    ['Unlimited-OCR on 8.0', '0.33.0', A, OCR, {}, 'TRITON_ATTN UNLIMITED-OCR'],
    ['Unlimited-OCR, a backend of the user', '0.33.0', H, OCR, { backend: 'FLEX_ATTENTION' }, 'FLEX_ATTENTION'],
    [
      'Unlimited-OCR, FLASH_ATTN with version 3',
      '0.33.0',
      H,
      OCR,
      { backend: 'FLASH_ATTN', flashAttnVersion: 3 },
      'FLASH_ATTN/4 UNLIMITED-OCR',
    ],
    ['DiffusionGemma on 10.x: not FlashInfer first', '0.26.0', B, DIFFUSION, {}, 'FLASH_ATTN/2 DIFFUSION-GEMMA'],
  ];
  for (const [what, version, on, model, serve, expected] of rows) {
    test(`${what} (${version})`, () => {
      assert.equal(chosen(version, on, model, serve), expected);
    });
  }
});

describe('a backend is rewritten as the configuration holds it, however it was spelled', () => {
  const gemma = (version: string, on: Capability, backend: string | null): string =>
    chosen(version, on, GEMMA4_TEXT, { backend });

  test('auto is no backend from 0.18.0 on, so the rules for an unset one apply', () => {
    for (const [version, on] of [
      ['0.20.2', H],
      ['0.33.0', H],
      ['0.33.0', A],
    ] as const) {
      for (const auto of ['auto', 'AUTO', 'Auto']) {
        assert.equal(gemma(version, on, auto), gemma(version, on, null), `${auto} ${version} ${on.join('.')}`);
      }
    }
    assert.equal(gemma('0.20.2', H, 'auto'), 'TRITON_ATTN GEMMA-4');
    assert.equal(chosen('0.33.0', H, OCR, { backend: 'auto' }), 'FLASH_ATTN/4 UNLIMITED-OCR');
    assert.equal(chosen('0.33.0', B, DIFFUSION, { backend: 'auto' }), chosen('0.33.0', B, DIFFUSION));
  });

  test('so is a name that only means automatic selection', () => {
    assert.equal(gemma('0.33.0', A, 'TRITON_MSA'), 'TRITON_ATTN GEMMA-4');
  });

  test('a name in lower case is that backend', () => {
    assert.equal(gemma('0.33.0', H, 'flash_attn'), 'FLASH_ATTN/4 GEMMA-4');
    assert.equal(gemma('0.33.0', H, 'flash_attn'), gemma('0.33.0', H, 'FLASH_ATTN'));
    assert.equal(chosen('0.33.0', H, OCR, { backend: 'flash_attn' }), 'FLASH_ATTN/4 UNLIMITED-OCR');
  });

  test('and the block size that goes with it is forced, too (0.17.1)', () => {
    const size = (backend: string): unknown =>
      evaluate(ask('0.17.1', H, DEEPSEEK_V3, { backend })).selections[0]?.blockSize;
    assert.deepEqual([size('FLASHMLA'), size('flashmla')], [64, 64]);
  });
});

test('VLLM_BATCH_INVARIANT sets no backend on CUDA: engine/arg_utils.py asks for an XPU besides (0.30.0, 0.33.0)', () => {
  for (const version of ['0.30.0', '0.33.0']) {
    assert.equal(chosen(version, H, LLAMA, { batchInvariant: true }), 'FLASH_ATTN/3');
  }
});
