/**
 * Writes the README's measurements from the committed reports, so that no figure in it was typed by hand.
 *
 * To measure anew, on an H200 with nothing else on it:
 *   attn-diag run --preset prefill-head-sizes,prefill-full,decode-head-sizes,paged-decode,paged-prefill,mla-decode \
 *     --json test/fixtures/reports/h200-run.json
 *   ATTN_DIAG_TARGET=ptx attn-diag run --preset prefill-full,paged-prefill,paged-decode --head-dim 128,512 \
 *     --page contiguous,16 --json test/fixtures/reports/h200-portable.json
 *   attn-diag selftest --json test/fixtures/reports/h200-selftest.json
 *
 * `node extension/dev/readmeTables.mjs` rewrites what is between the markers; `--check` only tells (exit code 1) whether it
 * would. A unit test does the same check, and compares the reports' kernel hash with the sources.
 */
import { existsSync } from 'node:fs';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { REPO_ROOT } from './paths.mjs';

/** Reports the README is made from, in its order: rows as a table, or one line for a self-test. */
const REPORTS = [
  { title: 'The bundled kernels on an H200', file: 'test/fixtures/reports/h200-run.json' },
  {
    title: 'The portable kernels on the same GPU, as other SM families run them',
    file: 'test/fixtures/reports/h200-portable.json',
  },
  // Installed libraries, in as many runs as their conflicting pins need; test/gpu/backends.md says how.
  {
    title: 'The fastest installed libraries beside the bundled kernels',
    file: 'test/fixtures/reports/h200-libraries-contenders.json',
  },
  { title: 'FlashInfer beside the bundled kernels', file: 'test/fixtures/reports/h200-libraries-flashinfer.json' },
  {
    title: 'Other kernels of torch and FlexAttention, one round',
    file: 'test/fixtures/reports/h200-libraries-others.json',
  },
  { title: 'FlashAttention 2 of vLLM, one round', file: 'test/fixtures/reports/h200-libraries-fa2.json' },
  { title: 'Self-test', file: 'test/fixtures/reports/h200-selftest.json' },
];
/** Drawn from the same reports; there while one of them has installed libraries. */
const CHART = 'media/readme/libraries.svg';
const BEGIN = /<!-- tables:begin[^>]*-->/;
const END = '<!-- tables:end -->';

const readmePath = path.join(REPO_ROOT, 'README.md');
const readme = await readFile(readmePath, 'utf8');
const begin = BEGIN.exec(readme);
const end = readme.indexOf(END);
if (begin === null || end < 0) {
  console.error('README.md has no table markers.');
  process.exit(1);
}
const { text, chart } = await section();
const next = `${readme.slice(0, begin.index + begin[0].length)}\n${text}${readme.slice(end)}`;
const chartPath = path.join(REPO_ROOT, CHART);
const drawn = existsSync(chartPath) ? await readFile(chartPath, 'utf8') : null;
if (next === readme && drawn === chart) {
  console.log('README.md: tables are up to date.');
} else if (process.argv.includes('--check')) {
  console.error('README.md: tables do not match the reports; run node extension/dev/readmeTables.mjs');
  process.exit(1);
} else {
  await replaceFile(readmePath, next);
  if (chart === null) await rm(chartPath, { force: true });
  else await replaceFile(chartPath, chart);
  console.log('README.md: tables written.');
}

/**
 * Whole or not at all.
 * @param {string} file
 * @param {string} content
 */
async function replaceFile(file, content) {
  await writeFile(`${file}.tmp`, content);
  await rename(`${file}.tmp`, file);
}

/** @returns {Promise<{text: string, chart: string | null}>} what stands between the markers, empty while no report is committed, and the chart */
async function section() {
  const present = REPORTS.filter(({ file }) => existsSync(path.join(REPO_ROOT, file)));
  if (present.length === 0) return { text: '', chart: null };
  const { readmeSection, readmeChart } = await core();
  const reports = await Promise.all(
    present.map(async ({ title, file }) => ({ title, file, text: await readFile(path.join(REPO_ROOT, file), 'utf8') })),
  );
  return { text: readmeSection(reports, CHART), chart: readmeChart(reports) };
}

/**
 * The TypeScript functions that make them, bundled for this process.
 * @returns {Promise<{
 *   readmeSection: (reports: {title: string, file: string, text: string}[], chartFile: string) => string,
 *   readmeChart: (reports: {title: string, file: string, text: string}[]) => string | null,
 * }>}
 */
async function core() {
  const outfile = path.join(REPO_ROOT, 'node_modules', '.cache', 'readmeSection.mjs');
  await build({
    entryPoints: [path.join(REPO_ROOT, 'extension', 'core', 'report', 'readmeSection.ts')],
    bundle: true,
    format: 'esm',
    platform: 'neutral',
    mainFields: ['module', 'main'],
    outfile,
    logLevel: 'warning',
  });
  return import(pathToFileURL(outfile).href);
}
