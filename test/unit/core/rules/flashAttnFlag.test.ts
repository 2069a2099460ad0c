/** use_system_flash_attn: what releases do with it, what it would change, and the review findings of its change. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fieldEffect } from '../../../../extension/core/catalog/configFields';
import { RELEASES } from '../../../../extension/core/catalog/releases';
import { flagEffect, flagRows, SYSTEM_FLASH_ATTN_FIELD } from '../../../../extension/core/rules/flashAttnFlag';
import { UNKNOWN_AVAILABILITY } from '../../../../extension/core/request';
import { ask, DEEPSEEK_V3, GEMMA4_TEXT, GEMMA4_VISION, GPT_OSS, layer, LLAMA } from './evaluateFixtures';

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

  it('says that system FA4 is called for head size 512 on Hopper and refuses it', () => {
    const installed = { availability: { ...UNKNOWN_AVAILABILITY, systemFa4: '4.0.0b30' } };
    const effect = flagEffect(ask('0.33.0', [9, 0], GEMMA4_TEXT, {}, installed));
    const [refused, ...more] = effect.findings.filter((finding) => finding.code === 'flag-system-fa4-refuses');
    assert.deepEqual(more, []);
    assert.match(refused?.title ?? '', /full_attention/);
    assert.match(
      refused?.detail ?? '',
      /refuses it: flash-attn-4 4\.0\.0b30 takes head sizes 8 to 256 on 9\.x, not 512\./,
    );
    assert.match(
      refused?.detail ?? '',
      /Every flash-attn-4 up to 4\.0\.0b36 .* Measured on one H200: 4\.0\.0b36 refuses/,
    );
    assert.match(refused?.detail ?? '', / Turn the flag off: the FA4 inside vLLM takes head size 512 .*\.$/);
    assert.equal(refused?.source?.where, 'flash-attn-4 4.0.0b30 flash_attn/cute/interface.py');
    assert.ok(effect.on.findings.some((finding) => finding.id === refused?.id));
    assert.ok(!effect.on.findings.some((finding) => finding.code === 'selected-but-fails'));
    assert.ok(!effect.off.findings.some((finding) => finding.code.startsWith('flag-')));
    const notes = effect.notes.filter((note) => note.text.includes('refuses it'));
    assert.deepEqual(
      notes.map((note) => note.source),
      ['flash-attn-4 4.0.0b30 flash_attn/cute/interface.py'],
    );
  });

  it('says nothing of a refusal where the library is absent, takes the head size, or is unknown', () => {
    const refusals = (capability: readonly [number, number], systemFa4: string | false | null, headDim: number) =>
      flagEffect(
        ask(
          '0.33.0',
          capability,
          { ...LLAMA, layerGroups: [layer({ headDim })] },
          { flashAttnVersion: 4 },
          { availability: { ...UNKNOWN_AVAILABILITY, systemFa4 } },
        ),
      ).findings.filter((finding) => finding.code === 'flag-system-fa4-refuses').length;
    assert.equal(refusals([9, 0], null, 512), 1);
    assert.equal(refusals([9, 0], false, 512), 0);
    assert.equal(refusals([9, 0], '4.0.0b36', 256), 0);
    assert.equal(refusals([9, 0], '4.0.0b99', 512), 0);
    assert.equal(refusals([12, 0], '4.0.0b36', 128), 0);
  });

  it('warns of split-KV on Hopper where system FA4 takes the layer', () => {
    const forced = { flashAttnVersion: 4 };
    const of = (capability: readonly [number, number]) =>
      flagEffect(ask('0.33.0', capability, LLAMA, forced)).findings.find(
        (finding) => finding.code === 'flag-system-fa4-split-kv',
      );
    assert.match(of([9, 0])?.detail ?? '', /"SplitKV not supported on SM 9\.0" for d128\. Measured on one H200/);
    assert.equal(of([10, 0]), undefined);
  });

  it('treats a composite by its FLASH_ATTN child', () => {
    const vision = flagEffect(ask('0.33.0', [9, 0], GEMMA4_VISION));
    assert.deepEqual([...new Set(vision.on.selections.map((selection) => selection.backend))], ['TRITON_FLASH_ATTN']);
    const found = vision.findings.map((finding) => finding.code);
    assert.ok(!found.includes('flag-without-effect'));
    assert.ok(found.includes('flag-system-fa4-refuses'));
    const fa3 = codes('0.33.0', [9, 0], GEMMA4_VISION, { flashAttnVersion: 3 });
    assert.ok(fa3.includes('flag-needs-fa4'), fa3.join());
  });

  it('names no FA4 outcome on a GPU that gets none', () => {
    for (const capability of [
      [8, 0],
      [12, 0],
    ] as const) {
      assert.ok(!codes('0.33.0', capability, DEEPSEEK_V3).includes('flag-mla-no-qv'));
      const fa4 = flagRows(capability, null).filter((row) => row.flashAttnVersion === 4);
      assert.deepEqual(
        fa4.map((row) => row.outcome),
        ['noEffect', 'noEffect'],
      );
    }
  });

  it('ends every sentence of every finding, before the next step too', () => {
    for (const capability of [
      [8, 0],
      [9, 0],
      [10, 0],
      [12, 0],
    ] as const) {
      for (const release of ['0.14.1', '0.19.1', '0.24.0', '0.33.0']) {
        for (const facts of [LLAMA, GEMMA4_TEXT, GEMMA4_VISION, GPT_OSS, DEEPSEEK_V3]) {
          const { findings, on, off } = flagEffect(ask(release, capability, facts));
          for (const { detail } of [...findings, ...on.findings, ...off.findings]) {
            assert.match(detail, /[.!?]$/, detail);
            assert.doesNotMatch(
              detail,
              /[^.!?:"'(]\s(Choose|Turn|Remove|Set|Use|Compare|Consider|Install) [a-z]/,
              detail,
            );
            assert.doesNotMatch(detail, /\.\./, detail);
          }
        }
      }
    }
  });

  it("does not depend on the request's own flag", () => {
    const off = flagEffect(ask('0.33.0', [9, 0], LLAMA));
    const on = flagEffect(ask('0.33.0', [9, 0], LLAMA, {}, { useSystemFlashAttn: true }));
    assert.deepEqual(on, off);
  });
});
