/**
 * Writes the README's measurements from the committed reports, so that no figure in it was typed by hand.
 *
 * To measure anew, on an H200 with nothing else on it:
 *   attn-diag run --preset prefill-head-sizes,prefill-full,decode-head-sizes,paged-decode,paged-prefill \
 *     --json test/fixtures/reports/h200-run.json
 *   ATTN_DIAG_TARGET=sm_90 attn-diag run --preset prefill-full,paged-prefill,paged-decode --head-dim 128,512 \
 *     --page contiguous,16 --json test/fixtures/reports/h200-portable.json
 *   attn-diag selftest --json test/fixtures/reports/h200-selftest.json
 *
 * `node extension/dev/readmeTables.mjs` rewrites what is between the markers; `--check` only tells (exit code 1) whether it
 * would. A unit test does the same check, and compares the reports' kernel hash with the sources.
 */
import { existsSync } from 'node:fs';
import { readFile, rename, writeFile } from 'node:fs/promises';
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
  { title: 'Self-test', file: 'test/fixtures/reports/h200-selftest.json' },
];
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
const next = `${readme.slice(0, begin.index + begin[0].length)}\n${await section()}${readme.slice(end)}`;
if (next === readme) {
  console.log('README.md: tables are up to date.');
} else if (process.argv.includes('--check')) {
  console.error('README.md: tables do not match the reports; run node extension/dev/readmeTables.mjs');
  process.exit(1);
} else {
  await writeFile(`${readmePath}.tmp`, next);
  await rename(`${readmePath}.tmp`, readmePath);
  console.log('README.md: tables written.');
}

/** @returns {Promise<string>} what stands between the markers; empty while no report is committed */
async function section() {
  const present = REPORTS.filter(({ file }) => existsSync(path.join(REPO_ROOT, file)));
  if (present.length === 0) return '';
  const { readmeSection } = await core();
  const reports = await Promise.all(
    present.map(async ({ title, file }) => ({ title, file, text: await readFile(path.join(REPO_ROOT, file), 'utf8') })),
  );
  return readmeSection(reports);
}

/**
 * The TypeScript function that makes the section, bundled for this process.
 * @returns {Promise<{readmeSection: (reports: {title: string, file: string, text: string}[]) => string}>}
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
