/** From a serve file as people write it to the finding, its place in the file, its severity and what can be done about it. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { explain, explainForm, type ExplainQuestion } from '../../../../extension/core/rules/explanation';
import { loadModel, loadServeFile } from '../../../../extension/core/state/loadedFiles';
import type { Finding } from '../../../../extension/core/verdict';

interface Row {
  readonly what: string;
  readonly vllm: string;
  readonly sm?: readonly [number, number];
  readonly model?: string;
  readonly headDim?: number;
  readonly file?: string;
  readonly text?: string;
  readonly flag?: ExplainQuestion['flag'];
  /** `severity code`, the text at the finding's place, and the titles of its fixes. */
  readonly finds: readonly [kind: string, place: string | null, ...fixes: readonly string[]];
}

const COMPARE = 'Compare with the newest release';

const ROWS: readonly Row[] = [
  {
    what: 'a dead variable in a script',
    vllm: '0.33.0',
    file: 'run.sh',
    text: 'export VLLM_ATTENTION_BACKEND=FLASHINFER\nvllm serve m\n',
    finds: [
      'warning dead-env-variable',
      'VLLM_ATTENTION_BACKEND=FLASHINFER',
      'Remove VLLM_ATTENTION_BACKEND',
      'Copy "--attention-config.backend=FLASHINFER"',
    ],
  },
  {
    what: 'flags that exclude each other',
    vllm: '0.24.0',
    text: 'attention-backend: FLASH_ATTN\nattention-config:\n  backend: FLASHINFER\n',
    finds: ['error exclusive-backends', 'FLASH_ATTN', 'Remove attention_backend', 'Remove attention_config.backend'],
  },
  {
    what: 'a field the release does not have',
    vllm: '0.33.0',
    text: 'attention-config:\n  use_cudnn_prefill: true\n',
    finds: ['error unknown-config-field', 'true', 'Remove attention_config.use_cudnn_prefill'],
  },
  {
    what: 'a version as a string',
    vllm: '0.24.0',
    text: 'attention-config:\n  flash_attn_version: "4"\n',
    finds: ['error flash-attn-version-string', '"4"', 'Write flash_attn_version as the number 4'],
  },
  {
    what: 'FA4 that raises at the first forward on Hopper',
    vllm: '0.19.0',
    text: 'attention-config:\n  flash_attn_version: 4\n',
    finds: ['error selected-but-fails', '4', 'Remove attention_config.flash_attn_version', COMPARE],
  },
  {
    what: 'FA4 that is slower on Hopper',
    vllm: '0.24.0',
    text: 'attention-config:\n  flash_attn_version: 4\n',
    finds: ['warning fa4-slower-on-hopper', '4', 'Remove attention_config.flash_attn_version'],
  },
  {
    what: 'an explicit backend that is refused',
    vllm: '0.24.0',
    headDim: 96,
    text: 'attention-backend: FLASHINFER # ours\n',
    finds: ['error explicit-backend-refused', 'FLASHINFER', 'Remove attention_backend'],
  },
  {
    what: 'a silent fallback',
    vllm: '0.20.0',
    sm: [8, 0],
    model: 'gpt-oss-20b',
    finds: ['warning silent-fallback', null, COMPARE],
  },
  {
    what: 'sinks on a family that has none',
    vllm: '0.20.0',
    sm: [8, 0],
    model: 'gpt-oss-20b',
    text: 'attention-config: {backend: FLASH_ATTN}\n',
    finds: ['error explicit-backend-refused', 'FLASH_ATTN', 'Remove attention_config.backend'],
  },
  {
    what: 'an fp8 cache that the chosen backend refuses',
    vllm: '0.24.0',
    sm: [8, 0],
    text: 'attention-backend: FLASH_ATTN\nkv-cache-dtype: fp8\n',
    finds: ['error kv-cache-dtype-refused', 'fp8', 'Remove kv_cache_dtype'],
  },
  {
    what: 'an fp8 cache that keeps the better backend out',
    vllm: '0.24.0',
    sm: [8, 0],
    file: 'run.sh',
    text: 'vllm serve m --kv-cache-dtype fp8\n',
    finds: ['warning kv-cache-dtype-refused', 'fp8', 'Remove kv_cache_dtype'],
  },
  {
    what: 'a block size that keeps a better backend out',
    vllm: '0.24.0',
    sm: [10, 0],
    model: 'deepseek-v3',
    text: 'block-size: 16\n',
    finds: ['warning block-size-precludes-backend', '16', 'Remove block_size'],
  },
  {
    what: 'a block size that every backend refuses',
    vllm: '0.24.0',
    text: 'block-size: 8\n',
    finds: ['error block-size-refused', '8', 'Remove block_size'],
  },
  {
    what: 'a kind that never matches',
    vllm: '0.27.0',
    text: 'attention-config:\n  backend_per_kind:\n    mamba: FLASH_ATTN\n',
    finds: ['warning kind-never-matches', 'FLASH_ATTN', 'Remove attention_config.backend_per_kind.mamba'],
  },
  {
    what: 'an MLA backend for a model without MLA',
    vllm: '0.24.0',
    text: 'attention-backend: FLASHMLA\n',
    finds: ['error mla-mismatch', 'FLASHMLA', 'Remove attention_backend'],
  },
  {
    what: 'a head size above what the FlashAttention version takes',
    vllm: '0.24.0',
    sm: [10, 0],
    headDim: 512,
    text: 'attention-config:\n  backend: FLASH_ATTN\n  flash_attn_version: 2\n',
    finds: [
      'error selected-but-fails',
      '2',
      'Remove attention_config.flash_attn_version',
      'Remove attention_config.backend',
      COMPARE,
    ],
  },
  {
    what: 'the flag in a file of a release that does not have it',
    vllm: '0.24.0',
    text: 'attention-config:\n  use_system_flash_attn: true\n',
    finds: [
      'error unknown-config-field',
      'true',
      'Remove attention_config.use_system_flash_attn',
      'Write flash_attn_version: 4 instead',
    ],
  },
  {
    what: 'the switch on, where the system library refuses the layer',
    vllm: '0.24.0',
    headDim: 512,
    flag: 'on',
    finds: ['error flag-system-fa4-refuses', null, 'Turn use_system_flash_attn off'],
  },
];

function findingsOf(row: Row): readonly Finding[] {
  const options = { vllmVersion: row.vllm, tensorParallelSize: 1, mlaDisabled: false };
  const config = `test/fixtures/models/${row.model ?? ''}.json`;
  const { findings } = explain({
    vllmVersion: { value: row.vllm, setIn: 'user' },
    capability: row.sm ?? [9, 0],
    form: explainForm({ dtype: 'bf16', headDims: [row.headDim ?? 128], pageSizes: [16] }, false),
    model: row.model === undefined ? null : loadModel(config, readFileSync(config, 'utf8'), options),
    serve: row.text === undefined ? null : loadServeFile(`/work/${row.file ?? 'serve.yaml'}`, row.text),
    environment: null,
    flag: row.flag ?? 'off',
  });
  return findings;
}

function placeOf({ range }: Finding, text: string): string | null {
  if (range === null) return null;
  assert.equal(range.startLine, range.endLine);
  return (text.split('\n')[range.startLine] ?? '').slice(range.startColumn, range.endColumn);
}

for (const row of ROWS) {
  test(`${row.what} (vLLM ${row.vllm})`, () => {
    const [kind, place, ...fixes] = row.finds;
    const findings = findingsOf(row);
    const finding = findings.find((each) => `${each.severity} ${each.code}` === kind);
    assert.ok(finding, `found: ${findings.map((each) => `${each.severity} ${each.code}`).join(', ')}`);
    assert.equal(placeOf(finding, row.text ?? ''), place);
    assert.deepEqual(
      finding.fixes.map((fix) => fix.title),
      fixes,
    );
    assert.match(finding.detail, /[.!?]["')]?$/, 'the next step is a sentence');
  });
}

test('a backend of the other kind is one finding, with the words of vLLM', () => {
  const row: Row = { what: '', vllm: '0.24.0', text: 'attention-backend: FLASHMLA\n', finds: ['', null] };
  const errors = findingsOf(row).filter((finding) => finding.severity === 'error');
  assert.deepEqual(
    errors.map((finding) => finding.code),
    ['mla-mismatch'],
  );
  assert.match(errors[0]?.detail ?? '', /Start-up stops with: Selected backend .*FLASHMLA.*'non-MLA not supported'/);
  const mla = findingsOf({ ...row, model: 'deepseek-v3', text: 'attention-backend: FLASH_ATTN\n' });
  assert.deepEqual(
    mla.filter((finding) => finding.severity === 'error').map((finding) => finding.code),
    ['mla-mismatch'],
  );
});

test('query heads that are no multiple of the KV heads stop every backend', () => {
  const options = { vllmVersion: '0.33.0', tensorParallelSize: 1, mlaDisabled: false };
  const config = JSON.parse(readFileSync('test/fixtures/models/llama-3.1-8b.json', 'utf8')) as object;
  const codes = (change: object): readonly string[] =>
    explain({
      vllmVersion: { value: '0.33.0', setIn: 'user' },
      capability: [9, 0],
      form: explainForm({ dtype: 'bf16', headDims: [128], pageSizes: [16] }, false),
      model: loadModel('/m/config.json', JSON.stringify({ ...config, ...change }), options),
      serve: null,
      environment: null,
      flag: 'off',
    }).findings.map((finding) => `${finding.severity} ${finding.code}`);
  assert.deepEqual(codes({}), []);
  assert.deepEqual(codes({ num_key_value_heads: 7 }), ['error heads-not-divisible']);
});
