/**
 * What npm cannot bring: a compiler, Python's pip, a browser. Each missing thing is named in one line with the command that
 * brings it; nothing is installed unless asked for (`--install`, or CI=true).
 *
 * By hand: `node extension/dev/prerequisites.mjs [--install]`.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { findChromium } from './chromium.mjs';
import { pipEnvironment } from './environments.mjs';
import { REPO_ROOT } from './paths.mjs';
import { runInTerminal, which } from './processes.mjs';

/** First Node that has everything the toolchain uses; package.json says the same to npm. */
const MIN_NODE = [20, 20];

/** @typedef {'addon' | 'kernels' | 'tests'} Purpose */

/**
 * @typedef {object} Prerequisite
 * @property {string} name
 * @property {Purpose[]} neededFor
 * @property {string} why
 * @property {() => boolean | Promise<boolean>} present
 * @property {string[]} packages Debian and Ubuntu packages that bring it
 * @property {string[]} [npx] how to bring it where the distribution has no such package
 */

/** @type {Prerequisite[]} */
const PREREQUISITES = [
  {
    name: 'g++',
    neededFor: ['addon'],
    why: 'compiles the native helper',
    present: () => which('g++') !== null,
    packages: ['g++'],
  },
  {
    name: 'make',
    neededFor: ['addon'],
    why: 'node-gyp drives it',
    present: () => which('make') !== null,
    packages: ['make'],
  },
  {
    name: 'python3',
    neededFor: ['addon', 'kernels', 'tests'],
    why: 'node-gyp and the environment probe run on it',
    present: () => succeeds('python3', ['-c', 'import json']),
    packages: ['python3'],
  },
  {
    name: 'pip for python3',
    neededFor: ['kernels'],
    why: 'fetches the CUDA compiler for the GPU kernels',
    present: () => succeeds('python3', ['-m', 'pip', '--version']),
    packages: ['python3-pip'],
  },
  {
    name: 'Chromium',
    neededFor: ['tests'],
    why: 'the tests open VS Code in it',
    present: async () => (await findChromium()) !== null,
    packages: ['chromium'],
    // Ubuntu's chromium package only points to a snap, which containers and servers cannot run.
    npx: ['playwright-core', 'install', '--with-deps', 'chromium'],
  },
];

/**
 * One line when this Node is too old for the toolchain, else `null`.
 * @param {string} version as in process.versions.node
 */
export function nodeTooOld(version = process.versions.node) {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [minMajor = 0, minMinor = 0] = MIN_NODE;
  if (major > minMajor || (major === minMajor && minor >= minMinor)) return null;
  return `Node ${version} is too old: this needs Node ${MIN_NODE.join('.')} or newer (https://nodejs.org, or your version manager).`;
}

/** @param {Purpose[]} purposes */
async function missingFor(purposes) {
  const missing = [];
  for (const item of PREREQUISITES) {
    if (item.neededFor.some((purpose) => purposes.includes(purpose)) && !(await item.present())) missing.push(item);
  }
  return missing;
}

/**
 * Names what is missing and, when allowed, installs it.
 * @param {Purpose[]} purposes
 * @param {{install: boolean}} options
 * @returns {Promise<boolean>} whether everything is there now
 */
export async function ensurePrerequisites(purposes, { install }) {
  const missing = await missingFor(purposes);
  for (const item of missing) console.log(`${item.name} is missing (${item.why}): ${commandLineFor(item)}`);
  if (missing.length === 0 || !install) return missing.length === 0;

  const viaApt = missing.filter((item) => !usesNpx(item));
  if (viaApt.length > 0 && which('apt-get') !== null) {
    // A fresh machine has no package lists at all.
    await apt(['update']);
    await apt(['install', '-y', '--no-install-recommends', ...viaApt.flatMap((item) => item.packages)]);
  }
  for (const item of missing.filter(usesNpx)) {
    await runInTerminal(
      process.execPath,
      [path.join(REPO_ROOT, 'node_modules', 'playwright-core', 'cli.js'), ...(item.npx ?? []).slice(1)],
      {
        cwd: REPO_ROOT,
      },
    );
  }
  const stillMissing = await missingFor(purposes);
  for (const item of stillMissing) console.log(`${item.name} is still missing after the installation.`);
  return stillMissing.length === 0;
}

/** @param {string[]} args */
async function apt(args) {
  const command = isRoot() ? ['apt-get', ...args] : ['sudo', '-n', 'apt-get', ...args];
  console.log(`> ${command.join(' ')}`);
  await runInTerminal(command[0] ?? '', command.slice(1), {
    cwd: REPO_ROOT,
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  });
}

/** @param {Prerequisite} item */
function commandLineFor(item) {
  if (usesNpx(item)) return `npx ${(item.npx ?? []).join(' ')}`;
  if (which('apt-get') === null)
    return `install it with your system's package manager (Debian calls it ${item.packages.join(' ')})`;
  return `${isRoot() ? '' : 'sudo '}apt-get install ${item.packages.join(' ')}`;
}

/** @param {Prerequisite} item */
function usesNpx(item) {
  return item.npx !== undefined && isUbuntu();
}

function isUbuntu() {
  try {
    return /^ID=ubuntu$/m.test(readFileSync('/etc/os-release', 'utf8'));
  } catch {
    return false;
  }
}

function isRoot() {
  return process.getuid?.() === 0;
}

/**
 * @param {string} command
 * @param {string[]} args
 */
function succeeds(command, args) {
  return spawnSync(command, args, { stdio: 'ignore', env: pipEnvironment(process.env) }).status === 0;
}

/** Whether missing parts may be installed: asked for on the command line, or on a build machine. */
export function mayInstall(argv = process.argv) {
  return argv.includes('--install') || process.env.CI === 'true';
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const tooOld = nodeTooOld();
  if (tooOld !== null) console.log(tooOld);
  const complete = await ensurePrerequisites(['addon', 'kernels', 'tests'], { install: mayInstall() });
  if (complete && tooOld === null) console.log('Everything npm cannot bring is here.');
  process.exit(complete && tooOld === null ? 0 : 1);
}
