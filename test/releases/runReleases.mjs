/**
 * Compares the catalog with real vLLM releases: `node test/releases/runReleases.mjs [VERSION…] [--write]`.
 *
 * Fetches the Python files of each release (kept in the cache), lets probe.py read them through a real interpreter, and
 * compares fields, FlashAttention versions, backend names and priority lists with the catalog's rows for that release.
 * Without versions every release of the catalog. `--write` keeps the outcome in test/releases/report.md. Needs the network
 * and python3; not part of `npm test`. Exits with 1 when a release disagrees or cannot be read. With `--validated` installed
 * releases are asked themselves, see runValidated.mjs.
 */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';
import { cacheRoot, REPO_ROOT } from '../../extension/dev/paths.mjs';
import { runValidated } from './runValidated.mjs';

const OUT = path.join(REPO_ROOT, 'test', 'out', 'releases');
const CACHE = path.join(cacheRoot(), 'releases');
const REPORT = path.join(REPO_ROOT, 'test', 'releases', 'report.md');

const { values, positionals: asked } = parseArgs({
  allowPositionals: true,
  options: {
    write: { type: 'boolean', default: false },
    validated: { type: 'boolean', default: false },
    cases: { type: 'string', default: '300' },
    record: { type: 'string' },
  },
});
const { write } = values;

await build({
  absWorkingDir: REPO_ROOT,
  entryPoints: {
    check: 'test/releases/checkRelease.ts',
    releases: 'extension/core/catalog/releases.ts',
    validated: 'test/releases/validatedRelease.ts',
  },
  outdir: OUT,
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'esm',
  mainFields: ['module', 'main'],
  outExtension: { '.js': '.mjs' },
  logLevel: 'warning',
});
/** @type {typeof import('./checkRelease')} */
const { checkRelease } = await import(pathToFileURL(path.join(OUT, 'check.mjs')).href);
/** @type {typeof import('../../extension/core/catalog/releases')} */
const { RELEASES } = await import(pathToFileURL(path.join(OUT, 'releases.mjs')).href);

if (values.validated) {
  /** @type {typeof import('./validatedRelease')} */
  const checks = await import(pathToFileURL(path.join(OUT, 'validated.mjs')).href);
  const cases = Number(values.cases);
  process.exit(await runValidated(checks, { versions: asked, cases, write, record: values.record ?? null }));
}

await mkdir(CACHE, { recursive: true });
const rows = [];
let disagreeing = 0;
for (const version of asked.length > 0 ? asked : RELEASES) {
  const folder = path.join(CACHE, `vllm-${version}`);
  if (!existsSync(folder)) {
    execFileSync('python3', [path.join(REPO_ROOT, 'test', 'releases', 'fetch_wheel.py'), 'vllm', version, folder], {
      stdio: 'inherit',
    });
  }
  const check = await checkRelease(version, folder);
  const problems = [...check.unread.map((each) => `unread: ${each}`), ...check.differences];
  if (problems.length > 0) disagreeing += 1;
  console.log(
    `${version.padEnd(8)} ${problems.length === 0 ? 'agrees' : problems.join('\n         ')} (${check.probeMs} ms)`,
  );
  const cells = [
    version,
    check.fields,
    check.flashAttnVersions || '–',
    check.backends,
    check.priorityLists,
    check.reasonStrings,
    check.sm90HeadDimMax ?? '–',
    check.rotaryImport ?? '–',
    problems.length === 0 ? 'agrees' : problems.join('<br>'),
  ];
  rows.push(`| ${cells.join(' | ')} |`);
}
console.log(`\n${rows.length} releases, ${disagreeing} disagree with the catalog`);
if (write) {
  const text = [
    '# The catalog against the released wheels',
    '',
    'Written by `npm run test:releases -- --write`. Compared per release: the fields of AttentionConfig, the values of',
    '`flash_attn_version`, the names of the backend enum, and every priority list the installed function returns (per',
    'question and capability major). Every reason string that the catalog gives for the release, over some thousand questions,',
    'must be a text of its files.',
    '',
    '| release | fields | FA versions | backends | priority lists | reason strings | vendored FA4 on 9.x, head ≤ | rotary import of flash_attn | catalog |',
    '|---|---|---|---|---|---|---|---|---|',
    ...rows,
    '',
  ];
  await writeFile(REPORT, text.join('\n'));
}
process.exit(disagreeing > 0 ? 1 : 0);
