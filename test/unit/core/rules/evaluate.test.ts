/** What known models get on known GPUs, release by release; properties that must hold for any request. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { RELEASES } from '../../../../extension/core/catalog/releases';
import { evaluate, selectionChanges } from '../../../../extension/core/rules/evaluate';
import { UNKNOWN_AVAILABILITY, type ModelFacts, type ServeSettings } from '../../../../extension/core/request';
import {
  ask,
  DEEPSEEK_V3,
  DEEPSEEK_V32,
  DEEPSEEK_V32_TP8,
  GEMMA4_TEXT,
  GEMMA4_VISION,
  GPT_OSS,
  layer,
  LLAMA,
} from './evaluateFixtures';

type Capability = readonly [number, number];

/** Backend (and FA version) of every layer group, e.g. `FLASH_ATTN/3 FLASH_ATTN/4`. */
function chosen(
  version: string,
  capability: Capability,
  model: ModelFacts,
  serve: Partial<ServeSettings> = {},
): string {
  return evaluate(ask(version, capability, model, serve))
    .selections.map((selection) =>
      selection.backend === null
        ? selection.answer === 'no'
          ? 'none'
          : 'unknown'
        : `${selection.backend}${selection.flashAttnVersion === null ? '' : `/${selection.flashAttnVersion}`}`,
    )
    .join(' ');
}

const H: Capability = [9, 0];
const B: Capability = [10, 0];
const A: Capability = [8, 0];
const RTX: Capability = [12, 0];

describe('known models', () => {
  const rows: readonly [string, Capability, ModelFacts, Partial<ServeSettings>, string][] = [
    ['0.33.0', H, LLAMA, {}, 'FLASH_ATTN/3'],
    ['0.33.0', A, LLAMA, {}, 'FLASH_ATTN/2'],
    ['0.33.0', B, LLAMA, {}, 'FLASHINFER'],
    ['0.33.0', RTX, LLAMA, {}, 'FLASH_ATTN/2'],
    ['0.33.0', [7, 5], LLAMA, {}, 'TRITON_ATTN'],
    ['0.19.0', H, GEMMA4_TEXT, {}, 'TRITON_ATTN TRITON_ATTN'],
    ['0.23.0', B, GEMMA4_VISION, {}, 'TRITON_ATTN TRITON_ATTN'],
    ['0.33.0', A, GEMMA4_TEXT, {}, 'TRITON_ATTN TRITON_ATTN'],
    ['0.24.0', RTX, GEMMA4_TEXT, {}, 'TRITON_ATTN TRITON_ATTN'],
    ['0.24.0', H, GEMMA4_TEXT, {}, 'FLASH_ATTN/4 FLASH_ATTN/4'],
    ['0.33.0', H, GEMMA4_TEXT, {}, 'FLASH_ATTN/4 FLASH_ATTN/4'],
    ['0.30.0', H, GEMMA4_VISION, {}, 'TRITON_FLASH_ATTN/4 TRITON_FLASH_ATTN/4'],
    ['0.30.0', H, GEMMA4_TEXT, { kvCacheDtype: 'fp8' }, 'FLASHINFER FLASHINFER'],
    ['0.31.0', H, GEMMA4_TEXT, { kvCacheDtype: 'fp8' }, 'FLASH_ATTN/3 FLASH_ATTN/4'],
    ['0.30.0', H, GEMMA4_VISION, { kvCacheDtype: 'fp8' }, 'TRITON_ATTN TRITON_ATTN'],
    ['0.31.0', H, GEMMA4_VISION, { kvCacheDtype: 'fp8' }, 'TRITON_FLASH_ATTN/3 TRITON_FLASH_ATTN/4'],
    ['0.33.0', B, GEMMA4_TEXT, {}, 'FLASHINFER FLASHINFER'],
    ['0.29.0', B, GEMMA4_VISION, {}, 'TRITON_ATTN TRITON_ATTN'],
    ['0.30.0', B, GEMMA4_VISION, {}, 'TRITON_FLASHINFER TRITON_FLASHINFER'],
    ['0.11.1', H, GPT_OSS, {}, 'FLASH_ATTN/3 FLASH_ATTN/3'],
    ['0.33.0', H, GPT_OSS, {}, 'FLASH_ATTN/3 FLASH_ATTN/3'],
    ['0.33.0', B, GPT_OSS, {}, 'FLASHINFER FLASHINFER'],
    ['0.33.0', A, GPT_OSS, {}, 'TRITON_ATTN TRITON_ATTN'],
    ['0.27.1', RTX, GPT_OSS, {}, 'TRITON_ATTN TRITON_ATTN'],
    ['0.28.0', RTX, GPT_OSS, {}, 'FLASHINFER FLASHINFER'],
    ['0.33.0', H, DEEPSEEK_V3, {}, 'FLASH_ATTN_MLA'],
    ['0.33.0', H, DEEPSEEK_V3, { kvCacheDtype: 'fp8' }, 'FLASHMLA'],
    ['0.14.1', B, DEEPSEEK_V3, {}, 'CUTLASS_MLA'],
    ['0.15.0', B, DEEPSEEK_V3, {}, 'FLASHINFER_MLA'],
    ['0.33.0', A, DEEPSEEK_V3, {}, 'TRITON_MLA'],
    ['0.17.1', A, DEEPSEEK_V3, { kvCacheDtype: 'fp8' }, 'none'],
    ['0.18.0', RTX, DEEPSEEK_V3, { kvCacheDtype: 'fp8' }, 'TRITON_MLA'],
    ['0.24.0', H, DEEPSEEK_V32, {}, 'FLASHMLA_SPARSE'],
    ['0.25.0', H, DEEPSEEK_V32, {}, 'FLASH_ATTN_MLA_SPARSE'],
    ['0.23.0', RTX, DEEPSEEK_V32, {}, 'none'],
    ['0.24.0', RTX, DEEPSEEK_V32, {}, 'FLASHINFER_MLA_SPARSE_SM120'],
    ['0.33.0', B, DEEPSEEK_V32_TP8, {}, 'FLASH_ATTN_MLA_SPARSE_FA4'],
    ['0.33.0', B, DEEPSEEK_V32, {}, 'FLASHMLA_SPARSE'],
    ['0.33.0', A, DEEPSEEK_V32, {}, 'none'],
  ];
  for (const [version, capability, model, serve, expected] of rows) {
    const settings = Object.entries(serve).map(([key, value]) => ` ${key}=${JSON.stringify(value)}`);
    it(`${version} on ${capability.join('.')}: ${model.modelType ?? ''}${settings.join('')} → ${expected}`, () => {
      assert.equal(chosen(version, capability, model, serve), expected);
    });
  }

  it('gpt-oss without cubins on 10.x falls to FA4, before 0.20.0 to Triton', () => {
    const availability = { ...UNKNOWN_AVAILABILITY, flashinferCubins: false };
    const backends = (version: string) =>
      evaluate(ask(version, B, GPT_OSS, {}, { availability })).selections.map(
        (s) => `${s.backend}/${s.flashAttnVersion}`,
      );
    assert.deepEqual(backends('0.33.0'), ['FLASH_ATTN/4', 'FLASH_ATTN/4']);
    assert.deepEqual(backends('0.19.0'), ['TRITON_ATTN/null', 'TRITON_ATTN/null']);
  });
});

describe('an explicit backend', () => {
  it('is never replaced', () => {
    const { selections, findings } = evaluate(ask('0.33.0', B, DEEPSEEK_V3, { backend: 'FLASHMLA' }));
    assert.equal(selections[0]?.backend, null);
    assert.equal(selections[0]?.answer, 'no');
    assert.match(selections[0]?.error ?? '', /^Selected backend AttentionBackendEnum\.FLASHMLA is not valid/);
    assert.ok(findings.some((finding) => finding.code === 'explicit-backend-refused'));
  });

  it('of one kind applies to that kind only', () => {
    const { selections } = evaluate(ask('0.33.0', H, GPT_OSS, { backendPerKind: { sliding_window: 'TRITON_ATTN' } }));
    assert.deepEqual(
      selections.map((selection) => selection.backend),
      ['TRITON_ATTN', 'FLASH_ATTN'],
    );
  });

  it('that no release knows stops start-up with the names that exist', () => {
    const { selections, findings } = evaluate(ask('0.33.0', H, LLAMA, { backend: 'FLASHATTENTION' }));
    assert.match(
      selections[0]?.error ?? '',
      /^Unknown attention backend: 'FLASHATTENTION'\. Valid options are: FLASH_ATTN, /,
    );
    assert.ok(findings.some((finding) => finding.code === 'unknown-backend'));
  });
});

describe('block size', () => {
  const blocks = (version: string, capability: Capability, model: ModelFacts, serve: Partial<ServeSettings> = {}) =>
    evaluate(ask(version, capability, model, serve)).selections.map((selection) => selection.blockSize);
  it('is 16 by default and what the backends need otherwise', () => {
    assert.deepEqual(blocks('0.33.0', H, LLAMA), [16]);
    assert.deepEqual(blocks('0.33.0', H, DEEPSEEK_V3, { backend: 'FLASHMLA' }), [64]);
    assert.deepEqual(blocks('0.33.0', B, DEEPSEEK_V3), [32]);
    assert.deepEqual(blocks('0.33.0', B, GEMMA4_VISION), [64, 64]);
    assert.deepEqual(blocks('0.33.0', H, LLAMA, { blockSize: 64 }), [64]);
    assert.deepEqual(blocks('0.31.0', H, GEMMA4_TEXT, { kvCacheDtype: 'fp8' }), [64, 64]);
    assert.deepEqual(blocks('0.17.1', H, DEEPSEEK_V3), [64]);
    assert.deepEqual(blocks('0.17.1', H, DEEPSEEK_V3, { backend: 'TRITON_MLA' }), [16]);
    assert.deepEqual(blocks('0.14.1', B, DEEPSEEK_V3), [128]);
    assert.deepEqual(blocks('0.15.0', B, DEEPSEEK_V3), [64]);
    assert.deepEqual(blocks('0.17.1', A, DEEPSEEK_V3), [16]);
    assert.deepEqual(blocks('0.16.0', H, DEEPSEEK_V32, { blockSize: 128 }), [64]);
  });
  it('that keeps a better backend out is a finding', () => {
    const { selections, findings } = evaluate(ask('0.33.0', B, LLAMA, { blockSize: 24 }));
    assert.notEqual(selections[0]?.backend, 'FLASHINFER');
    assert.equal(selections[0]?.answer, 'no');
    assert.ok(findings.some((finding) => finding.code === 'no-valid-backend'));
    const kept = evaluate(ask('0.33.0', H, layerModel(), { blockSize: 48, kvCacheDtype: 'auto' }));
    assert.equal(kept.selections[0]?.backend, 'FLASH_ATTN');
  });
});

function layerModel(): ModelFacts {
  return { ...LLAMA, layerGroups: [layer({ headDim: 128 })] };
}

describe('model traits', () => {
  it('a hybrid model has no established block size, and says so', () => {
    const hybrid = { ...LLAMA, architecture: 'Qwen3NextForCausalLM' };
    const { selections, assumptions } = evaluate(ask('0.33.0', H, hybrid));
    assert.equal(selections[0]?.backend, 'FLASH_ATTN');
    assert.equal(selections[0].blockSize, null);
    assert.ok(assumptions.some((text) => text.includes('Mamba state')));
  });
  it('a diffusion model gets FA4 on Hopper from 0.24.0 on', () => {
    const diffusion = { ...LLAMA, isDiffusion: true };
    assert.equal(chosen('0.23.0', H, diffusion), 'FLASH_ATTN/3');
    assert.equal(chosen('0.24.0', H, diffusion), 'FLASH_ATTN/4');
  });
  it('rolling windows are refused by FLASHINFER from 0.30.0 on', () => {
    const rolling = { ...LLAMA, rswaWindow: 128 };
    assert.equal(chosen('0.29.0', B, rolling), 'FLASHINFER');
    assert.equal(chosen('0.30.0', B, rolling), 'FLASH_ATTN/4');
  });
});

describe('what passes the validator and then fails', () => {
  const codes = (version: string, capability: Capability, model: ModelFacts, serve: Partial<ServeSettings> = {}) =>
    evaluate(ask(version, capability, model, serve)).findings.map((finding) => finding.code);
  it('FA4 on Hopper in 0.17–0.19 refuses paged KV', () => {
    const { verdicts } = evaluate(ask('0.19.0', H, LLAMA, { flashAttnVersion: 4 }));
    const works = verdicts.find((verdict) => verdict.subject === 'FLASH_ATTN' && verdict.question === 'works');
    assert.equal(works?.answer, 'no');
    assert.match(works?.reasons[0]?.text ?? '', /FA4 with paged KV is not supported on SM90/);
    assert.ok(codes('0.19.0', H, LLAMA, { flashAttnVersion: 4 }).includes('selected-but-fails'));
    assert.ok(!codes('0.20.0', H, LLAMA, { flashAttnVersion: 4 }).includes('selected-but-fails'));
  });
  it('head 512 on 10.x through an explicit FLASH_ATTN ends at FA2', () => {
    const big: ModelFacts = { ...LLAMA, layerGroups: [layer({ headDim: 512 })] };
    assert.ok(codes('0.33.0', B, big, { backend: 'FLASH_ATTN' }).includes('selected-but-fails'));
    assert.ok(codes('0.33.0', H, big, { flashAttnVersion: 2 }).includes('selected-but-fails'));
  });
  it('FlashInfer crashes on sliding windows on Hopper in 0.25–0.29 only', () => {
    const fp8 = { kvCacheDtype: 'fp8' };
    assert.ok(codes('0.25.0', H, GEMMA4_TEXT, fp8).includes('selected-but-fails'));
    assert.ok(codes('0.29.0', H, GEMMA4_TEXT, fp8).includes('selected-but-fails'));
    assert.ok(!codes('0.31.0', H, GEMMA4_TEXT, fp8).includes('selected-but-fails'));
  });
  it('a version the device cannot run resolves to none', () => {
    assert.ok(codes('0.33.0', A, LLAMA, { flashAttnVersion: 4 }).includes('flash-attn-version-unsupported'));
  });
});

describe('versions', () => {
  it('says when the rules of another release were used', () => {
    assert.equal(evaluate(ask('0.33.0', H, LLAMA)).catalog.match, 'exact');
    const newer = evaluate(ask('0.40.1', H, LLAMA));
    assert.deepEqual([newer.catalog.match, newer.catalog.evaluatedAs], ['newer', '0.33.0']);
    assert.ok(newer.assumptions.some((text) => text.includes('newer than the catalog')));
    for (const version of ['0.33.1.dev12+g1234abc', '0.34.0rc1', '0.11.1.dev3', 'main']) {
      assert.equal(evaluate(ask(version, H, LLAMA)).catalog.match, 'development', version);
    }
    const old = evaluate(ask('0.10.2', H, LLAMA));
    assert.equal(old.catalog.match, 'tooOld');
    assert.equal(old.selections[0]?.answer, 'unknown');
  });
  it('takes wheel builds with a local label for the release they are', () => {
    assert.equal(evaluate(ask('0.33.0+cu129', H, LLAMA)).catalog.match, 'exact');
  });
  it('lists the layer groups that another release changes', () => {
    const changes = selectionChanges(evaluate(ask('0.23.0', H, GEMMA4_TEXT)), evaluate(ask('0.24.0', H, GEMMA4_TEXT)));
    assert.deepEqual(
      changes.map((change) => [change.from.backend, change.to.backend]),
      [
        ['TRITON_ATTN', 'FLASH_ATTN'],
        ['TRITON_ATTN', 'FLASH_ATTN'],
      ],
    );
  });
});

describe('any request', () => {
  const capabilities: readonly Capability[] = [
    [7, 0],
    [7, 5],
    A,
    [8, 6],
    [8, 7],
    [8, 9],
    H,
    B,
    [10, 3],
    [11, 0],
    RTX,
    [12, 1],
  ];
  const models = [LLAMA, GEMMA4_TEXT, GEMMA4_VISION, GPT_OSS, DEEPSEEK_V3, DEEPSEEK_V32_TP8];
  const settings: readonly Partial<ServeSettings>[] = [
    {},
    { kvCacheDtype: 'fp8' },
    { backend: 'FLASH_ATTN' },
    { backend: 'FLASHINFER', blockSize: 32 },
    { flashAttnVersion: 4 },
    { batchInvariant: true },
    { decodeContextParallelSize: 2 },
  ];
  it('gets verdicts that agree with their reasons and with the selection', () => {
    for (const release of RELEASES) {
      for (const capability of capabilities) {
        for (const model of models) {
          for (const serve of settings) {
            const { selections, verdicts } = evaluate(ask(release, capability, model, serve));
            const at = `${release} ${capability.join('.')} ${model.modelType ?? ''} ${JSON.stringify(serve)}`;
            for (const verdict of verdicts) {
              assert.ok(verdict.reasons.length > 0, `${at}: ${verdict.subject} ${verdict.question} without a reason`);
            }
            for (const selection of selections) {
              const winners = verdicts.filter(
                (verdict) =>
                  verdict.question === 'selects' &&
                  verdict.layerGroup === selection.layerGroup &&
                  verdict.answer === 'yes',
              );
              assert.deepEqual(
                winners.map((verdict) => verdict.subject),
                selection.backend === null || selection.error !== null ? [] : [selection.backend],
                at,
              );
              if (serve.backend !== undefined && selection.backend !== null) {
                assert.equal(selection.backend, serve.backend, at);
              }
              assert.equal(selection.answer === 'no', selection.error !== null, at);
            }
          }
        }
      }
    }
  });
});

describe('a backend that the release sets itself', () => {
  it('is not said to have been asked for, and a forced fallback is a finding with the rewrite', () => {
    const { selections, findings, verdicts } = evaluate(ask('0.19.1', [9, 0], GEMMA4_TEXT));
    assert.ok(selections.every((selection) => selection.backend === 'TRITON_ATTN' && !selection.explicit));
    assert.ok(
      selections.every((selection) => selection.reasons.some((reason) => reason.text.includes('set by the release'))),
    );
    const forced = findings.filter((finding) => finding.code === 'forced-fallback');
    assert.equal(forced.length, 1);
    assert.match(forced[0]?.detail ?? '', /forces TRITON_ATTN on every GPU\. Compare releases/);
    assert.ok(!findings.some((finding) => finding.code === 'silent-fallback'));
    const other = verdicts.find((verdict) => verdict.subject === 'FLASH_ATTN' && verdict.question === 'selects');
    assert.match(other?.reasons[0]?.text ?? '', /valid, but TRITON_ATTN is set, so nothing else is tried/);
  });

  it('is asked for when the user sets it', () => {
    const { selections, findings } = evaluate(ask('0.19.1', [9, 0], GEMMA4_TEXT, { backend: 'TRITON_ATTN' }));
    assert.ok(selections.every((selection) => selection.explicit));
    assert.ok(!findings.some((finding) => finding.code === 'forced-fallback'));
  });

  it('says of auto before 0.18.0 that it is no name, and not that the release set it', () => {
    const { findings, selections } = evaluate(ask('0.17.1', H, LLAMA, { backend: 'auto' }));
    assert.deepEqual(
      findings.map((finding) => finding.code),
      ['unknown-backend'],
    );
    assert.match(findings[0]?.detail ?? '', /auto is taken from 0\.18\.0 on/);
    assert.equal(selections[0]?.answer, 'no');
  });

  it('is told from one of the user that is spelled auto', () => {
    const { selections, findings } = evaluate(ask('0.20.2', H, GEMMA4_TEXT, { backend: 'auto' }));
    assert.ok(selections.every((selection) => selection.backend === 'TRITON_ATTN' && !selection.explicit));
    assert.ok(findings.some((finding) => finding.code === 'forced-fallback'));
  });

  it('a variable is read with its own capitals up to 0.12.0', () => {
    const { findings } = evaluate(ask('0.12.0', H, LLAMA, { backend: 'flash_attn' }));
    assert.deepEqual(
      findings.map((finding) => finding.code),
      ['unknown-backend'],
    );
    assert.match(findings[0]?.title ?? '', /no backend flash_attn$/);
  });
});
