#!/usr/bin/env node
/**
 * Stands in for the desktop VS Code in `@vscode/test-electron`: started with the same flags, it runs the same tests in the
 * extension host of a real VS Code server, with the workbench in a headless Chromium.
 *
 * Honoured: --extensionDevelopmentPath, --extensionTestsPath, --disable-workspace-trust (taken back by
 * --ask-workspace-trust), the folder to open if any. Everything else
 * that a desktop build understands is ignored. Exits with the tests' own code.
 */
import { createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { launchChromium } from '../../extension/dev/chromium.mjs';
import { TEST_LINE_PREFIX } from './testLines.mjs';
import { ensureVscodeServer, remoteUri, startVscodeServer, workbenchUrl } from '../../extension/dev/vscodeServer.mjs';

/** The slowest suite takes well under a minute; a workbench that hangs must not hang the build. */
const DEADLINE_MS = 8 * 60_000;

const args = process.argv.slice(2);
const developmentPath = flag('extensionDevelopmentPath');
const testsPath = flag('extensionTestsPath');
const folder = args.find((arg) => path.isAbsolute(arg)) ?? null;
if (developmentPath === null || testsPath === null) {
  console.error('usage: browserHost.mjs --extensionDevelopmentPath=DIR --extensionTestsPath=FILE [FOLDER]');
  process.exit(2);
}

const install = await ensureVscodeServer((line) => console.log(line));
// Short, because the extension host puts a Unix socket below it.
const dataDir = await mkdtemp(path.join(os.tmpdir(), 'abd-'));
const server = await startVscodeServer(install, {
  dataDir,
  forTests: true,
  // The runner always asks for no trust; a suite about restricted mode asks for it back.
  workspaceTrust: !args.includes('--disable-workspace-trust') || args.includes('--ask-workspace-trust'),
});
/** @type {(code: number) => void} */
let finish = () => undefined;
/** @type {Promise<number>} */
const finished = new Promise((resolve) => (finish = resolve));
const timer = setTimeout(() => {
  console.error(`The tests did not end within ${DEADLINE_MS / 60_000} minutes.`);
  finish(124);
}, DEADLINE_MS);
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) process.once(signal, () => finish(130));
void server.exited.then(() => finish(1));

let code = 1;
const browser = await launchChromium();
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  // The workbench logs a great deal, and every line of it arrives here: only what the tests say belongs on the terminal.
  const workbenchLog = createWriteStream(path.join(dataDir, 'workbench.log'));
  await page.exposeFunction('codeAutomationLog', (/** @type {string} */ _type, /** @type {unknown[]} */ values) => {
    const line = values.map((value) => (typeof value === 'string' ? value : JSON.stringify(value))).join(' ');
    workbenchLog.write(`${line}\n`);
    if (line.startsWith(TEST_LINE_PREFIX)) console.log(line.slice(TEST_LINE_PREFIX.length));
  });
  await page.exposeFunction('codeAutomationExit', (/** @type {number} */ exitCode) => finish(exitCode));
  await page.goto(
    workbenchUrl(server, folder, [
      ['extensionDevelopmentPath', remoteUri(server, developmentPath)],
      ['extensionTestsPath', remoteUri(server, testsPath)],
    ]),
    { timeout: 120_000 },
  );
  code = await finished;
} finally {
  clearTimeout(timer);
  await browser.close();
  await server.stop();
  if (code === 0) await rm(dataDir, { recursive: true, force: true });
  else console.error(`Logs of this VS Code are kept in ${dataDir}`);
}
process.exit(code);

/**
 * @param {string} name
 * @returns {string | null}
 */
function flag(name) {
  const prefix = `--${name}=`;
  return args.find((arg) => arg.startsWith(prefix))?.slice(prefix.length) ?? null;
}
