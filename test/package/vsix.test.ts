/** The packages as a user gets them: made, installed into a VS Code, looked at, opened. Needs the addon and kernels built. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { deflateRawSync } from 'node:zlib';
import type { Frame, Page } from 'playwright-core';
import { launchChromium } from '../../extension/dev/chromium.mjs';
import { NATIVE_TARGET } from '../../extension/dev/builds.mjs';
import { packageVsix } from '../../extension/dev/package.mjs';
import { ensureVscodeServer, installVsix, startVscodeServer, workbenchUrl } from '../../extension/dev/vscodeServer.mjs';

const run = promisify(execFile);

/** Budgets: what a user waits for over a slow link (nearly all of it kernel images), and what the extension host loads. */
const MAX_VSIX_BYTES = 4 * 2 ** 20;
const MAX_KERNEL_BYTES_COMPRESSED = 3_000_000;
const MAX_HOST_BUNDLE_BYTES = 576 * 1024;
const MAX_PANEL_BUNDLE_BYTES = 150 * 1024;
/** What VS Code's own server asks of a Linux machine. */
const MAX_GLIBC = [2, 28];
const MAX_GLIBCXX = [3, 4, 25];

/** Everything that ships without native parts, as patterns of paths inside the extension's folder. */
const SHIPPED = [
  /^package\.json$/,
  /^package\.nls\.json$/,
  /^readme\.md$/,
  /^changelog\.md$/,
  /^LICENSE\.txt$/,
  /^\.vsixmanifest$/,
  /^dist\/(extension|helperMain|cli|panel)\.js$/,
  /^dist\/panel\.css$/,
  /^dist\/THIRD_PARTY_NOTICES\.txt$/,
  /^extension\/python\/(backends\/)?\w+\.py$/,
  /^media\/icon\.png$/,
  /^media\/walkthrough\/[\w.-]+\.(md|svg)$/,
];
const SHIPPED_NATIVE = [
  /^native\/attention_addon\.node$/,
  /^native\/kernels\/(manifest\.json|modules\.tsv|[\w.]+\.(cubin|ptx))$/,
];
const REQUIRED = [
  'package.json',
  'dist/extension.js',
  'dist/helperMain.js',
  'dist/cli.js',
  'dist/panel.js',
  'dist/panel.css',
  'dist/THIRD_PARTY_NOTICES.txt',
];

interface Installed {
  readonly vsix: string;
  readonly dataDir: string;
  readonly extensionDir: string;
  /** Paths relative to `extensionDir`, with forward slashes. */
  readonly files: readonly string[];
}

async function makeAndInstall(flavour: 'native' | 'universal'): Promise<Installed> {
  const vsix = await packageVsix(flavour);
  // Short: VS Code puts a Unix socket below it.
  const dataDir = await mkdtemp(path.join(os.tmpdir(), 'abd-p-'));
  await installVsix(await ensureVscodeServer(console.log), dataDir, vsix);
  const extensionsDir = path.join(dataDir, 'extensions');
  const folder = (await readdir(extensionsDir)).find((name) => name.startsWith('attention-backend-diagnostics.'));
  assert.ok(folder, 'the VSIX was not installed');
  const extensionDir = path.join(extensionsDir, folder);
  const entries = await readdir(extensionDir, { recursive: true, withFileTypes: true });
  const files = entries
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(extensionDir, path.join(entry.parentPath, entry.name)).split(path.sep).join('/'));
  return { vsix, dataDir, extensionDir, files };
}

/** Runs the shipped command line; resolves to its output whatever its exit code. */
async function cli(installed: Installed, ...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  try {
    const { stdout, stderr } = await run(process.execPath, [
      path.join(installed.extensionDir, 'dist', 'cli.js'),
      ...args,
    ]);
    return { code: 0, stdout, stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { code, stdout, stderr };
  }
}

/** Highest `PREFIX_x.y` version an object file asks for; components as numbers. */
function highestVersion(symbols: string, prefix: string): number[] {
  const versions = [...symbols.matchAll(new RegExp(`\\b${prefix}_([0-9.]+)`, 'g'))].map((match) =>
    (match[1] ?? '').split('.').map(Number),
  );
  assert.ok(versions.length > 0, `no ${prefix} version found`);
  return versions.reduce((highest, each) => (compareVersions(each, highest) > 0 ? each : highest));
}

function compareVersions(a: readonly number[], b: readonly number[]): number {
  const length = Math.max(a.length, b.length);
  for (let i = 0; i < length; i += 1) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** The frame that holds the panel's own page, inside VS Code's webview frames. */
async function panelFrame(page: Page): Promise<Frame> {
  const deadline = Date.now() + 60_000;
  for (;;) {
    for (const frame of page.frames()) {
      const found = await frame
        .locator('main')
        .count()
        .catch(() => 0);
      if (found > 0 && frame.parentFrame()?.url().includes('/webview/') === true) return frame;
    }
    assert.ok(Date.now() < deadline, 'the panel did not appear');
    await page.waitForTimeout(200);
  }
}

describe(`the ${NATIVE_TARGET} package`, () => {
  let installed: Installed;
  before(async () => {
    installed = await makeAndInstall('native');
  });
  after(() => rm(installed.dataDir, { recursive: true, force: true }));

  test('holds what the allow-list names and nothing else', () => {
    const odd = installed.files.filter(
      (file) => ![...SHIPPED, ...SHIPPED_NATIVE].some((pattern) => pattern.test(file)),
    );
    assert.deepEqual(odd, []);
    for (const file of [...REQUIRED, 'native/attention_addon.node', 'native/kernels/manifest.json']) {
      assert.ok(installed.files.includes(file), `${file} is missing`);
    }
  });

  test('stays in its size budgets', async () => {
    const bytes = async (file: string): Promise<number> => (await stat(path.join(installed.extensionDir, file))).size;
    const vsixBytes = (await stat(installed.vsix)).size;
    console.log(
      `VSIX ${(vsixBytes / 2 ** 20).toFixed(2)} MiB, extension.js ${await bytes('dist/extension.js')} B, panel.js ${await bytes('dist/panel.js')} B`,
    );
    assert.ok(vsixBytes <= MAX_VSIX_BYTES, `${vsixBytes} bytes`);
    const images = installed.files.filter((name) => /^native\/kernels\/.*\.(cubin|ptx)$/.test(name));
    const contents = await Promise.all(images.map((name) => readFile(path.join(installed.extensionDir, name))));
    const compressed = contents.reduce((sum, image) => sum + deflateRawSync(image, { level: 9 }).length, 0);
    assert.ok(compressed <= MAX_KERNEL_BYTES_COMPRESSED, `${compressed} bytes of kernels, compressed`);
    assert.ok((await bytes('dist/extension.js')) <= MAX_HOST_BUNDLE_BYTES);
    assert.ok((await bytes('dist/panel.js')) <= MAX_PANEL_BUNDLE_BYTES);
  });

  test('ships every kernel module its manifest names, unchanged', async () => {
    const manifestFile = path.join(installed.extensionDir, 'native', 'kernels', 'manifest.json');
    const { modules } = JSON.parse(await readFile(manifestFile, 'utf8')) as {
      modules: readonly { file: string; sha256: string }[];
    };
    assert.ok(modules.length > 0);
    const { createHash } = await import('node:crypto');
    for (const { file, sha256 } of modules) {
      const content = await readFile(path.join(path.dirname(manifestFile), file));
      assert.equal(createHash('sha256').update(content).digest('hex'), sha256, file);
    }
    const shipped = installed.files.filter((file) => /\.(cubin|ptx)$/.test(file));
    assert.equal(shipped.length, modules.length, 'modules that the manifest does not name');
  });

  test('has an addon that loads wherever VS Code’s server does', async () => {
    const addon = path.join(installed.extensionDir, 'native', 'attention_addon.node');
    const { stdout } = await run('objdump', ['-T', addon], { maxBuffer: 2 ** 24 });
    assert.ok(
      compareVersions(highestVersion(stdout, 'GLIBC'), MAX_GLIBC) <= 0,
      `glibc ${highestVersion(stdout, 'GLIBC').join('.')}`,
    );
    assert.ok(
      compareVersions(highestVersion(stdout, 'GLIBCXX'), MAX_GLIBCXX) <= 0,
      `libstdc++ ${highestVersion(stdout, 'GLIBCXX').join('.')}`,
    );
  });

  test('has a command line that runs and finds its addon', async () => {
    const help = await cli(installed, '--help');
    assert.equal(help.code, 0, help.stderr);
    assert.match(help.stdout, /attn-diag/);
    const devices = await cli(installed, 'devices');
    assert.equal(devices.code, 0, devices.stderr);
    assert.match(devices.stdout, /cpu/i);
    const measured = await cli(installed, 'run', '--device', 'cpu', '--preset', 'quick');
    assert.equal(measured.code, 0, `${measured.stdout}\n${measured.stderr}`);
  });

  test('opens its panel in VS Code', async () => {
    const server = await startVscodeServer(await ensureVscodeServer(console.log), {
      dataDir: installed.dataDir,
      forTests: false,
    });
    const browser = await launchChromium();
    // Elsewhere: an extension inside the folder that is open is not trusted to run.
    const workspace = await mkdtemp(path.join(os.tmpdir(), 'abd-w-'));
    try {
      const page = await browser.newPage();
      await page.goto(workbenchUrl(server, workspace), { timeout: 120_000 });
      // In the status bar from start-up on, whatever it has to say by then.
      await page
        .getByRole('button', { name: /^Attention backend:/ })
        .first()
        .click({ timeout: 120_000 });
      const frame = await panelFrame(page);
      await frame.locator('main').filter({ hasText: 'use_system_flash_attn' }).waitFor({ timeout: 60_000 });
    } finally {
      await browser.close();
      await server.stop();
      await rm(workspace, { recursive: true });
    }
  });
});

describe('the universal package', () => {
  let installed: Installed;
  before(async () => {
    installed = await makeAndInstall('universal');
  });
  after(() => rm(installed.dataDir, { recursive: true, force: true }));

  test('holds what the allow-list names, and nothing native', () => {
    const odd = installed.files.filter((file) => !SHIPPED.some((pattern) => pattern.test(file)));
    assert.deepEqual(odd, []);
    for (const file of REQUIRED) assert.ok(installed.files.includes(file), `${file} is missing`);
  });

  test('explains without an addon, and says why it does not measure', async () => {
    const measured = await cli(installed, 'run', '--device', 'cpu');
    assert.notEqual(measured.code, 0);
    assert.match(measured.stderr + measured.stdout, /native helper|addon/i);
    assert.doesNotMatch(measured.stderr + measured.stdout, /\bat .*\.js:\d+/, 'a stack trace is not a sentence');
  });
});

describe('what the packages declare', () => {
  test('every placeholder of the manifest has its string', async () => {
    const manifest = await readFile('package.json', 'utf8');
    const keys = [...manifest.matchAll(/"%([\w.-]+)%"/g)].map((match) => match[1] ?? '');
    const strings =
      keys.length === 0 ? {} : (JSON.parse(await readFile('package.nls.json', 'utf8')) as Record<string, string>);
    assert.deepEqual(
      keys.filter((key) => !(key in strings)),
      [],
    );
  });
});
