/**
 * A real VS Code in the browser: fetched once from the npm registry, started on 127.0.0.1, stopped without leftovers.
 *
 * The npm package code-server contains a whole VS Code server and workbench; only that inner server is used. Two committed
 * lockfiles (vscodeServer/ and vscodeServer/workbench/) fix every byte, and no install script runs: without them three
 * optional natives are missing (a log writer, a watchdog, a file copier) and VS Code falls back to its own.
 */
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { closeSync, existsSync, openSync } from 'node:fs';
import { copyFile, mkdir, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { npmEnvironment, vscodeEnvironment } from './environments.mjs';
import { cacheRoot, REPO_ROOT } from './paths.mjs';
import { killTree, npmCommand, runQuietly } from './processes.mjs';

const LOCK_DIR = path.join(REPO_ROOT, 'extension', 'dev', 'vscodeServer');
const LOCKED_FILES = ['package.json', 'package-lock.json', 'workbench/package.json', 'workbench/package-lock.json'];
/** A server that has not said where it listens by then is not going to. */
const START_DEADLINE_MS = 120_000;

/**
 * @typedef {object} ServerInstall
 * @property {string} node absolute path of the Node that runs the server (it needs a newer one than the toolchain)
 * @property {string} serverMain absolute path of the server's entry
 */

/**
 * @typedef {object} RunningServer
 * @property {number} port
 * @property {string} origin `http://127.0.0.1:PORT`
 * @property {string | null} token connection token; `null` when started without one
 * @property {string} logFile
 * @property {Promise<number | null>} exited exit code
 * @property {() => Promise<void>} stop ends the server and everything it started
 */

/**
 * The fetched server, fetching it first when this version is not in the cache.
 * @param {(line: string) => void} say
 * @returns {Promise<ServerInstall>}
 * @throws {Error} with npm's own words when the fetch fails
 */
export async function ensureVscodeServer(say) {
  const hash = createHash('sha256');
  for (const file of LOCKED_FILES) hash.update(await readFile(path.join(LOCK_DIR, file)));
  const base = path.join(cacheRoot(), 'vscode-server');
  const installDir = path.join(base, hash.digest('hex').slice(0, 16));
  if (!existsSync(installDir)) {
    say('Fetching a browser VS Code into the cache (once, about 550 MB unpacked, under a minute) …');
    await mkdir(base, { recursive: true });
    const partDir = path.join(base, `.part-${process.pid}`);
    await fetchInto(partDir);
    // Another run may have finished first; both hold the same bytes.
    await rename(partDir, installDir).catch(() => rm(partDir, { recursive: true, force: true }));
    await removeOthers(base, installDir);
  }
  return {
    node: path.join(installDir, 'node_modules', `node-linux-${process.arch}`, 'bin', 'node'),
    serverMain: path.join(installDir, 'node_modules', 'code-server', 'lib', 'vscode', 'out', 'server-main.js'),
  };
}

/** @param {string} dir */
async function fetchInto(dir) {
  await rm(dir, { recursive: true, force: true });
  await mkdir(dir, { recursive: true });
  await copyFile(path.join(LOCK_DIR, 'package.json'), path.join(dir, 'package.json'));
  await copyFile(path.join(LOCK_DIR, 'package-lock.json'), path.join(dir, 'package-lock.json'));
  await npmCi(dir);
  // The workbench inside the package has dependencies of its own and comes with a lockfile that npm calls out of step.
  const workbenchDir = path.join(dir, 'node_modules', 'code-server', 'lib', 'vscode');
  await rm(path.join(workbenchDir, 'npm-shrinkwrap.json'), { force: true });
  await copyFile(path.join(LOCK_DIR, 'workbench', 'package.json'), path.join(workbenchDir, 'package.json'));
  await copyFile(path.join(LOCK_DIR, 'workbench', 'package-lock.json'), path.join(workbenchDir, 'package-lock.json'));
  await npmCi(workbenchDir);
}

/** @param {string} dir */
async function npmCi(dir) {
  const { command, args } = npmCommand();
  // The packages name newer Nodes than the one that fetches them; they run on the Node fetched with them.
  await runQuietly(
    command,
    [...args, 'ci', '--omit=dev', '--ignore-scripts', '--engine-strict=false', '--no-audit', '--no-fund'],
    { cwd: dir, env: npmEnvironment(process.env) },
  );
}

/**
 * @param {string} base
 * @param {string} keep
 */
async function removeOthers(base, keep) {
  for (const name of await readdir(base)) {
    const dir = path.join(base, name);
    if (dir !== keep && !name.startsWith('.part-')) await rm(dir, { recursive: true, force: true });
  }
}

/**
 * Starts the server on a free port of 127.0.0.1.
 * @param {ServerInstall} install
 * @param {object} options
 * @param {string} options.dataDir settings, installed extensions and logs of this server
 * @param {boolean} options.forTests no connection token and the smoke-test driver: only on a machine of one's own, because
 *   every local user could then drive this VS Code
 * @param {boolean} [options.workspaceTrust] default true
 * @param {number} [options.port] 0 or nothing = any free one
 * @param {NodeJS.ProcessEnv} [options.env]
 * @returns {Promise<RunningServer>}
 */
export async function startVscodeServer(
  install,
  { dataDir, forTests, workspaceTrust = true, port = 0, env = process.env },
) {
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const tokenFile = path.join(dataDir, 'connection-token');
  const token = forTests ? null : randomBytes(24).toString('hex');
  if (token !== null) {
    await rm(tokenFile, { force: true });
    await writeFile(tokenFile, token, { mode: 0o600 });
  }
  const logFile = path.join(dataDir, 'server.log');
  const log = openSync(logFile, 'w', 0o600);
  const child = spawn(
    install.node,
    [
      install.serverMain,
      '--host=127.0.0.1',
      `--port=${port}`,
      '--accept-server-license-terms',
      '--telemetry-level=off',
      `--server-data-dir=${dataDir}`,
      ...(token === null
        ? ['--without-connection-token', '--enable-smoke-test-driver']
        : [`--connection-token-file=${tokenFile}`]),
      ...(workspaceTrust ? [] : ['--disable-workspace-trust']),
    ],
    // A group of its own, so that stopping it reaches the extension hosts and whatever they forked.
    { stdio: ['ignore', log, log], detached: true, env: vscodeEnvironment(env) },
  );
  closeSync(log);
  const stop = () => killTree(child);
  /** @type {Promise<number | null>} */
  const exited = new Promise((resolve) => {
    child.once('exit', (code) => resolve(code));
    child.once('error', () => resolve(null));
  });
  try {
    const boundPort = await waitForPort(logFile, exited);
    return { port: boundPort, origin: `http://127.0.0.1:${boundPort}`, token, logFile, exited, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/**
 * @param {string} logFile
 * @param {Promise<number | null>} exited
 */
async function waitForPort(logFile, exited) {
  let ended = false;
  void exited.then(() => (ended = true));
  const deadline = Date.now() + START_DEADLINE_MS;
  for (;;) {
    const text = await readFile(logFile, 'utf8');
    const port = /Extension host agent listening on (\d+)/.exec(text)?.[1];
    if (port !== undefined) return Number(port);
    if (ended || Date.now() > deadline) {
      const why = ended ? 'ended at once' : `did not start within ${START_DEADLINE_MS / 1000} s`;
      throw new Error(`The browser VS Code ${why}. Its log, ${logFile}, ends with:\n${text.slice(-2000)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/**
 * Installs a VSIX into the extensions folder of a server's data folder, as a user would.
 * @param {ServerInstall} install
 * @param {string} dataDir
 * @param {string} vsix absolute path
 */
export async function installVsix(install, dataDir, vsix) {
  await runQuietly(
    install.node,
    [
      install.serverMain,
      '--accept-server-license-terms',
      `--server-data-dir=${dataDir}`,
      `--install-extension=${vsix}`,
      '--force',
      '--telemetry-level=off',
    ],
    { cwd: REPO_ROOT, env: vscodeEnvironment(process.env) },
  );
}

/**
 * The address that opens a folder, or an empty window, in a running server.
 * @param {RunningServer} server
 * @param {string | null} folder absolute path; `null` = none
 * @param {[string, string][]} [payload] workbench start options; honoured only with the smoke-test driver
 */
export function workbenchUrl(server, folder, payload) {
  const url = new URL(server.origin);
  if (server.token !== null) url.searchParams.set('tkn', server.token);
  if (folder === null) url.searchParams.set('ew', 'true');
  else url.searchParams.set('folder', folder);
  if (payload !== undefined) url.searchParams.set('payload', JSON.stringify(payload));
  return url.href;
}

/**
 * The address of a file on the machine of the server, as the workbench writes it; any character may be in the path.
 * @param {RunningServer} server
 * @param {string} file absolute path
 */
export function remoteUri(server, file) {
  return `vscode-remote://127.0.0.1:${server.port}${file.split('/').map(encodeURIComponent).join('/')}`;
}
