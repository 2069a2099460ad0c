/** Rows of the reference about what a release does with its attention config, and what it says of its choice. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { RELEASES, type Release } from '../../../../extension/core/catalog/releases';
import { completeServeSettings, parseServeFile } from '../../../../extension/core/serve/serveConfig';
import { serveFindings } from '../../../../extension/core/findings/findingsServe';
import { evaluate } from '../../../../extension/core/rules/evaluate';
import type { Finding } from '../../../../extension/core/verdict';
import { ask, GPT_OSS, LLAMA } from '../rules/evaluateFixtures';

/** What a value of `--attention-config` leads to: the finding, if any. */
function configured(release: Release, field: string, value: string): Finding | undefined {
  // As an option: YAML takes nested fields from 0.16.0 on only.
  const text = `vllm serve m --attention-config '{"${field}": ${value}}'\n`;
  const parsed = parseServeFile('/w/serve.sh', text, 'shell');
  const request = ask(release, [9, 0], LLAMA, completeServeSettings(parsed.settings));
  const found = [...serveFindings(release, parsed), ...evaluate(request).findings].filter(
    (finding) => finding.severity === 'error' || finding.code === 'unknown-config-field',
  );
  assert.ok(found.length <= 1, `one cause, one finding: ${found.map((finding) => finding.code).join(', ')}`);
  return found[0];
}

const ABORTS = /Start-up stops with "Unexpected keyword argument"/;

const ROWS: readonly (readonly [id: string, release: Release, field: string, value: string, says: RegExp | null])[] = [
  ['CFG-1', '0.13.0', 'no_such_field', '1', /It is silently ignored/],
  ['CFG-1', '0.15.1', 'no_such_field', '1', /It is silently ignored/],
  ['CFG-2', '0.16.0', 'no_such_field', '1', ABORTS],
  ['CFG-2', '0.33.0', 'no_such_field', '1', ABORTS],
  ['CFG-2 a field newer than the release', '0.25.0', 'sparse_mla_force_mqa', 'true', ABORTS],
  ['CFG-2 the field of a later release', '0.26.0', 'sparse_mla_force_mqa', 'true', null],
  ['CFG-3', '0.13.0', 'flash_attn_version', '4', /Input should be 2 or 3/],
  ['CFG-3', '0.16.0', 'flash_attn_version', '4', /Input should be 2 or 3/],
  ['CFG-3 after', '0.20.0', 'flash_attn_version', '4', null],
  ['CFG-4', '0.17.0', 'flash_attn_version', '5', /Input should be 2, 3 or 4/],
  ['CFG-4', '0.33.0', 'flash_attn_version', '"4"', /Input should be 2, 3 or 4/],
  ['CFG-5', '0.33.0', 'backend', '"FLASHATTENTION"', /Start-up stops. Names of this release: .*FLASH_ATTN/],
  ['CFG-6', '0.28.0', 'use_prefill_decode_attention', 'true', null],
  ['CFG-6', '0.29.0', 'use_prefill_decode_attention', 'true', ABORTS],
  ['CFG-7', '0.21.0', 'use_cudnn_prefill', 'true', null],
  ['CFG-7', '0.22.0', 'use_cudnn_prefill', 'true', ABORTS],
  ['CFG-7', '0.22.0', 'use_trtllm_ragged_deepseek_prefill', 'true', ABORTS],
  ['CFG-7', '0.22.0', 'disable_flashinfer_prefill', 'true', ABORTS],
  ['CFG-8', '0.29.0', 'use_fp4_indexer_cache', 'true', null],
  ['CFG-8', '0.30.0', 'use_fp4_indexer_cache', 'true', ABORTS],
];

describe('rows of the reference: the attention config', () => {
  for (const [id, release, field, value, says] of ROWS) {
    test(`${id}: ${field}: ${value} in ${release}`, () => {
      const finding = configured(release, field, value);
      if (says === null) assert.equal(finding, undefined, finding?.detail);
      else assert.match(finding?.detail ?? '', says);
    });
  }
});

test('TRAP-13: a version that resolves to none is one finding', () => {
  for (const [flashAttnVersion, on] of [
    [3, [8, 0]],
    [4, [8, 0]],
    [4, [12, 0]],
  ] as const) {
    const { findings } = evaluate(ask('0.33.0', on, LLAMA, { backend: 'FLASH_ATTN', flashAttnVersion }));
    const errors = findings.filter((finding) => finding.severity === 'error').map((finding) => finding.code);
    assert.deepEqual(errors, ['flash-attn-version-unsupported'], `${flashAttnVersion} on ${on.join('.')}`);
  }
});

describe('rows of the reference: what vLLM says of its choice', () => {
  test('LOG-4: a fallback is in the debug log only; the finding holds the reasons that stand there', () => {
    for (const release of RELEASES.filter((each) => each.localeCompare('0.14.0', 'en', { numeric: true }) >= 0)) {
      const { findings } = evaluate(ask(release, [8, 0], GPT_OSS));
      const fallback = findings.find((finding) => finding.code === 'silent-fallback');
      assert.match(fallback?.detail ?? '', /only in its debug log\. Refused before it: FLASH_ATTN: /, release);
    }
  });

  test('LOG-5: vLLM warns of a block size since 0.18.0; before, nothing is kept out by it', () => {
    const warned = (release: Release): boolean =>
      evaluate(ask(release, [8, 0], LLAMA, { blockSize: 8 })).findings.some((finding) =>
        ['block-size-refused', 'block-size-precludes-backend'].includes(finding.code),
      );
    assert.deepEqual((['0.17.1', '0.18.0', '0.33.0'] as const).map(warned), [false, true, true]);
  });
});
