/** Installed libraries in the panel: rows beside the bundled kernels, what is missing, both FlashAttention 4, progress. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Browser } from 'playwright-core';
import { openPanelTab, startPanelServer, type PanelServer } from './support/panelPage';
import { hopperState, librariesState, STATES } from './support/states';
import { launchBrowser } from './support/workbench';

let browser: Browser;
let server: PanelServer;

before(async () => {
  browser = await launchBrowser();
  server = await startPanelServer();
});

after(async () => {
  await browser.close();
  await server.close();
});

describe('installed libraries', () => {
  it('are rows below the bundled kernels of the same case, with their own words', async () => {
    const { page, show } = await openPanelTab(browser, server, 'light');
    await show(librariesState());
    const table = page.getByRole('region', { name: 'Results table' });
    const heads = await table.locator('tbody th').allInnerTexts();
    assert.deepEqual(
      heads.slice(0, 4).map((head) => head.split('\n')[0]),
      ['Bundled kernels', 'FA3 of vLLM', 'flash-attn-4 (pip)', 'FA4 of vLLM'],
    );
    assert.match(await table.innerText(), /head_dim must be between 8 and 256/);
    assert.match(await table.innerText(), /first call 4\.20 s/);
    await page.locator('summary', { hasText: '3 of 4 installed libraries' }).click();
    assert.match(await page.locator('.libraries').innerText(), /FFPA: not there\. ffpa-attn is not installed/);
    const pairs = page.getByRole('region', { name: 'What use_system_flash_attn exchanges' });
    assert.equal(await pairs.locator('tbody tr').count(), 4);
    assert.match(await pairs.locator('tbody tr').nth(2).innerText(), /d512[\s\S]*unsupported[\s\S]*ok/);
    await page.close();
  });

  it('are measured from the keyboard; the progress names library and case', async () => {
    const { page, show, intents } = await openPanelTab(browser, server, 'dark');
    await show(hopperState());
    await page.getByRole('button', { name: /through installed libraries too$/ }).press('Enter');
    await page.getByRole('button', { name: 'Measure both FlashAttention 4' }).press('Space');
    assert.deepEqual((await intents()).slice(1), [
      { type: 'measureBackends', which: 'all' },
      { type: 'measureBackends', which: 'flashAttn4' },
    ]);
    await show((STATES['librariesRunning'] ?? hopperState)());
    assert.match(
      await page.locator('.progress').innerText(),
      /7 of 40 finished\. FA4 of vLLM: case 2 of \d+ .*: compiling/,
    );
    await page.close();
  });
});
