/** What is said of a set `flash_attn_version`: from the version each layer group resolved to, MLA prefill included. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ModelFacts, ServeSettings } from '../../../../extension/core/request';
import { evaluate } from '../../../../extension/core/rules/evaluate';
import type { Finding } from '../../../../extension/core/verdict';
import { ask, DEEPSEEK_V3, DEEPSEEK_V32, GEMMA4_TEXT, GPT_OSS, layer, LLAMA } from '../rules/evaluateFixtures';

type Capability = readonly [number, number];
const H: Capability = [9, 0];
const B: Capability = [10, 0];
const RTX: Capability = [12, 0];
const ALIBI: ModelFacts = { ...LLAMA, layerGroups: [layer({ headDim: 64, alibi: true })] };

/** Findings about the setting, and errors of any kind. */
function said(
  version: string,
  on: Capability,
  model: ModelFacts,
  flashAttnVersion: number,
  serve: Partial<ServeSettings> = {},
): readonly Finding[] {
  const { findings } = evaluate(ask(version, on, model, { ...serve, flashAttnVersion }));
  return findings.filter((each) => each.severity === 'error' || each.code.startsWith('flash-attn-version'));
}

const shown = (findings: readonly Finding[]): readonly string[] =>
  findings.map((each) => `${each.severity} ${each.code}`);

const UNSUPPORTED = 'error flash-attn-version-unsupported';
const NOTHING = 'info flash-attn-version-without-effect';
const PREFILL = 'info flash-attn-version-mla-prefill';

describe('a set flash_attn_version', () => {
  const rows: readonly [string, string, Capability, ModelFacts, number, readonly string[]][] = [
    ['resolves to none on FLASH_ATTN', '0.33.0', RTX, LLAMA, 4, [UNSUPPORTED]],
    ['is not asked for by FLASHINFER', '0.33.0', RTX, GPT_OSS, 4, [NOTHING]],
    ['ends at 2 with ALiBi (V4), which runs', '0.33.0', RTX, ALIBI, 4, []],
    ['ends at 2 on 12.x (V3), which runs', '0.33.0', RTX, LLAMA, 3, []],
    ['3 on 12.x was no version to 0.16.0', '0.16.0', RTX, LLAMA, 3, [UNSUPPORTED]],
    ['counts for MLA prefill', '0.33.0', H, DEEPSEEK_V3, 4, [PREFILL]],
    [
      'of a device without it, for MLA prefill',
      '0.33.0',
      RTX,
      DEEPSEEK_V3,
      4,
      ['warning flash-attn-version-mla-prefill'],
    ],
    ['before the MLA prefill selector', '0.20.2', H, DEEPSEEK_V3, 4, [PREFILL]],
    ['with sparse layers, whose prefill is not asked about', '0.33.0', H, DEEPSEEK_V32, 4, [PREFILL]],
    ['runs', '0.33.0', H, LLAMA, 3, []],
  ];
  for (const [what, version, on, model, set, expected] of rows) {
    test(`${what} (${version}, ${on.join('.')}, ${set})`, () => {
      assert.deepEqual(shown(said(version, on, model, set)), expected);
    });
  }

  test('names the layers that get no version, the reason, and the assertion where it is known', () => {
    const [finding] = said('0.33.0', RTX, LLAMA, 4);
    assert.match(finding?.title ?? '', /no FlashAttention version for d128/);
    assert.match(finding?.detail ?? '', /FA4 is only supported on devices .*"FlashAttention version not detected\."/);
    const [older] = said('0.13.0', [8, 0], LLAMA, 3);
    assert.equal(older?.code, 'flash-attn-version-unsupported');
    assert.doesNotMatch(older.detail, /not detected/);
  });

  test('is said to change nothing only where the backends are those of the setting left out', () => {
    // FA2 has no sinks: the setting itself keeps FLASH_ATTN out.
    assert.deepEqual(shown(said('0.33.0', H, GPT_OSS, 2)), []);
    assert.deepEqual(shown(said('0.20.2', H, GEMMA4_TEXT, 4)), [NOTHING]);
  });

  test('of MLA says what is known of prefill and what is not', () => {
    const detail = (version: string, on: Capability, model: ModelFacts): string =>
      said(version, on, model, 4)[0]?.detail ?? '';
    assert.match(detail('0.33.0', H, DEEPSEEK_V3), /Prefill of mla runs on the MLA prefill backend FLASH_ATTN/);
    assert.match(detail('0.33.0', RTX, DEEPSEEK_V3), /what prefill runs on then is not in the catalog/);
    assert.match(detail('0.20.2', H, DEEPSEEK_V3), /Which backend prefill of mla runs on is not in the catalog/);
  });

  test('changes nothing for MLA whose prefill does not run on FLASH_ATTN', () => {
    const found = said('0.33.0', B, DEEPSEEK_V3, 4, { mlaPrefillBackend: 'TRTLLM_RAGGED' });
    assert.deepEqual(shown(found), [NOTHING]);
    assert.match(found[0]?.detail ?? '', /under vLLM 0\.33\.0, nor does MLA prefill\. Remove the setting, unless/);
  });
});
