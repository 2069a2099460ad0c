/** The declared matrix: what its rows say per SM family, with and without the what-if flag. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { RELEASES } from '../../../../extension/core/catalog/releases';
import {
  columnsText,
  declaredMatrix,
  matrixColumns,
  type MatrixRequest,
} from '../../../../extension/core/rules/matrix';
import { UNKNOWN_AVAILABILITY, type EvaluateRequest, type ModelFacts } from '../../../../extension/core/request';
import { ask, DEEPSEEK_V3, DEEPSEEK_V32, GEMMA4_VISION, GPT_OSS, layer, LLAMA } from './evaluateFixtures';

interface Change extends Partial<
  Pick<EvaluateRequest, 'vllmVersion' | 'capability' | 'useSystemFlashAttn' | 'availability'>
> {
  readonly dtype?: 'bfloat16' | 'float16';
  readonly kvCacheDtype?: string;
}

const HEAD_DIMS = [64, 128, 256, 512, 576];

/** Head sizes alone; 576 as latent attention. */
const request = (change: Change = {}): MatrixRequest => {
  const { dtype = 'bfloat16', kvCacheDtype = 'auto', vllmVersion = '0.33.0', capability = [9, 0], ...rest } = change;
  return {
    request: ask(vllmVersion, capability, { ...LLAMA, layerGroups: [] }, { kvCacheDtype }, rest),
    columns: matrixColumns(HEAD_DIMS, [], false).map((column) => ({ ...column, mla: column.headDim === 576 })),
    pageSizes: [16, 128, null],
    dtype,
  };
};

/** The head sizes of a model, with its layers as they are. */
const ofModel = (
  model: ModelFacts,
  capability: readonly [number, number],
  vllmVersion = '0.33.0',
  headDims = [...new Set(model.layerGroups.map((group) => group.headDim))],
): MatrixRequest => ({
  request: ask(vllmVersion, capability, model),
  columns: matrixColumns(headDims, model.layerGroups, false),
  pageSizes: [16, null],
  dtype: 'bfloat16',
});

/** `selects works`, e.g. `yes no`. */
function cell(asked: MatrixRequest, subject: string, headDim: number, pageSize: number | null): string {
  const found = declaredMatrix(asked).cells.find(
    (entry) => entry.subject === subject && entry.headDim === headDim && entry.pageSize === pageSize,
  );
  assert.ok(found, `${subject} ${headDim} ${String(pageSize)}`);
  return `${found.selects.answer} ${found.works.answer}`;
}

describe('declared matrix', () => {
  const rows: readonly [string, Change, string, number, number | null, string][] = [
    ['FA3 stops at 256', {}, 'FLASH_ATTN.FA3', 256, 16, 'yes yes'],
    ['FA3 at 512 is upgraded', {}, 'FLASH_ATTN.FA3', 512, 16, 'no no'],
    ['vendored FA4 takes 512 on Hopper', {}, 'FLASH_ATTN.FA4', 512, 16, 'yes yes'],
    ['FA2 at 512 passes the validator and not the kernel', {}, 'FLASH_ATTN.FA2', 512, 16, 'yes no'],
    ['system FA4 is reached by no release', {}, 'fa4.system', 128, 16, 'no yes'],
    ['system FA4 refuses 512 on Hopper', {}, 'fa4.system', 512, 16, 'no no'],
    ['FLASHINFER lists 512; outside trtllm it is not known to run', {}, 'FLASHINFER', 512, 16, 'yes unknown'],
    ['FLASHINFER runs 512 through trtllm', { capability: [10, 0] }, 'FLASHINFER', 512, 16, 'yes yes'],
    ['FA4 256 on Blackwell wants 128-token pages', { capability: [10, 0] }, 'FLASH_ATTN.FA4', 256, 16, 'no no'],
    ['which then work', { capability: [10, 0] }, 'FLASH_ATTN.FA4', 256, 128, 'yes yes'],
    ['but were off in 0.28.0', { capability: [10, 0], vllmVersion: '0.28.0' }, 'FLASH_ATTN.FA4', 256, 128, 'no no'],
    ['FA4 on Hopper has no pages in 0.19.1', { vllmVersion: '0.19.1' }, 'FLASH_ATTN.FA4', 128, 16, 'yes no'],
    ['no FA4 in 0.16.0', { vllmVersion: '0.16.0' }, 'FLASH_ATTN.FA4', 128, 16, 'no no'],
    ['no FA4 on 12.x', { capability: [12, 0] }, 'FLASH_ATTN.FA4', 128, 16, 'no no'],
    ['no FLASH_ATTN on Turing', { capability: [7, 5] }, 'FLASH_ATTN.FA2', 128, 16, 'no no'],
    ['Triton on Turing', { capability: [7, 5], dtype: 'float16' }, 'TRITON_ATTN', 128, 16, 'yes yes'],
    [
      'Triton at 512 needs more shared memory than Turing has',
      { capability: [7, 5], dtype: 'float16' },
      'TRITON_ATTN',
      512,
      16,
      'yes no',
    ],
    ['FLASHMLA wants 64-token pages', {}, 'FLASHMLA', 576, 16, 'no no'],
    ['FLASHMLA on Hopper', {}, 'FLASHMLA', 576, 128, 'yes yes'],
    ['dense FLASHMLA not on Blackwell', { capability: [10, 0] }, 'FLASHMLA', 576, 128, 'no no'],
    ['TURBOQUANT only with its dtypes', {}, 'TURBOQUANT', 128, 16, 'no no'],
    ['and then', { kvCacheDtype: 'turboquant_k8v4' }, 'TURBOQUANT', 128, 16, 'yes yes'],
    ['FP8 KV through FA3', { kvCacheDtype: 'fp8' }, 'FLASH_ATTN.FA3', 128, 16, 'yes yes'],
    [
      'FP8 e5m2 passed the validator up to 0.21.0',
      { kvCacheDtype: 'fp8_e5m2', vllmVersion: '0.21.0' },
      'FLASH_ATTN.FA3',
      128,
      16,
      'yes no',
    ],
  ];
  for (const [title, change, subject, headDim, pageSize, expected] of rows) {
    it(`${title}: ${subject} ${headDim} page ${String(pageSize)} → ${expected}`, () => {
      assert.equal(cell(request(change), subject, headDim, pageSize), expected);
    });
  }

  it('with the flag on, FA3 breaks and version 4 means the system library', () => {
    const on = { useSystemFlashAttn: true };
    assert.equal(cell(request(on), 'FLASH_ATTN.FA3', 128, 16), 'yes no');
    assert.equal(cell(request(on), 'fa4.system', 128, 16), 'yes yes');
    assert.equal(cell(request(on), 'fa4.system', 512, 16), 'yes no');
    assert.equal(cell(request(on), 'FLASH_ATTN.FA4', 128, 16), 'unknown yes');
    const installed = { ...on, availability: { ...UNKNOWN_AVAILABILITY, systemFa4: '4.0.0b36' } };
    assert.equal(cell(request(installed), 'FLASH_ATTN.FA4', 128, 16), 'no yes');
    const absent = { ...on, availability: { ...UNKNOWN_AVAILABILITY, systemFa4: false as const } };
    assert.equal(cell(request(absent), 'FLASH_ATTN.FA4', 128, 16), 'yes yes');
    assert.equal(cell(request(absent), 'fa4.system', 128, 16), 'yes no');
    assert.equal(cell(request(on), 'FLASH_ATTN_MLA', 576, 16), 'yes no');
  });

  it('asks MLA backends for an MLA layer, and shows no other backend there', () => {
    const asked = ofModel(DEEPSEEK_V3, [9, 0]);
    assert.equal(cell(asked, 'FLASH_ATTN_MLA', 576, 16), 'yes yes');
    assert.equal(cell(asked, 'FLASHMLA', 576, 16), 'no no');
    assert.equal(cell(asked, 'FLASHMLA_SPARSE', 576, null), 'no no');
    const { subjects } = declaredMatrix(asked);
    for (const id of ['TRITON_ATTN', 'FLEX_ATTENTION', 'FLASH_ATTN.FA3', 'fa4.system']) {
      assert.ok(!subjects.some((subject) => subject.id === id), id);
    }
    assert.equal(cell(ofModel(DEEPSEEK_V32, [9, 0]), 'FLASH_ATTN_MLA_SPARSE', 576, null), 'yes yes');
    assert.equal(cell(ofModel(DEEPSEEK_V32, [9, 0]), 'FLASH_ATTN_MLA', 576, null), 'no no');
  });

  it('gives a model of both kinds both kinds of backends, and none of them a yes for the other kind', () => {
    const both = { ...DEEPSEEK_V3, layerGroups: [...DEEPSEEK_V3.layerGroups, layer({ headDim: 128 })] };
    for (const useSystemFlashAttn of [false, true]) {
      for (const capability of [
        [8, 0],
        [9, 0],
        [10, 0],
        [12, 0],
      ] as const) {
        const asked = ofModel(both, capability, '0.33.0', [576, 128, 64]);
        const { cells } = declaredMatrix({ ...asked, request: { ...asked.request, useSystemFlashAttn } });
        for (const entry of cells) {
          const isMla = entry.subject.includes('MLA');
          const said = `${entry.subject} d${entry.headDim} on ${capability.join('.')}`;
          if (isMla !== (entry.headDim === 576)) {
            assert.equal(entry.selects.answer, 'no', said);
            assert.notEqual(entry.works.answer, 'yes', said);
          }
        }
        assert.ok(cells.some((entry) => entry.headDim === 576 && entry.works.answer === 'yes'));
        assert.ok(cells.some((entry) => entry.headDim === 128 && entry.works.answer === 'yes'));
      }
    }
  });

  it("takes the layers' sinks, windows, soft caps and image spans into account, and says so", () => {
    assert.equal(cell(ofModel(GPT_OSS, [8, 0]), 'FLASH_ATTN.FA2', 64, 16), 'no no');
    assert.equal(cell(ofModel(GPT_OSS, [9, 0]), 'FLASH_ATTN.FA3', 64, 16), 'yes yes');
    assert.equal(cell(ofModel(GPT_OSS, [9, 0]), 'TURBOQUANT', 64, 16), 'no no');
    const softcap = { ...LLAMA, layerGroups: [layer({ headDim: 128, softcap: 50 })] };
    assert.equal(cell(ofModel(softcap, [9, 0]), 'FLEX_ATTENTION', 128, 16), 'yes no');
    const vision = ofModel(GEMMA4_VISION, [9, 0]);
    assert.equal(cell(vision, 'TRITON_FLASH_ATTN', 512, 16), 'yes yes');
    assert.equal(cell(vision, 'FLASHINFER', 512, 16), 'no no');
    assert.equal(cell(vision, 'FLASH_ATTN.FA3', 256, 16), 'no no');
    assert.match(columnsText(vision.columns), /with their windows, sinks.*sliding_window, full_attention\.$/);
    assert.match(columnsText(request().columns), /head size alone: no window/);
    assert.match(columnsText(ofModel(LLAMA, [9, 0], '0.33.0', [128, 64]).columns), /: d128; d64: head size alone\.$/);
  });

  it('shows the worse answer where layers of one head size differ, and names the layers', () => {
    const mixed = {
      ...LLAMA,
      layerGroups: [layer({ id: 'plain', headDim: 64 }), layer({ id: 'sinks', headDim: 64, sinks: true })],
    };
    const asked = ofModel(mixed, [8, 0]);
    assert.equal(cell(asked, 'FLASH_ATTN.FA2', 64, 16), 'no no');
    const found = declaredMatrix(asked).cells.find((entry) => entry.subject === 'FLASH_ATTN.FA2');
    assert.match(found?.works.reasons[0]?.text ?? '', /^sinks: no, Sinks are only supported/);
    assert.match(found?.works.reasons[1]?.text ?? '', /^plain: yes, /);
    assert.match(columnsText(asked.columns), /the worse one is shown\.$/);
  });

  it('takes a generation that the release gives by itself as selected, whatever asking for it would do', () => {
    const alibi = { ...LLAMA, layerGroups: [layer({ headDim: 128, alibi: true })] };
    const asked = ofModel(alibi, [9, 0]);
    const fp8 = { ...asked, request: ask('0.33.0', [9, 0], alibi, { kvCacheDtype: 'fp8' }) };
    assert.equal(cell(fp8, 'FLASH_ATTN.FA2', 128, 16), 'yes no');
  });

  it('does not let the flag reach the system library where version 4 does not resolve', () => {
    for (const capability of [
      [8, 0],
      [12, 0],
    ] as const) {
      assert.match(cell(request({ useSystemFlashAttn: true, capability }), 'fa4.system', 128, 16), /^no /);
    }
  });

  it('has one cell per subject, head size and layout, each with reasons, on every release and family', () => {
    for (const vllmVersion of RELEASES) {
      for (const capability of [
        [7, 5],
        [8, 0],
        [8, 9],
        [9, 0],
        [10, 0],
        [10, 3],
        [11, 0],
        [12, 0],
        [12, 1],
      ] as const) {
        const { subjects, cells } = declaredMatrix(request({ vllmVersion, capability }));
        assert.equal(cells.length, subjects.length * 5 * 3);
        assert.equal(new Set(subjects.map((subject) => subject.id)).size, subjects.length);
        for (const entry of cells) {
          assert.ok(
            entry.selects.reasons.length > 0 && entry.works.reasons.length > 0,
            `${entry.subject} ${entry.headDim}`,
          );
          assert.equal(entry.selects.question, 'selects');
          assert.equal(entry.works.question, 'works');
        }
      }
    }
  });

  it('answers unknown for a release older than the catalog', () => {
    const { cells } = declaredMatrix(request({ vllmVersion: '0.9.0' }));
    assert.ok(cells.every((entry) => entry.selects.answer === 'unknown' && entry.works.answer === 'unknown'));
  });
});
