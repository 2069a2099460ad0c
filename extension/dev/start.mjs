/**
 * `npm start`: builds what this machine can use, prints its diagnosis, then opens VS Code with the panel.
 *
 *   npm start [-- FOLDER] [--headless] [--kernels] [--browser] [--port N] [--install] [--without-native]
 *
 * FOLDER           what VS Code opens; default: where npm was called
 * --headless       stop after the diagnosis in the terminal
 * --kernels        build the GPU kernels although no NVIDIA driver is installed here
 * --browser        open the browser VS Code although a desktop one is here
 * --port N         port of the browser VS Code; default: 8717 when free, else any free one
 * --install        install what is missing on this machine (apt-get) instead of only naming it
 * --without-native go on without a compiler: the extension then explains and does not measure
 */
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { REPO_ROOT, cacheRoot } from './paths.mjs';
import { ensurePrerequisites, mayInstall, nodeTooOld } from './prerequisites.mjs';
import { runInTerminal, runQuietly, which } from './processes.mjs';

const DEFAULT_PORT = 8717;
/** Tells the extension that it was opened to be looked at: it shows its panel once the window is up. */
const OPEN_PANEL_ENV = { ATTENTION_DIAGNOSTICS_OPEN_PANEL: '1' };

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    headless: { type: 'boolean', default: false },
    kernels: { type: 'boolean', default: false },
    browser: { type: 'boolean', default: false },
    port: { type: 'string' },
    install: { type: 'boolean', default: false },
    'without-native': { type: 'boolean', default: false },
  },
});

process.exitCode = await main().catch((/** @type {unknown} */ error) => {
  // What failed has printed its own output; a stack trace of this script adds nothing to it.
  console.error(error instanceof Error ? error.message : String(error));
  return 1;
});

/** @returns {Promise<number>} exit code */
async function main() {
  const tooOld = nodeTooOld();
  if (tooOld !== null) {
    console.error(tooOld);
    return 1;
  }
  if (!existsSync(path.join(REPO_ROOT, 'node_modules', 'esbuild'))) {
    console.error('The tools are not installed yet: npm install');
    return 1;
  }
  // Only now: these need what npm install brings.
  const { buildAddon, buildBundles, buildKernels, hasNvidiaDriver, NATIVE_TARGET } = await import('./builds.mjs');
  const platform = `${process.platform}-${process.arch}`;
  const native = !options['without-native'] && platform === NATIVE_TARGET;
  if (platform !== NATIVE_TARGET)
    console.log(`Measuring works on ${NATIVE_TARGET} only; this is ${platform}: going on without it.`);
  const kernels = native && (options.kernels || hasNvidiaDriver());
  if (native && !(await ensurePrerequisites(kernels ? ['addon', 'kernels'] : ['addon'], { install: mayInstall() }))) {
    console.error(
      'Run that and start again; or: npm start -- --install; or, to go on without measuring: npm start -- --without-native',
    );
    return 1;
  }
  await buildBundles();
  if (native) await buildAddon();
  if (kernels) await buildKernels();
  else if (native)
    console.log('No NVIDIA driver here: GPU kernels are not built (npm start -- --kernels builds them anyway).');

  const diagnosed = await printDiagnosis();
  if (options.headless) return diagnosed;
  return await openVscode({ native, kernels });
}

/**
 * Devices, the declared matrix, and a short run, as the command line prints them.
 * @returns {Promise<number>} the first exit code that was not 0
 */
async function printDiagnosis() {
  let exitCode = 0;
  for (const args of [['devices'], ['explain'], ['run', '--preset', 'quick']]) {
    console.log(`\n$ attn-diag ${args.join(' ')}`);
    const code = await runInTerminal(process.execPath, [path.join(REPO_ROOT, 'dist', 'cli.js'), ...args], {
      cwd: REPO_ROOT,
    });
    exitCode ||= code;
  }
  console.log('');
  return exitCode;
}

/** @typedef {{native: boolean, kernels: boolean}} Built what of the native parts is there to be packaged */

/** @param {Built} built */
async function openVscode(built) {
  const folder = path.resolve(process.env.INIT_CWD ?? REPO_ROOT, positionals[0] ?? '.');
  const code = which('code');
  if (!options.browser && code !== null) {
    if (process.env.VSCODE_IPC_HOOK_CLI !== undefined) return await installIntoThisWindow(code, built);
    if (hasDesktop()) {
      console.log(`Opening VS Code with the extension from ${REPO_ROOT}`);
      return await runInTerminal(code, ['--new-window', `--extensionDevelopmentPath=${REPO_ROOT}`, folder], {
        cwd: REPO_ROOT,
        env: { ...process.env, ...OPEN_PANEL_ENV },
      });
    }
  }
  return await openBrowserVscode(folder, built);
}

/**
 * The terminal of a remote window: `code` there cannot open a development host, but it can install into the window.
 * @param {string} code
 * @param {Built} built
 */
async function installIntoThisWindow(code, built) {
  const vsix = await packageForHere(built);
  const exitCode = await runInTerminal(code, ['--install-extension', vsix, '--force'], { cwd: REPO_ROOT });
  if (exitCode === 0) {
    console.log('Installed into this window. Open the panel with F1, "Attention: Open Panel", or from the status bar.');
    console.log('If an older version was running, reload the window first (F1, "Developer: Reload Window").');
  }
  return exitCode;
}

/**
 * Packages what was built. In a process of its own, because the packager lists every file on the terminal.
 * @param {Built} built
 * @returns {Promise<string>} path of the VSIX
 */
async function packageForHere({ native, kernels }) {
  const { vsixPath } = await import('./package.mjs');
  const flavour = native ? 'native' : 'universal';
  await runQuietly(
    process.execPath,
    [
      path.join(REPO_ROOT, 'extension', 'dev', 'package.mjs'),
      '--built',
      flavour,
      ...(kernels ? [] : ['--without-kernels']),
    ],
    { cwd: REPO_ROOT },
  );
  return vsixPath(flavour);
}

/**
 * @param {string} folder
 * @param {Built} built
 */
async function openBrowserVscode(folder, built) {
  if (process.platform !== 'linux') {
    console.error('No `code` command was found. Install VS Code with its `code` command, then start again.');
    return 1;
  }
  const { ensureVscodeServer, installVsix, startVscodeServer, workbenchUrl } = await import('./vscodeServer.mjs');
  const vsix = await packageForHere(built);
  const install = await ensureVscodeServer((line) => console.log(line));
  const dataDir = path.join(cacheRoot(), 'vscode-data');
  await seedUserSettings(dataDir);
  await installVsix(install, dataDir, vsix);
  const server = await startVscodeServer(install, {
    dataDir,
    forTests: false,
    port: await choosePort(),
    env: { ...process.env, ...OPEN_PANEL_ENV },
  });
  // Before anything is printed, so that an early Ctrl-C finds the handler.
  const interrupted = new Promise((resolve) => {
    for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) process.once(signal, resolve);
  });
  console.log(`\nVS Code is at\n\n  ${workbenchUrl(server, folder)}\n`);
  console.log('The panel opens by itself; later: F1, "Attention: Open Panel", or the status bar.');
  console.log('To measure, tell VS Code that you trust the folder. Ctrl-C here ends it.');
  if (process.env.SSH_CONNECTION !== undefined) {
    console.log(`From your own machine, first: ssh -L ${server.port}:127.0.0.1:${server.port} THIS_HOST`);
  }
  const ended = await Promise.race([interrupted.then(() => 'interrupted'), server.exited.then(() => 'exited')]);
  await server.stop();
  if (ended === 'interrupted') return 0;
  console.error(`VS Code ended by itself; its log is ${server.logFile}`);
  return 1;
}

/**
 * First start only: no welcome pages and no chat next to the panel. After that the file is the user's.
 * @param {string} dataDir
 */
async function seedUserSettings(dataDir) {
  const file = path.join(dataDir, 'data', 'User', 'settings.json');
  if (existsSync(file)) return;
  await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
  const settings = { 'workbench.startupEditor': 'none', 'workbench.secondarySideBar.defaultVisibility': 'hidden' };
  await writeFile(file, `${JSON.stringify(settings, null, 2)}\n`, { mode: 0o600 });
}

/** Stays on one port where it can, because the browser keeps a user's settings per address. */
async function choosePort() {
  if (options.port !== undefined) {
    const port = Number(options.port);
    if (!Number.isInteger(port) || port < 1 || port > 65_535)
      throw new Error(`--port ${options.port} is not a port number (1 to 65535).`);
    return port;
  }
  return (await isFree(DEFAULT_PORT)) ? DEFAULT_PORT : 0;
}

/**
 * @param {number} port
 * @returns {Promise<boolean>}
 */
function isFree(port) {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)));
  });
}

/** A desktop build needs a display; over plain ssh there is none although `code` may be installed. */
function hasDesktop() {
  return process.platform !== 'linux' || process.env.DISPLAY !== undefined || process.env.WAYLAND_DISPLAY !== undefined;
}
