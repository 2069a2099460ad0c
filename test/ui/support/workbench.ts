/** A real VS Code in Chromium with this extension in development, and the few gestures the scenarios need. */
import { mkdtemp, mkdir, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Browser, Frame, Page } from 'playwright-core';

/** VS Code's own names of the four kinds of theme. */
export const THEMES = {
  dark: 'Default Dark Modern',
  light: 'Default Light Modern',
  hcDark: 'Default High Contrast',
  hcLight: 'Default High Contrast Light',
} as const;
export type ThemeName = keyof typeof THEMES;

/** One running VS Code with one page. */
export interface Workbench {
  readonly page: Page;
  /** Folder that is open in it. */
  readonly folder: string;
  readonly close: () => Promise<void>;
}

/** Tools that must not be bundled: they find their files beside themselves. */
async function devTools() {
  const load = <T>(name: string): Promise<T> =>
    import(pathToFileURL(path.join(process.cwd(), 'extension', 'dev', name)).href) as Promise<T>;
  return {
    ...(await load<typeof import('../../../extension/dev/chromium.mjs')>('chromium.mjs')),
    ...(await load<typeof import('../../../extension/dev/vscodeServer.mjs')>('vscodeServer.mjs')),
  };
}

/** Starts a headless Chromium. */
export async function launchBrowser(): Promise<Browser> {
  const { launchChromium } = await devTools();
  return launchChromium();
}

/** Starts VS Code on a fresh folder with the given user settings. */
export async function openWorkbench(
  settings: Readonly<Record<string, unknown>>,
  viewport = { width: 1280, height: 900 },
): Promise<Workbench> {
  const { ensureVscodeServer, startVscodeServer, remoteUri, workbenchUrl, launchChromium } = await devTools();
  const install = await ensureVscodeServer((line) => console.log(line));
  const dataDir = await mkdtemp(path.join(os.tmpdir(), 'abd-ui-'));
  const folder = path.join(dataDir, 'work');
  await mkdir(path.join(folder, '.vscode'), { recursive: true });
  await writeFile(
    path.join(folder, '.vscode', 'settings.json'),
    JSON.stringify({ 'workbench.startupEditor': 'none', 'chat.disableAIFeatures': true, ...settings }, null, 2),
  );
  const server = await startVscodeServer(install, { dataDir, forTests: true, workspaceTrust: false });
  let browser: Browser | null = null;
  const close = async (): Promise<void> => {
    await browser?.close();
    await server.stop();
    await rm(dataDir, { recursive: true, force: true });
  };
  try {
    browser = await launchChromium();
    const page = await browser.newPage({ viewport });
    page.setDefaultTimeout(60_000);
    page.setDefaultNavigationTimeout(120_000);
    await page.goto(workbenchUrl(server, folder, [['extensionDevelopmentPath', remoteUri(server, process.cwd())]]));
    await page.locator('.statusbar-item', { hasText: 'GPU' }).first().waitFor({ timeout: 120_000 });
    return { page, folder, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Runs a palette command by its full title. */
export async function runCommand(page: Page, title: string): Promise<void> {
  await page.keyboard.press('F1');
  const input = page.locator('.quick-input-widget input.input');
  await input.waitFor();
  await input.fill(`>${title}`);
  await page.locator('.quick-input-list .monaco-list-row', { hasText: title }).first().waitFor();
  await page.keyboard.press('Enter');
}

/** Answers VS Code's own file dialog with a path. */
export async function chooseFile(page: Page, title: string, file: string): Promise<void> {
  const dialog = page.locator('.quick-input-widget', { hasText: title });
  await dialog.waitFor();
  const input = dialog.locator('input.input');
  // The dialog lists a folder while it is typed in, and takes Enter for what it has listed so far.
  for (let attempt = 0; attempt < 10 && (await dialog.isVisible()); attempt += 1) {
    if ((await input.inputValue()) !== file) await input.fill(file);
    await page.waitForTimeout(500);
    if (await dialog.isVisible()) await page.keyboard.press('Enter');
    await page.waitForTimeout(500);
  }
}

/** The panel's own document, two frames deep. */
export async function panelFrame(page: Page): Promise<Frame> {
  const deadline = Date.now() + 60_000;
  for (;;) {
    for (const frame of page.frames()) {
      if (!frame.url().includes('/webview/browser/pre/') || frame.parentFrame() === page.mainFrame()) continue;
      if ((await frame.locator('#app').count()) > 0) return frame;
    }
    if (Date.now() > deadline) throw new Error('The panel did not appear.');
    await page.waitForTimeout(100);
  }
}
