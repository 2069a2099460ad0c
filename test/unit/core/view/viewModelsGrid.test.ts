/** Measurements at a glance: which rows share a table, and what a cell may show. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CaseResult, ResultRow } from '../../../../extension/core/attentionCase';
import { expandForm } from '../../../../extension/core/measure/caseGrid';
import { emptyResult } from '../../../../extension/core/measure/emptyResult';
import type { RequestForm } from '../../../../extension/core/measure/requestForm';
import { measurementGrids } from '../../../../extension/core/view/viewModelsGrid';
import { H200, hopperState, okRow } from '../../../ui/support/states';

function rowsOf(change: Partial<RequestForm>): ResultRow[] {
  return expandForm({ ...hopperState().form, ...change }).map((each, index) => okRow(each, H200.id, index));
}

function withResult(row: ResultRow, change: Partial<CaseResult>): ResultRow {
  return { ...row, result: { ...row.result, ...change } };
}

const onGpu = (): boolean => false;

test('page layouts go down and head sizes across, sorted, with holes where nothing ran', () => {
  const rows = rowsOf({ headDims: [256, 64], pageSizes: [128, null, 16] }).filter(
    (row) => row.case.headDim !== 64 || row.case.pageSize !== 16,
  );
  const [grid, ...more] = measurementGrids(rows, onGpu);
  assert.deepEqual(more, []);
  assert.deepEqual(grid?.headDims, ['64', '256']);
  assert.deepEqual(
    grid?.rows.map((row) => [row.layout, row.cells.map((cell) => cell?.answer ?? null)]),
    [
      ['contiguous', ['yes', 'yes']],
      ['page 16', [null, 'yes']],
      ['page 128', ['yes', 'yes']],
    ],
  );
});

test('another workload, engine or device is another table; the bundled kernels come first', () => {
  const causal = rowsOf({ headDims: [64, 128], pageSizes: [null], causal: true });
  const full = rowsOf({ headDims: [64, 128], pageSizes: [null], causal: false });
  const library = causal.map((row) => ({ ...row, engine: 'fa3.vllm' }));
  const onCpu = causal.map((row) => ({ ...row, deviceId: 'cpu' }));
  const grids = measurementGrids([...library, ...causal, ...full, ...onCpu], (row) => row.deviceId === 'cpu');
  assert.equal(grids.length, 4);
  assert.match(grids[0]?.title ?? '', /^Bundled kernels: .*causal$/);
  assert.match(grids[1]?.title ?? '', /^Bundled kernels: .*full$/);
  assert.match(grids[2]?.title ?? '', /on the CPU/);
  assert.doesNotMatch(grids[3]?.title ?? '', /Bundled/);
});

test('a single case needs no table', () => {
  assert.deepEqual(measurementGrids(rowsOf({ headDims: [128], pageSizes: [16] }), onGpu), []);
});

test('a cell has a time only when its result is right', () => {
  const [right, wrong, refused, checked] = rowsOf({ headDims: [64, 96, 128, 256], pageSizes: [null] });
  assert.ok(right && wrong && refused && checked);
  const rows = [
    withResult(right, { contended: true }),
    withResult(wrong, { status: 'wrong' }),
    { ...refused, result: emptyResult('unsupported', 'PAGE_SIZE', 'No.') },
    withResult(checked, { gpuMs: null }),
  ];
  const cells = measurementGrids(rows, onGpu)[0]?.rows[0]?.cells;
  assert.match(cells?.[0]?.text ?? '', /s$/);
  assert.match(cells?.[0]?.sub ?? '', /contended$/);
  assert.deepEqual(cells?.slice(1), [
    { answer: 'no', text: 'wrong result', sub: '' },
    { answer: 'unknown', text: 'unsupported', sub: '' },
    { answer: 'yes', text: 'ok', sub: '' },
  ]);
});
