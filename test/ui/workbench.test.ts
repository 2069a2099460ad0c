/** The whole path in a real VS Code: matrix, flag, a run on the CPU device, cancel, an opened report. */
import assert from 'node:assert/strict';
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Frame, Page } from 'playwright-core';
import { chooseFile, openWorkbench, panelFrame, runCommand, THEMES, type Workbench } from './support/workbench';

const SHOTS = path.join(process.cwd(), 'test', 'out', 'shots');

let workbench: Workbench;
let page: Page;
let panel: Frame;

/** What the status bar says of us. */
async function statusText(): Promise<string> {
  const item = page.locator('.statusbar-item[id*="attentionDiagnostics"]').first();
  return (await item.innerText()).replace(/\s+/g, ' ').trim();
}

/** Waits until `read` gives what `accept` wants; fails with the last value. */
async function eventually<T>(read: () => Promise<T>, accept: (value: T) => boolean, timeoutMs = 60_000): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const value = await read();
    if (accept(value)) return value;
    if (Date.now() > deadline) assert.fail(`still ${JSON.stringify(value)} after ${timeoutMs} ms`);
    await page.waitForTimeout(100);
  }
}

const settingsFile = (): string => path.join(workbench.folder, '.vscode', 'settings.json');

before(async () => {
  await mkdir(SHOTS, { recursive: true });
  workbench = await openWorkbench({ 'workbench.colorTheme': THEMES.dark });
  page = workbench.page;
});

after(async () => {
  await page.screenshot({ path: path.join(SHOTS, 'workbench-last.png') });
  await workbench.close();
});

describe('a machine without a GPU', () => {
  it('starts nothing until asked, then opens the panel and probes', async (t) => {
    assert.equal(await statusText(), 'GPU: not probed');
    const askedAt = Date.now();
    await page.locator('.statusbar-item[id*="attentionDiagnostics"]').first().click();
    panel = await panelFrame(page);
    await panel.locator('#app:not([aria-busy])').waitFor();
    // A frame later it is on the screen. A figure to record, not to fail on.
    await panel.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve, 0))));
    t.diagnostic(`first snapshot painted ${Date.now() - askedAt} ms after the click`);
    await panel.getByText(/No GPU was found/).waitFor({ timeout: 60_000 });
    await eventually(statusText, (text) => text.startsWith('CPU'));
    await page.screenshot({ path: path.join(SHOTS, 'workbench-no-gpu.png') });
  });

  it('shows the declared matrix for a family that is not here, and says so in the status bar', async () => {
    await panel.getByLabel("Ask vLLM's rules about").selectOption({ label: 'SM90 Hopper' });
    await panel.getByRole('gridcell').first().waitFor();
    await eventually(statusText, (text) => /if SM90 · FLASH_ATTN \(FA3\)/.test(text));
    await panel.getByRole('gridcell').nth(4).click();
    assert.match(await panel.locator('.details').innerText(), /vllm 0\.\d+\.\d+ /);
    await page.screenshot({ path: path.join(SHOTS, 'workbench-matrix.png') });
  });

  it('writes the flag to the workspace settings, and follows them when they are edited by hand', async () => {
    await panel.getByRole('switch').click();
    const written = await eventually(
      async () => JSON.parse(await readFile(settingsFile(), 'utf8')) as Record<string, unknown>,
      (settings) => settings['attentionDiagnostics.useSystemFlashAttn'] === true,
    );
    await eventually(statusText, (text) => text.includes('system FA on'));
    await panel.locator('[role=switch][aria-checked=true]').waitFor();
    await page.screenshot({ path: path.join(SHOTS, 'workbench-flag-on.png') });
    await writeFile(
      settingsFile(),
      JSON.stringify({ ...written, 'attentionDiagnostics.useSystemFlashAttn': false }, null, 2),
    );
    await panel.locator('[role=switch][aria-checked=false]').waitFor();
    await eventually(statusText, (text) => !text.includes('system FA on'));
    await runCommand(page, 'Attention: Toggle use_system_flash_attn');
    await panel.locator('[role=switch][aria-checked=true]').waitFor();
  });

  it('runs the kernels on the CPU device with a correctness check for every row', async () => {
    await panel.getByRole('button', { name: /^Run \d+ cases on the CPU/ }).click();
    await panel
      .getByText(/^Finished: /)
      .first()
      .waitFor({ timeout: 180_000 });
    const rows = await panel.locator('.results tbody tr').allInnerTexts();
    assert.equal(rows.length, 6);
    for (const row of rows) assert.match(row, /ok[\s\S]*CPU[\s\S]*rows? checked/);
    await panel.locator('.results').scrollIntoViewIfNeeded();
    await page.screenshot({ path: path.join(SHOTS, 'workbench-results.png') });
  });

  it('answers odd sizes with a reason', async () => {
    await panel.locator('summary', { hasText: 'head sizes' }).click();
    await panel.getByRole('textbox', { name: 'Head sizes' }).fill('7, 128');
    await panel.getByRole('textbox', { name: 'KV page sizes' }).fill('24');
    const run = panel.getByRole('button', { name: 'Run 2 cases on the CPU reference device' });
    await run.waitFor();
    await run.click();
    await panel
      .getByText(/^Finished: 2 unsupported/)
      .first()
      .waitFor({ timeout: 60_000 });
    assert.match((await panel.locator('.results tbody').innerText()).replaceAll('\n', ' '), /headDim 7.*pageSize 24/);
  });

  it('cancels and can run again', async (t) => {
    await panel
      .getByRole('textbox', { name: 'Head sizes' })
      .fill('256, 264, 272, 280, 288, 296, 304, 312, 320, 328, 336');
    await panel.getByRole('textbox', { name: 'KV page sizes' }).fill('contiguous, 16, 32');
    await panel.getByRole('textbox', { name: 'KV length' }).fill('1024');
    await panel.getByRole('textbox', { name: 'Query length' }).fill('1024');
    await panel.getByRole('button', { name: /^Run 33 cases on the CPU/ }).click();
    await panel.getByText(/^\d+ of 33 finished\. Case/).waitFor({ timeout: 60_000 });
    const askedAt = Date.now();
    await page.screenshot({ path: path.join(SHOTS, 'workbench-running.png') });
    await panel.getByRole('button', { name: 'Cancel', exact: true }).click();
    await panel
      .getByText(/^Cancelled/)
      .first()
      .waitFor({ timeout: 60_000 });
    // Not cancelled, the 33 cases take minutes.
    t.diagnostic(`cancelled after ${Date.now() - askedAt} ms`);
    await panel.getByRole('button', { name: /^Run 33 cases on the CPU/ }).waitFor();
  });

  it('shows a report of another machine in place of this one, and comes back', async () => {
    // Alone in its folder: the dialog completes what is typed with whatever else begins the same.
    const file = path.join(workbench.folder, 'h200-run.json');
    await copyFile(path.join(process.cwd(), 'test', 'fixtures', 'reports', 'h200-run.json'), file);
    await runCommand(page, 'Attention: Open Report');
    await chooseFile(page, 'Open report', file);
    await panel.getByText(/^Report h200-run\.json/).waitFor({ timeout: 60_000 });
    await panel.locator('.badge', { hasText: 'SM90 Hopper' }).waitFor();
    await panel.locator('[role=gridcell]', { hasText: 'measured' }).first().waitFor();
    assert.match(await panel.locator('.results').innerText(), /TFLOP\/s[\s\S]*TB\/s/);
    await page.screenshot({ path: path.join(SHOTS, 'workbench-report.png') });
    await panel.getByRole('button', { name: 'Close report' }).click();
    await panel.getByText(/No GPU was found/).waitFor();
  });

  it('comes back after a reload where the user was, with the last facts marked as old and nothing started', async () => {
    await panel.getByRole('tab', { name: 'page 32' }).click();
    await page.reload();
    await page.locator('.statusbar-item[id*="attentionDiagnostics"]').first().waitFor({ timeout: 60_000 });
    panel = await panelFrame(page);
    await panel.getByText('These facts are from an earlier session.').waitFor({ timeout: 60_000 });
    await eventually(statusText, (text) => text.includes('(stale)'));
  });
});
