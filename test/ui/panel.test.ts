/** The panel's page alone: every state in four themes, without policy violations and accessible; keyboard and intents. */
import assert from 'node:assert/strict';
import { mkdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { AxeResults } from 'axe-core';
import type { Browser, Page } from 'playwright-core';
import { panelModel } from '../../extension/core/view/viewModels';
import { openPanelTab, startPanelServer, type PanelServer } from './support/panelPage';
import { IDLE } from '../../extension/core/state/store';
import { evaluated, fixableState, freshState, hopperState, measuredState, noGpuState, STATES } from './support/states';
import { launchBrowser, THEMES, type ThemeName } from './support/workbench';

const SHOTS = path.join(process.cwd(), 'test', 'out', 'shots');
const axePath = createRequire(path.join(process.cwd(), 'package.json')).resolve('axe-core/axe.min.js');

let browser: Browser;
let server: PanelServer;

before(async () => {
  await mkdir(SHOTS, { recursive: true });
  browser = await launchBrowser();
  server = await startPanelServer();
});

after(async () => {
  await browser.close();
  await server.close();
});

/** Violations as `rule: element` lines. */
async function violations(page: Page): Promise<string[]> {
  // Evaluated through the debugger, because the page's policy lets no foreign script in.
  if (!(await page.evaluate(() => 'axe' in window))) await page.evaluate(await readFile(axePath, 'utf8'));
  const results = await page.evaluate(() =>
    (window as unknown as { axe: { run: () => Promise<AxeResults> } }).axe.run(),
  );
  return results.violations.flatMap((violation) =>
    violation.nodes.map((node) => `${violation.id}: ${node.html.slice(0, 160)} ${node.failureSummary ?? ''}`),
  );
}

/** Opens every disclosure, as a user would who wants to see it all. */
async function openAll(page: Page): Promise<void> {
  const closed = page.locator('details:not([open]) > summary:visible');
  while ((await closed.count()) > 0) await closed.first().click();
}

describe('every state in every theme', () => {
  for (const theme of Object.keys(THEMES) as ThemeName[]) {
    it(`${theme}: nothing is refused by the policy, axe finds nothing`, async () => {
      const tab = await openPanelTab(browser, server, theme);
      for (const [name, state] of Object.entries(STATES)) {
        await tab.show(state());
        await tab.page.locator('main').waitFor();
        await tab.page.screenshot({ path: path.join(SHOTS, `${name}-${theme}.png`), fullPage: true });
        assert.deepEqual(await violations(tab.page), [], `${name} in ${theme}`);
      }
      await tab.show(fixableState());
      await openAll(tab.page);
      await tab.page.screenshot({ path: path.join(SHOTS, `fixable-open-${theme}.png`), fullPage: true });
      assert.deepEqual(await violations(tab.page), [], `everything open in ${theme}`);
      assert.deepEqual([...tab.problems], []);
      await tab.page.close();
    });
  }

  it('stays below 100 KB a snapshot, also with every row, head size and layout there can be', () => {
    const state = measuredState();
    const rows = state.rows;
    const form = {
      ...state.form,
      headDims: Array.from({ length: 64 }, (_, index) => 8 * (index + 1)),
      pageSizes: [null, 16, 32, 64, 128, 256, 8, 24, 48],
    };
    const many = Array.from({ length: 500 }, (_, index) => rows[index % rows.length]).filter(
      (row) => row !== undefined,
    );
    const large = { ...STATES['flagOn']?.(), ...state, form, rows: many };
    for (const each of [...Object.values(STATES).map((make) => make()), large]) {
      const bytes = JSON.stringify(panelModel(each)).length;
      assert.ok(bytes < 100_000, `${bytes} bytes`);
    }
  });
});

describe('narrow and zoomed', () => {
  for (const [label, width] of [
    ['300 px', 300],
    ['1000 px at 200 %', 500],
  ] as const) {
    it(`${label}: the page does not scroll sideways`, async () => {
      const tab = await openPanelTab(browser, server, 'dark', { width, height: 800 });
      for (const name of ['fresh', 'hopper', 'fixable', 'measured', 'busy', 'report'] as const) {
        await tab.show((STATES[name] ?? freshState)());
        await openAll(tab.page);
        await tab.page.screenshot({ path: path.join(SHOTS, `${name}-${width}px.png`), fullPage: true });
        const overflow = await tab.page.evaluate(
          () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
        );
        assert.ok(overflow <= 0, `${name}: ${overflow} px too wide`);
      }
      await tab.page.close();
    });
  }
});

describe('keyboard', () => {
  it('moves by cell in the matrix with one tab stop, and shows the reasons of the cell in focus', async () => {
    const { page, show } = await openPanelTab(browser, server, 'dark');
    await show(hopperState());
    assert.equal(await page.locator('[role=gridcell][tabindex="0"]').count(), 1);
    await page.locator('[role=gridcell][tabindex="0"]').focus();
    for (const key of ['ArrowDown', 'ArrowDown', 'ArrowRight', 'End']) await page.keyboard.press(key);
    const focused = page.locator('[role=gridcell]:focus');
    assert.equal(await focused.getAttribute('aria-selected'), 'true');
    assert.equal(await page.locator('[role=gridcell][tabindex="0"]').count(), 1);
    assert.match(await page.locator('.details h3').innerText(), /FLASH_ATTN \(FA2\), head size 512, contiguous/);
    assert.match(await page.locator('.details').innerText(), /FA-LIMITS|head size/);
    await page.keyboard.press('Control+Home');
    assert.match(await page.locator('.details h3').innerText(), /Bundled kernels, head size 64/);
    await page.close();
  });

  it('applies a fix: the button says what it does and sends ids only', async () => {
    const { page, show, intents } = await openPanelTab(browser, server, 'hcDark');
    await show(fixableState());
    const fixes = page.getByRole('group', { name: 'Fixes: vLLM 0.24.0 has no attention_config.use_system_flash_attn' });
    assert.deepEqual(await fixes.getByRole('button').allInnerTexts(), [
      'Remove attention_config.use_system_flash_attn',
      'Write flash_attn_version: 4 instead',
      'Show serve.yaml:5',
    ]);
    const finding = 'unknown-config-field:use_system_flash_attn';
    await fixes.getByRole('button').first().focus();
    await page.keyboard.press('Enter');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Space');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    assert.deepEqual((await intents()).slice(1), [
      { type: 'applyFix', findingId: finding, fixId: 'edit:remove:attention_config.use_system_flash_attn' },
      { type: 'applyFix', findingId: finding, fixId: 'edit:fa4' },
      { type: 'revealFinding', findingId: finding },
    ]);
    await page.close();
  });

  it('compares releases: opens the table, chooses a release, and what changes is said in words', async () => {
    const { page, show, intents } = await openPanelTab(browser, server, 'light');
    const state = { ...fixableState(), serve: IDLE, flag: { value: false, setIn: 'default' as const } };
    await show(evaluated({ ...state, vllmVersion: { value: '0.19.0', setIn: 'workspace' } }));
    await page.getByText('With another vLLM:').focus();
    await page.keyboard.press('Enter');
    const table = page.getByRole('table', { name: 'What each release selects on SM90 Hopper' });
    assert.deepEqual(await table.getByRole('columnheader').allInnerTexts(), [
      'Layers',
      'vLLM 0.19.0',
      'vLLM 0.33.0',
      'Why it changes',
    ]);
    const row = table.getByRole('row', { name: /^full_attention d512|, full_attention d512/ });
    assert.match(await row.innerText(), /TRITON_ATTN[\s\S]*TRITON_FLASH_ATTN \(FA4\)[\s\S]*flash_attn_version to 4/);
    assert.match(await row.locator('td').nth(1).textContent().then(String), /differs from the release before/);
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate(() => (document.activeElement as HTMLSelectElement).value), '0.19.0');
    await page.keyboard.press('Tab');
    await page.keyboard.press('ArrowDown');
    assert.deepEqual((await intents()).at(-1), { type: 'compareReleases', from: '0.19.0', to: '0.32.0' });
    await page.close();
  });

  it('shows families as columns, and marks what differs by sign and word', async () => {
    const { page, show } = await openPanelTab(browser, server, 'dark');
    await show(noGpuState());
    await page.getByText('On another GPU:').focus();
    await page.keyboard.press('Space');
    const table = page.getByRole('table', { name: /^What vLLM 0\.33\.0 selects on each SM family/ });
    assert.deepEqual(
      (await table.getByRole('columnheader').allInnerTexts()).map((text) => text.split('\n')[0]),
      ['Layers', 'SM80', 'SM89', 'SM90', 'SM100', 'SM120'],
    );
    await show(hopperState());
    assert.equal(await table.getByRole('columnheader', { name: /SM90 \(asked\)/ }).count(), 1);
    const differing = table.locator('td', { hasText: 'differs from SM90' });
    assert.ok((await differing.count()) > 0);
    assert.equal(await differing.first().locator('.delta').innerText(), '≠');
    await page.close();
  });

  it('moves between page layouts with arrow keys', async () => {
    const { page, show } = await openPanelTab(browser, server, 'dark');
    await show(hopperState());
    await page.locator('[role=tab][aria-selected=true]').focus();
    await page.keyboard.press('ArrowRight');
    assert.equal(await page.locator('[role=tab]:focus').innerText(), 'page 16');
    assert.equal(await page.locator('[role=tab][aria-selected=true]').innerText(), 'page 16');
    await page.close();
  });

  it('reaches every control by Tab alone, in the order of the page', async () => {
    const { page, show } = await openPanelTab(browser, server, 'dark');
    await show(hopperState());
    const seen: string[] = [];
    for (let presses = 0; presses < 40; presses += 1) {
      await page.keyboard.press('Tab');
      seen.push(
        await page.evaluate(() => {
          const { activeElement } = document;
          return activeElement?.getAttribute('role') ?? activeElement?.tagName.toLowerCase() ?? '';
        }),
      );
    }
    const order = ['button', 'select', 'summary', 'switch', 'tab', 'gridcell'].map((kind) => seen.indexOf(kind));
    assert.ok(
      order.every((index) => index >= 0),
      `seen: ${seen.join(' ')}`,
    );
    assert.deepEqual(
      [...order].sort((a, b) => a - b),
      order,
    );
    await page.close();
  });
});

describe('intents', () => {
  it('asks for what the user does, and for nothing else', async () => {
    const { page, show, intents } = await openPanelTab(browser, server, 'light');
    await show(hopperState());
    await page.getByRole('switch').click();
    await page.getByLabel("Ask vLLM's rules about").selectOption({ label: 'SM100 Blackwell' });
    await page.getByLabel('Preset').selectOption({ label: 'Gemma 4 (256/512)' });
    await page.getByRole('button', { name: /^Run 24 cases on/ }).click();
    assert.deepEqual(await intents(), [
      { type: 'ready', protocolVersion: 1 },
      { type: 'setSystemFlashAttn', on: true },
      { type: 'setWhatIfFamily', capability: [10, 0] },
      { type: 'applyPreset', presetId: 'gemma4' },
      { type: 'run' },
    ]);
    await page.close();
  });

  it('sends a request once it can be read, and says what is wrong until then', async () => {
    const { page, show, intents } = await openPanelTab(browser, server, 'light');
    await show(noGpuState());
    await page.locator('summary', { hasText: 'head sizes' }).click();
    const field = page.getByRole('textbox', { name: 'Head sizes' });
    await field.fill('64, many');
    assert.equal(await field.getAttribute('aria-invalid'), 'true');
    assert.match(await page.locator('.problem').innerText(), /whole numbers/);
    assert.equal(await page.getByRole('button', { name: /^Run 6 cases on/ }).isDisabled(), true);
    await field.fill('7, 520');
    await page.waitForTimeout(400);
    const sent = (await intents()).filter((intent) => intent.type === 'setRequest');
    assert.equal(sent.length, 1);
    assert.deepEqual(sent[0]?.type === 'setRequest' && sent[0].request.headDims, [7, 520]);
    await page.close();
  });

  it('sends what was typed before the button that acts on it', async () => {
    for (const name of [/^Run 6 cases on/, 'Measure both FlashAttention 4', 'Copy serve arguments']) {
      const { page, show, intents } = await openPanelTab(browser, server, 'light');
      await show(noGpuState());
      await page.locator('summary', { hasText: 'head sizes' }).click();
      // In one turn of the page, so that no pause can come in between.
      await page.getByRole('textbox', { name: 'Head sizes' }).evaluate((field: HTMLInputElement) => {
        field.value = '96';
        field.dispatchEvent(new Event('input', { bubbles: true }));
      });
      await page.getByRole('button', { name }).evaluate((button: HTMLButtonElement) => button.click());
      await page.waitForTimeout(400);
      const [typed, acted, ...more] = (await intents()).slice(1);
      assert.deepEqual(typed?.type === 'setRequest' && typed.request.headDims, [96], String(name));
      assert.ok(['run', 'measureBackends', 'copyServeArgs'].includes(acted?.type ?? ''));
      assert.deepEqual(more, []);
      await page.close();
    }
  });

  it('drops what was being typed when a preset takes its place', async () => {
    const { page, show, intents } = await openPanelTab(browser, server, 'light');
    const state = noGpuState();
    await show(state);
    await page.locator('summary', { hasText: 'head sizes' }).click();
    const field = page.getByRole('textbox', { name: 'Head sizes' });
    await field.fill('96');
    await page.getByLabel('Preset').selectOption({ label: 'Gemma 4 (256/512)' });
    await page.waitForTimeout(400);
    assert.equal(await field.inputValue(), state.form.headDims.join(', '));
    assert.deepEqual((await intents()).slice(1), [{ type: 'applyPreset', presetId: 'gemma4' }]);
    await page.close();
  });

  it('answers the busy-GPU question both ways, and cancels a run', async () => {
    const { page, show, intents } = await openPanelTab(browser, server, 'light');
    await show((STATES['busy'] ?? freshState)());
    assert.match(await page.locator('.confirm').innerText(), /Process 41233[\s\S]*123\.0 GiB[\s\S]*87 %/);
    await page.getByRole('button', { name: 'Run all the same' }).click();
    await page.getByRole('button', { name: 'Do not run' }).click();
    await show((STATES['running'] ?? freshState)());
    await page.getByRole('button', { name: 'Cancel' }).click();
    assert.deepEqual(
      (await intents()).slice(1).map((intent) => intent.type),
      ['confirmRun', 'cancelRun', 'cancelRun'],
    );
    await page.close();
  });
});

describe('snapshots', () => {
  it('paints before the script has run, and drops a snapshot that comes late', async () => {
    const { page, show } = await openPanelTab(browser, server, 'dark');
    assert.equal(await page.locator('h1').innerText(), 'Attention Backend Diagnostics');
    await show(hopperState());
    await page.evaluate(() => {
      const data = { type: 'snapshot', protocolVersion: 1, sequence: 0, model: {} };
      window.dispatchEvent(new MessageEvent('message', { data }));
    });
    assert.equal(await page.getByRole('switch').count(), 1);
    await page.close();
  });

  it('keeps what is being typed while snapshots arrive', async () => {
    const { page, show } = await openPanelTab(browser, server, 'dark');
    await show(noGpuState());
    await page.locator('summary', { hasText: 'head sizes' }).click();
    await page.getByRole('textbox', { name: 'Head sizes' }).fill('64, 1');
    await show(measuredState());
    await show(noGpuState());
    await page.getByLabel('Query heads').fill('');
    await show(noGpuState());
    assert.equal(await page.getByLabel('Query heads').inputValue(), '');
    await page.close();
  });

  it('keeps what is being typed when a snapshot crosses the request on its way', async () => {
    const { page, show, intents } = await openPanelTab(browser, server, 'dark');
    await show(noGpuState());
    await page.locator('summary', { hasText: 'head sizes' }).click();
    await page.getByRole('textbox', { name: 'Head sizes' }).fill('64, 1');
    while (!(await intents()).some((intent) => intent.type === 'setRequest')) await page.waitForTimeout(20);
    await page.getByLabel('Query heads').fill('');
    await show(noGpuState());
    assert.equal(await page.getByRole('textbox', { name: 'Head sizes' }).inputValue(), '64, 1');
    assert.equal(await page.getByLabel('Query heads').inputValue(), '');
    await page.close();
  });
});
