#!/usr/bin/env node
/**
 * Builds the Node-API addon to native/build/attention_addon.node.
 *
 *   node native/build.mjs [--force]
 *
 * Needs g++, make and python3, and no network: the headers come from the npm package `node-api-headers`, assembled into
 * a folder that node-gyp takes for Node's own headers. Does nothing when no input changed.
 * Exit codes: 0 built or up to date, 1 the build failed, 3 a tool is missing (one line says how to get it).
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import { createRequire } from 'node:module';
import * as os from 'node:os';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';
import { withBuildLock } from './buildLock.mjs';
import { nodeGypEnvironment } from './nodeGypEnvironment.mjs';

const nativeDir = path.dirname(fileURLToPath(import.meta.url));
const buildDir = path.join(nativeDir, 'build');
const addonPath = path.join(buildDir, 'attention_addon.node');
const stampPath = path.join(buildDir, 'attention_addon.stamp');
const require = createRequire(import.meta.url);

/** Tools the build calls, and the Debian package of each. */
const TOOLS = [
  { command: 'g++', debianPackage: 'g++' },
  { command: 'make', debianPackage: 'make' },
  { command: 'python3', debianPackage: 'python3' },
];

/** A build system for headers only: node-gyp wants the two .gypi files that a Node source tree would have. */
const COMMON_GYPI = `{
  'target_defaults': {
    'default_configuration': 'Release',
    'configurations': { 'Release': {}, 'Debug': {} },
    'cflags': ['-pthread'],
    'ldflags': ['-pthread']
  }
}
`;
const CONFIG_GYPI = "{ 'target_defaults': {}, 'variables': {} }\n";

/** First line of `<command> --version`, or null when the command does not run. */
function toolVersion(command) {
  const result = spawnSync(command, ['--version'], { encoding: 'utf8' });
  return result.status === 0 ? result.stdout.split('\n', 1)[0] : null;
}

/** Every file whose content decides the result: sources, and what they include from the kernels (headers and tables). */
function inputFiles() {
  const below = (folder, pattern) =>
    fs
      .readdirSync(path.join(nativeDir, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => pattern.test(name))
      .map((name) => path.join(nativeDir, folder, name));
  return [
    ...below('src', /\.(cc|h)$/),
    ...below('kernels', /\.(h|def)$/),
    path.join(nativeDir, 'binding.gyp'),
    path.join(nativeDir, 'build.mjs'),
    path.join(nativeDir, 'nodeGypEnvironment.mjs'),
    path.join(nativeDir, '..', 'package.json'),
    require.resolve('node-addon-api/package.json'),
    require.resolve('node-api-headers/package.json'),
  ].sort();
}

/** SHA-256 over all inputs and the compiler. */
function inputHash(compilerVersion) {
  const hash = createHash('sha256');
  hash.update(`${compilerVersion}\0${process.arch}\0`);
  for (const file of inputFiles()) {
    hash.update(`${path.relative(nativeDir, file)}\0`);
    hash.update(fs.readFileSync(file));
    hash.update('\0');
  }
  return hash.digest('hex');
}

function isUpToDate(hash) {
  return fs.existsSync(addonPath) && fs.existsSync(stampPath) && fs.readFileSync(stampPath, 'utf8') === hash;
}

/** Lays out node-api-headers in a folder as node-gyp expects Node's headers. */
function assembleNodeDir(nodeDir) {
  const include = path.join(nodeDir, 'include', 'node');
  fs.mkdirSync(include, { recursive: true });
  const headers = require('node-api-headers').include_dir;
  for (const name of fs.readdirSync(headers)) fs.copyFileSync(path.join(headers, name), path.join(include, name));
  fs.writeFileSync(path.join(include, 'common.gypi'), COMMON_GYPI);
  fs.writeFileSync(path.join(include, 'config.gypi'), CONFIG_GYPI);
}

/** A folder for temporary files whose path has no space. */
function plainTemporaryFolder() {
  return [os.tmpdir(), '/tmp', '/var/tmp'].find((folder) => !/\s/.test(folder) && fs.existsSync(folder)) ?? '/';
}

/** Runs node-gyp in native/; its output goes to our stderr. */
function nodeGyp(args) {
  const result = spawnSync(process.execPath, [require.resolve('node-gyp/bin/node-gyp.js'), ...args], {
    cwd: nativeDir,
    env: nodeGypEnvironment(process.env),
    stdio: ['ignore', 2, 2],
  });
  return result.status === 0;
}

function main() {
  if (process.platform !== 'linux') {
    console.error(`The native addon is built on Linux only; on ${process.platform} the extension works without it.`);
    return 3;
  }
  const missing = TOOLS.filter((tool) => toolVersion(tool.command) === null);
  if (missing.length > 0) {
    const names = missing.map((tool) => tool.command).join(', ');
    const packages = missing.map((tool) => tool.debianPackage).join(' ');
    console.error(`Missing to build the native addon: ${names}. Get it with: sudo apt-get install -y ${packages}`);
    return 3;
  }
  // node-gyp knows one folder per checkout, and so two builds there would write over each other's objects.
  return withBuildLock(path.join(buildDir, 'attention_addon.lock'), build);
}

/** Builds unless nothing changed; alone in this checkout. */
function build() {
  const hash = inputHash(toolVersion('g++'));
  if (!process.argv.includes('--force') && isUpToDate(hash)) {
    console.log('native addon: up to date');
    return 0;
  }
  // node-gyp writes this path into compiler flags unquoted, so where ours holds a space it has to be elsewhere.
  const elsewhere = /\s/.test(buildDir);
  const nodeDir = elsewhere
    ? fs.mkdtempSync(path.join(plainTemporaryFolder(), 'attn-headers-'))
    : path.join(buildDir, 'nodedir');
  assembleNodeDir(nodeDir);
  const jobs = String(os.availableParallelism());
  const built = nodeGyp([
    'configure',
    'build',
    '--release',
    `--nodedir=${nodeDir}`,
    `--jobs=${jobs}`,
    '--loglevel=warn',
  ]);
  if (elsewhere) fs.rmSync(nodeDir, { recursive: true });
  if (!built) {
    console.error('native addon: the build failed, see the compiler output above');
    return 1;
  }
  const temporary = `${addonPath}.${String(process.pid)}.tmp`;
  fs.copyFileSync(path.join(buildDir, 'Release', 'attention_addon.node'), temporary);
  spawnSync('strip', ['--strip-unneeded', temporary], { stdio: 'inherit' });
  fs.renameSync(temporary, addonPath);
  fs.writeFileSync(stampPath, hash);
  console.log(`native addon: built ${path.relative(process.cwd(), addonPath)}`);
  return 0;
}

process.exitCode = main();
