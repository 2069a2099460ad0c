/** The C++ reference and the CPU device's kernel against an independent evaluation in JavaScript, element by element. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import type { AttentionCase } from '../../extension/core/attentionCase';
import { attentionOracle } from './support/attentionOracle';
import { makeCase } from './support/cases';
import { buildProgram } from './support/compile';

interface DumpedRow {
  readonly lse: number | null;
  readonly referenceLse: number | null;
  readonly out: readonly (number | string)[];
  readonly reference: readonly number[];
}

interface Dump {
  readonly visiblePairs: number;
  readonly rows: readonly DumpedRow[];
}

const program = buildProgram('dump_case');

/** What the C++ side computes for a case. */
function dump(spec: AttentionCase): Dump {
  const args = Object.entries(spec).map(([name, value]) => `${name}=${String(value)}`);
  const result = spawnSync(program, args, { encoding: 'utf8', maxBuffer: 1 << 28 });
  assert.equal(result.status, 0, result.stderr);
  return JSON.parse(result.stdout) as Dump;
}

const CASES: ReadonlyArray<readonly [title: string, changes: Partial<AttentionCase>]> = [
  ['plain causal prefill', {}],
  ['no mask', { causal: false }],
  ['fp16', { dtype: 'fp16' }],
  ['one key: the output is V itself', { qLens: 1, kvLens: 1 }],
  ['grouped heads', { qHeads: 6, kvHeads: 2, qLens: 9, kvLens: 21 }],
  ['more queries than keys: the first rows see nothing', { qLens: 12, kvLens: 5 }],
  ['no keys at all', { qLens: 3, kvLens: 0 }],
  ['no keys, with sinks', { qLens: 3, kvLens: 0, sinks: true }],
  ['sinks', { sinks: true }],
  ['soft cap', { softcap: 2 }],
  ['window', { window: 7 }],
  ['window of one key', { window: 1, qLens: 20, kvLens: 20 }],
  ['window beginning inside a tile', { window: 70, qLens: 4, kvLens: 200 }],
  ['everything at once', { sinks: true, softcap: 3, window: 33, pageSize: 16, kvLayout: 'HND', qHeads: 4, kvHeads: 2 }],
  ['pages', { pageSize: 16 }],
  ['pages, heads first', { pageSize: 32, kvLayout: 'HND', kvHeads: 2, qHeads: 2 }],
  ['contiguous, heads first', { kvLayout: 'HND', kvHeads: 2, qHeads: 4 }],
  ['different lengths', { batch: 4, qLens: [3, 0, 7, 1], kvLens: [5, 9, 0, 66], pageSize: 16 }],
  ['decode', { op: 'decode', qLens: 1, kvLens: [1, 64, 65, 130], batch: 4, qHeads: 8, kvHeads: 2, pageSize: 64 }],
  ['fp8 KV', { kvDtype: 'fp8_e4m3', kvScale: 0.05 }],
  ['fp8 KV that saturates and underflows', { kvDtype: 'fp8_e4m3', kvScale: 0.005, pageSize: 16 }],
  ['fp8 KV in subnormals', { kvDtype: 'fp8_e4m3', kvScale: 40 }],
  ['V narrower than K', { headDim: 64, headDimV: 32 }],
  ['MLA', { op: 'mlaDecode', headDim: 576, headDimV: 512, qHeads: 3, qLens: 2, kvLens: 20, pageSize: 16 }],
];

for (const [title, changes] of CASES) {
  test(title, () => {
    const spec = makeCase({ headDim: 16, ...changes });
    const { rows, visiblePairs } = dump(spec);
    const oracle = attentionOracle(spec);
    assert.equal(visiblePairs, oracle.visiblePairs);
    assert.equal(rows.length, oracle.rows.length);
    // half a unit in the last place of the largest output a row can have, |V| <= 3.5
    const rounding = spec.dtype === 'bf16' ? 2 ** -8 * 2 : 2 ** -11 * 2;
    oracle.rows.forEach((expected, i) => {
      const actual = rows[i];
      assert.ok(actual !== undefined);
      for (const lse of [actual.lse, actual.referenceLse]) {
        if (expected.lse === -Infinity) assert.equal(lse, null);
        else assert.ok(Math.abs((lse ?? NaN) - expected.lse) < 1e-9, `lse ${String(lse)}, not ${String(expected.lse)}`);
      }
      expected.out.forEach((value, d) => {
        const reference = actual.reference[d] ?? NaN;
        assert.ok(Math.abs(reference - value) < 1e-9, `reference ${String(reference)}, not ${String(value)}`);
        const out = Number(actual.out[d]);
        assert.ok(
          Math.abs(out - value) <= rounding * Math.max(Math.abs(value), 1e-3),
          `${String(out)}, not ${String(value)}`,
        );
      });
    });
  });
}

test('two equal keys give the mean of their values', () => {
  // seed >> 28 == 2 makes every key of a head the same vector, so the weights are equal whatever the query is
  const seed = 0x2000_0003;
  const spec = makeCase({ headDim: 8, qLens: 1, kvLens: 2, qHeads: 1, seed });
  const [both] = dump(spec).rows;
  const [first] = dump({ ...spec, kvLens: 1 }).rows; // sees key 0 only, so its output is V of key 0
  const [second] = attentionOracle({ ...spec, window: 1 }).rows; // sees key 1 only
  assert.ok(both !== undefined && first !== undefined && second !== undefined);
  assert.ok(Math.abs((both.referenceLse ?? 0) - (first.referenceLse ?? 0) - Math.LN2) < 1e-12);
  both.reference.forEach((value, d) => {
    assert.ok(Math.abs(value - ((first.reference[d] ?? NaN) + (second.out[d] ?? NaN)) / 2) < 1e-12);
  });
});
