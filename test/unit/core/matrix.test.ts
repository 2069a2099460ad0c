/** The declared matrix: what its rows say per SM family, with and without the what-if flag. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { RELEASES } from '../../../extension/core/catalog/releases';
import { declaredMatrix, type MatrixRequest } from '../../../extension/core/matrix';
import { UNKNOWN_AVAILABILITY } from '../../../extension/core/request';

const request = (change: Partial<MatrixRequest> = {}): MatrixRequest => ({
  vllmVersion: '0.33.0',
  capability: [9, 0],
  headDims: [64, 128, 256, 512, 576],
  pageSizes: [16, 128, null],
  dtype: 'bfloat16',
  kvCacheDtype: 'auto',
  useSystemFlashAttn: false,
  availability: UNKNOWN_AVAILABILITY,
  ...change,
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
  const rows: readonly [string, Partial<MatrixRequest>, string, number, number | null, string][] = [
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
