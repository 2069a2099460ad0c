/**
 * Prints cases for gpu_cases.cc, one line of key=value words each.
 *
 * usage: node test/gpu/list_cases.mjs selftest|small|bench > FILE
 * `selftest` is the product's own list; `small` a few of its cases, for tools that slow a kernel down a hundredfold;
 * `bench` the shapes of the figures this generation must reach.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';

async function selftestCases() {
  const folder = mkdtempSync(join(tmpdir(), 'attn-cases-'));
  try {
    const outfile = join(folder, 'cases.mjs');
    await build({
      entryPoints: ['extension/core/measure/selftestCases.ts'],
      bundle: true,
      format: 'esm',
      outfile,
      mainFields: ['module', 'main'],
    });
    const module = await import(pathToFileURL(outfile).href);
    return module.selftestCases();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function benchCases(base) {
  const cases = [];
  const prefill = (headDim, qHeads, kvHeads, length, extra = {}) => {
    for (const causal of [false, true]) {
      cases.push({
        ...base,
        op: 'prefill',
        headDim,
        headDimV: headDim,
        qHeads,
        kvHeads,
        batch: 1,
        qLens: length,
        kvLens: length,
        causal,
        lse: false,
        ...extra,
      });
    }
  };
  const decode = (headDim, qHeads, kvHeads, batch, length, extra = {}) => {
    cases.push({
      ...base,
      op: 'decode',
      headDim,
      headDimV: headDim,
      qHeads,
      kvHeads,
      batch,
      qLens: 1,
      kvLens: length,
      causal: true,
      lse: false,
      ...extra,
    });
  };
  prefill(64, 64, 8, 16384);
  prefill(96, 32, 8, 16384);
  prefill(128, 64, 8, 16384);
  prefill(192, 16, 16, 16384);
  prefill(256, 32, 8, 16384);
  prefill(512, 8, 8, 16384);
  for (const pageSize of [16, 64, 256]) prefill(128, 64, 8, 16384, { pageSize });
  prefill(512, 8, 8, 16384, { pageSize: 16 });
  for (const headDim of [64, 128, 256, 512]) {
    const heads = headDim <= 128 ? [32, 8] : [16, 4];
    decode(headDim, ...heads, 32, 8192);
    for (const pageSize of [16, 64, 256]) decode(headDim, ...heads, 32, 8192, { pageSize });
    decode(headDim, ...heads, 1, 131072, { pageSize: 16 });
  }
  const mla = (qHeads, batch, length, pageSize) =>
    decode(576, qHeads, 1, batch, length, { op: 'mlaDecode', headDimV: 512, pageSize });
  for (const pageSize of [16, 32, 64, 128]) mla(128, 128, 4096, pageSize);
  mla(128, 32, 8192, 64);
  mla(128, 1, 131072, 64);
  mla(64, 128, 4096, 64);
  for (const pageSize of [16, 32, 64]) mla(16, 128, 4096, pageSize);
  mla(16, 128, 16384, 64);
  mla(16, 1, 131072, 64);
  return cases;
}

function toLine(one) {
  return Object.entries(one)
    .filter(([, value]) => value !== null)
    .map(
      ([key, value]) =>
        `${key}=${Array.isArray(value) ? value.join(',') : Number(value) === value || typeof value === 'string' ? value : Number(value)}`,
    )
    .join(' ');
}

const all = await selftestCases();
const lists = {
  selftest: () => all,
  small: () => {
    const seen = new Set();
    return all.filter((one) => {
      const key = `${one.op} ${one.headDim} ${one.pageSize === null ? 'contiguous' : 'paged'}`;
      if (one.dtype !== 'bf16' || seen.has(key)) return false;
      seen.add(key);
      return true;
    });
  },
  bench: () =>
    benchCases({
      ...all[0],
      dtype: 'bf16',
      window: null,
      softcap: 0,
      sinks: false,
      pageSize: null,
      kvLayout: 'NHD',
      seed: 1,
    }),
};
const list = lists[process.argv[2]];
if (!list) {
  console.error('usage: node test/gpu/list_cases.mjs selftest|small|bench');
  process.exitCode = 2;
} else {
  for (const one of list()) console.log(toLine(one));
}
