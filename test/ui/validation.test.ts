/** Asking the installed vLLM in the panel: accessible in every theme, and only the intents of the closed list. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { after, before, it } from 'node:test';
import type { AxeResults } from 'axe-core';
import type { Browser } from 'playwright-core';
import { openPanelTab, startPanelServer, type PanelServer } from './support/panelPage';
import { askableState, askingState, validatedState } from './support/validatedState';
import { launchBrowser, THEMES, type ThemeName } from './support/workbench';

const axePath = createRequire(path.join(process.cwd(), 'package.json')).resolve('axe-core/axe.min.js');

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

it('is asked and reported with buttons that the keyboard reaches', async () => {
  const { page, show, intents } = await openPanelTab(browser, server, 'light');
  await show(askableState());
  await page.getByRole('button', { name: 'Ask the installed vLLM' }).focus();
  await page.keyboard.press('Enter');
  await show(askingState());
  assert.equal(await page.getByRole('button', { name: 'Ask the installed vLLM' }).count(), 0);
  await page.getByText('The installed vLLM is being asked').waitFor();
  await show(validatedState());
  await page.getByText(/asked itself .*contradicts the catalog/).waitFor();
  assert.equal(await page.locator('.selections .level').first().innerText(), 'validated');
  await page.getByRole('button', { name: 'Export bug report …' }).first().click();
  assert.deepEqual((await intents()).slice(1), [{ type: 'validateSelection' }, { type: 'exportBugReport' }]);
  await page.close();
});

for (const theme of Object.keys(THEMES) as ThemeName[]) {
  it(`${theme}: axe finds nothing`, async () => {
    const { page, show } = await openPanelTab(browser, server, theme);
    for (const state of [askableState(), askingState(), validatedState()]) {
      await show(state);
      await page.locator('main').waitFor();
      if (!(await page.evaluate(() => 'axe' in window))) await page.evaluate(await readFile(axePath, 'utf8'));
      const results = await page.evaluate(() =>
        (window as unknown as { axe: { run: () => Promise<AxeResults> } }).axe.run(),
      );
      assert.deepEqual(
        results.violations.flatMap((each) => each.nodes.map((node) => `${each.id}: ${node.html.slice(0, 160)}`)),
        [],
      );
    }
    await page.close();
  });
}
