/**
 * `npm test`: everything, on a machine that may have nothing yet. Builds all there is to build, runs every check and suite
 * even when one fails, and closes with the sum of their counts.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { buildAddon, buildBundles, buildKernels } from '../extension/dev/builds.mjs';
import { REPO_ROOT } from '../extension/dev/paths.mjs';
import { ensurePrerequisites, mayInstall, nodeTooOld } from '../extension/dev/prerequisites.mjs';
import { runInTerminal } from '../extension/dev/processes.mjs';

const tooOld = nodeTooOld();
if (tooOld !== null) {
  console.error(tooOld);
  process.exit(1);
}
if (!(await ensurePrerequisites(['addon', 'kernels', 'tests'], { install: mayInstall() }))) {
  console.error('Run the commands above, or let this do it: npm test -- --install');
  process.exit(1);
}

/** Each leaves its counts in the file it is given. */
const SUITES = [
  { name: 'unit', script: 'test/run.mjs', args: ['unit'] },
  { name: 'native', script: 'test/run.mjs', args: ['native'] },
  { name: 'host', script: 'test/host/runHost.mjs', args: [] },
  { name: 'ui', script: 'test/run.mjs', args: ['ui'] },
  { name: 'package', script: 'test/run.mjs', args: ['package'] },
];

const countDir = await mkdtemp(path.join(os.tmpdir(), 'abd-counts-'));
const total = { passed: 0, failed: 0, skipped: 0 };
/** @type {string[]} */
const summary = [];

await counted('build', async () => {
  await buildBundles();
  await buildAddon();
  await buildKernels();
});
await counted('check', async () => {
  if ((await node('extension/dev/check.mjs', [])) !== 0) throw new Error('npm run check failed');
});
for (const { name, script, args } of SUITES) {
  const startedMs = Date.now();
  heading(name);
  const countFile = path.join(countDir, `${name}.json`);
  const exitCode = await node(script, [...args, '--count', countFile]);
  const count = await readCount(countFile);
  // A runner that failed before it could count is a failure too.
  if (exitCode !== 0 && count.failed === 0) count.failed = 1;
  add(name, count, startedMs);
}

await rm(countDir, { recursive: true, force: true });
console.log(`\n${summary.join('\n')}\n`);
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exit(total.failed > 0 || total.passed === 0 ? 1 : 0);

/**
 * A step without a count of its own: one pass or one failure.
 * @param {string} name
 * @param {() => Promise<void>} step
 */
async function counted(name, step) {
  const startedMs = Date.now();
  heading(name);
  try {
    await step();
    add(name, { passed: 1, failed: 0, skipped: 0 }, startedMs);
  } catch (error) {
    console.error(String(error));
    add(name, { passed: 0, failed: 1, skipped: 0 }, startedMs);
  }
}

/**
 * @param {string} name
 * @param {{passed: number, failed: number, skipped: number}} count
 * @param {number} startedMs
 */
function add(name, count, startedMs) {
  total.passed += count.passed;
  total.failed += count.failed;
  total.skipped += count.skipped;
  const seconds = ((Date.now() - startedMs) / 1000).toFixed(0);
  summary.push(
    `${name.padEnd(8)} ${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped in ${seconds} s`,
  );
}

/** @param {string} name */
function heading(name) {
  console.log(`\n===== ${name} =====`);
}

/**
 * @param {string} file
 * @param {string[]} args
 */
function node(file, args) {
  return runInTerminal(process.execPath, [path.join(REPO_ROOT, file), ...args], { cwd: REPO_ROOT });
}

/**
 * @param {string} file
 * @returns {Promise<{passed: number, failed: number, skipped: number}>}
 */
async function readCount(file) {
  try {
    return JSON.parse(await readFile(file, 'utf8'));
  } catch {
    return { passed: 0, failed: 1, skipped: 0 };
  }
}
