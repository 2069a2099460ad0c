/**
 * Runs the in-host suites: `node test/host/runHost.mjs [suite] [--count FILE]`.
 *
 * Each folder below test/host/suite is one VS Code of its own, started through `@vscode/test-electron`. With
 * VSCODE_EXECUTABLE set that is this desktop build, else the browser VS Code behind browserHost.mjs.
 * Exits with 1 when a test failed or a suite ran none.
 */
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { runTests } from '@vscode/test-electron';
import { build } from 'esbuild';
import { REPO_ROOT } from '../../extension/dev/paths.mjs';
import { stageExtension } from '../../extension/dev/stage.mjs';

const HOST_DIR = path.join(REPO_ROOT, 'test', 'host');
// Of this run alone, so that two runs at a time do not pull each other's files away.
const OUT_DIR = path.join(REPO_ROOT, 'test', 'out', `host-${process.pid}`);

/**
 * What is special about a suite's VS Code; the rest is the same for all.
 * @type {Record<string, {trust?: boolean, native?: boolean, folder?: boolean}>}
 */
const SUITES = {
  trusted: {},
  untrusted: { trust: false },
  withoutAddon: { native: false },
  noFolder: { folder: false },
};

const { values, positionals } = parseArgs({ allowPositionals: true, options: { count: { type: 'string' } } });
const [only] = positionals;
const desktop = process.env.VSCODE_EXECUTABLE;
const total = { passed: 0, failed: 0, skipped: 0 };
await mkdir(OUT_DIR, { recursive: true });

for (const [suite, { trust = true, native = true, folder = true }] of Object.entries(SUITES)) {
  if (only !== undefined && only !== suite) continue;
  if (!trust && desktop !== undefined) {
    // The runner starts every desktop build with workspace trust off.
    console.log(`Suite ${suite} needs the browser VS Code and is left out with VSCODE_EXECUTABLE.`);
    continue;
  }
  console.log(`\n# ${suite}`);
  const suiteOut = path.join(OUT_DIR, suite);
  await bundleSuite(suite, suiteOut);
  const workspace = await mkdtemp(path.join(os.tmpdir(), 'abd-ws-'));
  await mkdir(path.join(workspace, '.vscode'));
  await writeFile(path.join(workspace, '.vscode', 'settings.json'), '{}\n');
  const developmentPath = native ? REPO_ROOT : await stageExtension('universal', path.join(OUT_DIR, 'universal'));
  try {
    await runTests({
      vscodeExecutablePath: desktop ?? path.join(HOST_DIR, 'browserHost.mjs'),
      extensionDevelopmentPath: developmentPath,
      extensionTestsPath: path.join(suiteOut, 'runSuite.cjs'),
      extensionTestsEnv: { ATTENTION_DIAGNOSTICS_TEST: '1' },
      launchArgs: [...(folder ? [workspace] : []), ...(trust ? [] : ['--ask-workspace-trust'])],
    });
  } catch (error) {
    console.error(String(error));
  }
  const count = await readCount(path.join(suiteOut, 'count.json'));
  total.passed += count.passed;
  total.failed += count.failed;
  total.skipped += count.skipped;
  await rm(workspace, { recursive: true, force: true });
}

if (values.count !== undefined) await writeFile(values.count, `${JSON.stringify(total)}\n`);
await rm(OUT_DIR, { recursive: true, force: true });
console.log(`\nhost: ${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exit(total.failed > 0 || total.passed === 0 ? 1 : 0);

/**
 * A suite that wrote no count, or ran nothing, is one failure: its VS Code did not get as far as the tests.
 * @param {string} file
 * @returns {Promise<{passed: number, failed: number, skipped: number}>}
 */
async function readCount(file) {
  try {
    const count = JSON.parse(await readFile(file, 'utf8'));
    if (count.passed + count.failed > 0) return count;
  } catch {
    // Said below.
  }
  console.error('No test of this suite ran.');
  return { passed: 0, failed: 1, skipped: 0 };
}

/**
 * @param {string} suite
 * @param {string} outDir
 */
async function bundleSuite(suite, outDir) {
  const suiteDir = path.join(HOST_DIR, 'suite', suite);
  const tests = (await readdir(suiteDir))
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => path.join(suiteDir, name));
  /** @type {import('esbuild').BuildOptions} */
  const shared = {
    absWorkingDir: REPO_ROOT,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    mainFields: ['module', 'main'],
    external: ['vscode', 'mocha'],
    outExtension: { '.js': '.cjs' },
    sourcemap: 'inline',
    logLevel: 'warning',
  };
  await build({ ...shared, entryPoints: tests, outdir: outDir, outbase: suiteDir });
  await build({ ...shared, entryPoints: [path.join(HOST_DIR, 'runSuite.ts')], outdir: outDir, outbase: HOST_DIR });
}
