/** Findings about serve files: dead variables, settings that exclude each other, fields and values a release lacks. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { applyEnvironment, envEffect } from '../../../../extension/core/catalog/envVars';
import { evaluate } from '../../../../extension/core/rules/evaluate';
import { locateFindings } from '../../../../extension/core/findings/findings';
import { findingRanges, serveFindings, withServeFile } from '../../../../extension/core/findings/findingsServe';
import { flagEffect } from '../../../../extension/core/rules/flashAttnFlag';
import { DEFAULT_SERVE_SETTINGS } from '../../../../extension/core/request';
import { completeServeSettings, parseServeFile } from '../../../../extension/core/serve/serveConfig';
import { ask, LLAMA } from '../rules/evaluateFixtures';

const shell = (text: string) => parseServeFile('/w/serve.sh', text, 'shell');
const yaml = (text: string) => parseServeFile('/w/serve.yaml', text, 'vllmYaml');
const codes = (version: string, parsed: ReturnType<typeof shell>) =>
  serveFindings(version, parsed).map((finding) => `${finding.severity} ${finding.code}`);

describe('serve file findings', () => {
  it('tells dead environment variables from deprecated and living ones', () => {
    const parsed = shell(
      'export VLLM_ATTENTION_BACKEND=FLASHINFER\nexport VLLM_BATCH_INVARIANT=1\nvllm serve m --block-size 16\n',
    );
    assert.deepEqual(codes('0.12.0', parsed), []);
    assert.deepEqual(codes('0.14.1', parsed), ['warning deprecated-env-variable']);
    assert.deepEqual(codes('0.33.0', parsed), ['warning dead-env-variable']);
    const [finding] = serveFindings('0.33.0', parsed);
    assert.equal(finding?.range?.startLine, 0);
    assert.match(
      finding?.detail ?? '',
      /Unknown vLLM environment variable detected: VLLM_ATTENTION_BACKEND.*--attention-config\.backend/,
    );
    assert.match(serveFindings('0.15.0', parsed)[0]?.detail ?? '', /without a word/);
    assert.equal(envEffect('0.33.0', 'VLLM_BATCH_INVARIANT'), 'read');
    assert.equal(envEffect('0.33.0', 'HF_HOME'), 'notCatalogued');
  });

  it('is an error when the environment is validated strictly', () => {
    const parsed = shell('VLLM_FLASH_ATTN_VERSION=2 vllm serve m --fail-on-environ-validation --block-size 16\n');
    assert.deepEqual(codes('0.33.0', parsed), ['error dead-env-variable']);
  });

  it('finds a backend given twice', () => {
    const parsed = shell('vllm serve m --attention-backend FLASH_ATTN --attention-config.backend TRITON_ATTN\n');
    assert.deepEqual(codes('0.33.0', parsed), ['error exclusive-backends']);
  });

  it('finds fields the release does not have, and says what it does with them', () => {
    const parsed = yaml('attention-config:\n  use_system_flash_attn: true\n  use_cudnn_prefill: true\n');
    assert.deepEqual(codes('0.33.0', parsed), ['error unknown-config-field', 'error unknown-config-field']);
    const details = serveFindings('0.33.0', parsed).map((finding) => finding.detail);
    assert.match(details[0] ?? '', /stops start-up.*flash_attn_version: 4/);
    assert.match(details[1] ?? '', /It exists from 0\.13\.0 to 0\.21\.0/);
    assert.deepEqual(codes('0.21.0', parsed), ['error unknown-config-field']);
  });

  it('finds a version in quotes, an unknown KV dtype and YAML nesting too new for the release', () => {
    const parsed = yaml('attention-config:\n  flash_attn_version: "4"\nkv-cache-dtype: nvfp4\n');
    assert.deepEqual(codes('0.33.0', parsed), ['error flash-attn-version-string']);
    assert.deepEqual(codes('0.15.1', parsed), [
      'error flash-attn-version-string',
      'error unknown-kv-cache-dtype',
      'error nested-yaml-unsupported',
    ]);
  });

  it('has nothing to say about a plain file or a release older than the catalog', () => {
    const parsed = shell('vllm serve m --attention-backend FLASH_ATTN --kv-cache-dtype fp8\n');
    assert.deepEqual(codes('0.33.0', parsed), []);
    assert.deepEqual(codes('0.10.0', shell('VLLM_ATTENTION_BACKEND=X vllm serve m --block-size 1\n')), []);
  });

  it('gives findings of the rules the place of the setting they are about', () => {
    const parsed = shell('vllm serve m \\\n  --attention-backend FLASHMLA\n');
    const request = ask('0.33.0', [9, 0], LLAMA, completeServeSettings(parsed.settings));
    const located = locateFindings(evaluate(request).findings, findingRanges(parsed.located));
    const refused = located.find((finding) => finding.code === 'mla-mismatch');
    assert.equal(refused?.range?.startLine, 1);
    assert.equal(refused.range.path, '/w/serve.sh');
  });
});

describe('serve file and rules together', () => {
  it('say each thing once', () => {
    const parsed = yaml('attention-config:\n  use_system_flash_attn: true\nattention-backend: FLASHMLA\n');
    const request = ask('0.33.0', [9, 0], LLAMA, completeServeSettings(parsed.settings));
    const all = withServeFile([...evaluate(request).findings, ...flagEffect(request).findings], '0.33.0', parsed);
    const about = all.map((finding) => finding.code);
    assert.ok(about.includes('unknown-config-field') && !about.includes('flag-not-declared'));
    assert.equal(all.find((finding) => finding.code === 'mla-mismatch')?.range?.startLine, 2);
    assert.equal(new Set(all.map((finding) => finding.id)).size, all.length);
  });
});

describe('environment variables as settings', () => {
  const env = [
    { name: 'VLLM_ATTENTION_BACKEND', value: 'TRITON_ATTN' },
    { name: 'VLLM_FLASH_ATTN_VERSION', value: '2' },
    { name: 'VLLM_USE_TRTLLM_ATTENTION', value: '0' },
  ];
  it('override the configuration up to 0.14.1 and are not read later', () => {
    const serve = { ...DEFAULT_SERVE_SETTINGS, backend: 'FLASH_ATTN' };
    const old = applyEnvironment('0.14.1', serve, env);
    assert.deepEqual([old.backend, old.flashAttnVersion, old.useTrtllmAttention], ['TRITON_ATTN', 2, false]);
    assert.deepEqual(applyEnvironment('0.15.0', serve, env), serve);
  });
  it('are all that sets the attention configuration before 0.13.0', () => {
    const serve = {
      ...DEFAULT_SERVE_SETTINGS,
      backend: 'FLASHINFER',
      flashAttnVersion: 2,
      useTrtllmAttention: true,
      kvCacheDtype: 'fp8',
    };
    assert.deepEqual(applyEnvironment('0.12.0', serve, []), { ...DEFAULT_SERVE_SETTINGS, kvCacheDtype: 'fp8' });
    assert.equal(applyEnvironment('0.12.0', serve, env).backend, 'TRITON_ATTN');
    assert.deepEqual(applyEnvironment('0.13.0', serve, []), serve);
  });
});

describe('options that a release does not have', () => {
  it('stop start-up before 0.13.0', () => {
    const flag = shell('vllm serve m --attention-backend FLASHINFER\n');
    assert.deepEqual(codes('0.12.0', flag), ['error unknown-option']);
    assert.deepEqual(codes('0.13.0', flag), []);
    const [finding] = serveFindings('0.12.0', flag);
    assert.match(finding?.detail ?? '', /stops at the unknown option.*VLLM_ATTENTION_BACKEND/);
    const field = shell('vllm serve m -ac.backend FLASHINFER\n');
    assert.deepEqual(codes('0.12.0', field), ['error unknown-config-field']);
    assert.match(serveFindings('0.12.0', field)[0]?.detail ?? '', /stops at the unknown option/);
  });
});
