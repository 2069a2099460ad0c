/** The MLA prefill backend: order, reasons and errors of vLLM 0.21.0 on. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { assumeLibraries } from '../../../../extension/core/catalog/assumptions';
import { selectMlaPrefill, type MlaDimensions } from '../../../../extension/core/catalog/mlaPrefill';
import type { SelectorContext } from '../../../../extension/core/catalog/query';
import type { Release } from '../../../../extension/core/catalog/releases';
import { evaluate } from '../../../../extension/core/rules/evaluate';
import { UNKNOWN_AVAILABILITY } from '../../../../extension/core/request';
import { ask, DEEPSEEK_V3 } from '../rules/evaluateFixtures';

const context = (release: Release, capability: readonly [number, number]): SelectorContext => ({
  release,
  capability,
  libraries: assumeLibraries(release, UNKNOWN_AVAILABILITY).libraries,
  flashAttnVersion: null,
  useTrtllmAttention: null,
  batchInvariant: false,
  cacheDtype: 'auto',
  prefillContextParallelSize: 1,
  decodeContextParallelSize: 1,
  model: null,
});
const pick = (
  release: Release,
  capability: readonly [number, number],
  dimensions: MlaDimensions,
  asked: string | null = null,
) => selectMlaPrefill(asked, dimensions, 'bfloat16', context(release, capability));

describe('MLA prefill backend', () => {
  const rows: readonly [Release, readonly [number, number], MlaDimensions, string | null][] = [
    ['0.21.0', [10, 0], [128, 64, 128], 'FLASH_ATTN'],
    ['0.33.0', [9, 0], [128, 64, 128], 'FLASH_ATTN'],
    ['0.33.0', [10, 0], [192, 64, 256], 'TRTLLM_RAGGED'],
    ['0.26.0', [10, 0], [192, 64, 256], 'TRTLLM_RAGGED'],
    ['0.25.0', [10, 0], [192, 64, 256], 'FLASH_ATTN'],
    ['0.26.0', [9, 0], [192, 64, 256], 'FLASH_ATTN'],
    ['0.29.0', [9, 0], [256, 0, 256], null],
    ['0.30.0', [9, 0], [256, 0, 256], 'FLASH_ATTN'],
    ['0.25.1', [9, 0], [64, 32, 64], 'FLASH_ATTN'],
    ['0.26.0', [9, 0], [64, 32, 64], null],
  ];
  for (const [release, capability, dimensions, expected] of rows) {
    it(`${release} on ${capability.join('.')} ${dimensions.join('/')} → ${String(expected)}`, () => {
      assert.equal(pick(release, capability, dimensions)?.backend, expected);
    });
  }

  it('does not exist before 0.21.0', () => {
    assert.equal(pick('0.20.2', [10, 0], [128, 64, 128]), null);
  });

  it("refuses an explicit one with vLLM's words and replaces nothing", () => {
    const refused = pick('0.33.0', [9, 0], [128, 64, 128], 'trtllm_ragged');
    assert.equal(refused?.backend, null);
    assert.match(
      refused?.error ?? '',
      /TRTLLM_RAGGED is not valid for this configuration\. Reason: \['compute capability 9\.0 not supported'\]/,
    );
    assert.match(pick('0.33.0', [9, 0], [128, 64, 128], 'NOPE')?.error ?? '', /^Unknown MLA prefill backend/);
    const [selection] = evaluate(ask('0.33.0', [9, 0], DEEPSEEK_V3, { mlaPrefillBackend: 'FLASHINFER' })).selections;
    assert.equal(selection?.answer, 'no');
    assert.equal(selection?.backend, null);
  });
});
