/** use_system_flash_attn: what releases do with it, what it would change, and the review findings of its change. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fieldEffect } from '../../../extension/core/catalog/configFields';
import { RELEASES } from '../../../extension/core/catalog/releases';
import { flagEffect, flagRows, SYSTEM_FLASH_ATTN_FIELD } from '../../../extension/core/flashAttnFlag';
import { UNKNOWN_AVAILABILITY } from '../../../extension/core/request';
import { ask, DEEPSEEK_V3, GEMMA4_TEXT, LLAMA } from './evaluateFixtures';

const codes = (...args: Parameters<typeof ask>): readonly string[] =>
  flagEffect(ask(...args)).findings.map((finding) => finding.code);

describe('use_system_flash_attn', () => {
  it('is declared by no release: ignored 0.13.0–0.15.1, start-up aborts from 0.16.0', () => {
    const effects = RELEASES.map((release) => fieldEffect(release, SYSTEM_FLASH_ATTN_FIELD));
    assert.ok(!effects.includes('declared'));
    const first = (effect: string) => RELEASES[effects.findIndex((entry) => entry === effect)];
    assert.equal(first('noConfigClass'), '0.11.1');
    assert.equal(first('ignored'), '0.13.0');
    assert.equal(first('aborts'), '0.16.0');
    assert.match(flagEffect(ask('0.33.0', [9, 0], LLAMA)).notes[0]?.text ?? '', /stops start-up/);
    assert.match(flagEffect(ask('0.15.1', [9, 0], LLAMA)).notes[0]?.text ?? '', /silently ignores/);
  });

  it('has one row per kind of model and generation', () => {
    const outcomes = (capability: readonly [number, number], system: string | false | null) =>
      flagRows(capability, system).map(
        (row) => `${row.mla ? 'mla' : 'plain'} FA${row.flashAttnVersion} ${row.outcome}`,
      );
    assert.deepEqual(outcomes([9, 0], null), [
      'mla FA2 fails',
      'mla FA3 fails',
      'mla FA4 fails',
      'plain FA2 unknown',
      'plain FA3 fails',
      'plain FA4 usesSystem',
    ]);
    assert.deepEqual(outcomes([10, 0], false), [
      'mla FA2 noEffect',
      'mla FA3 noEffect',
      'mla FA4 wrongResult',
      'plain FA2 unknown',
      'plain FA3 noEffect',
      'plain FA4 noEffect',
    ]);
  });

  it('makes the five review findings', () => {
    assert.ok(codes('0.33.0', [9, 0], DEEPSEEK_V3).includes('flag-mla-decode-fails'));
    assert.ok(codes('0.33.0', [10, 0], DEEPSEEK_V3).includes('flag-mla-no-qv'));
    const absent = { availability: { ...UNKNOWN_AVAILABILITY, systemFa4: false as const } };
    assert.ok(codes('0.33.0', [9, 0], GEMMA4_TEXT, {}, absent).includes('flag-library-missing'));
    assert.ok(codes('0.33.0', [9, 0], LLAMA, { flashAttnVersion: 4 }).includes('flag-host-time'));
    assert.ok(codes('0.33.0', [8, 0], LLAMA).includes('flag-without-effect'));
    assert.ok(codes('0.33.0', [9, 0], LLAMA).includes('flag-needs-fa4'));
  });

  it('accepts head size 512 where the release would not, and says that the kernel refuses', () => {
    const big = { ...LLAMA, layerGroups: LLAMA.layerGroups.map((group) => ({ ...group, headDim: 512 })) };
    const { selectionChanges, verdictChanges } = flagEffect(ask('0.19.0', [9, 0], big));
    assert.deepEqual(
      selectionChanges.map((change) => [change.from.backend, change.to.backend]),
      [['TRITON_ATTN', 'FLASH_ATTN']],
    );
    assert.ok(verdictChanges.some((change) => change.on.subject === 'FLASH_ATTN' && change.on.question === 'selects'));
  });

  it("does not depend on the request's own flag", () => {
    const off = flagEffect(ask('0.33.0', [9, 0], LLAMA));
    const on = flagEffect(ask('0.33.0', [9, 0], LLAMA, {}, { useSystemFlashAttn: true }));
    assert.deepEqual(on, off);
  });
});
