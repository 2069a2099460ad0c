/** The panel's page in a plain Chromium: the page that ships, its own policy, a host that answers with snapshots. */
import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { AddressInfo } from 'node:net';
import type { Browser, Page } from 'playwright-core';
import type { AppState } from '../../../extension/core/state/appState';
import { panelModel } from '../../../extension/core/view/viewModels';
import { PANEL_PROTOCOL_VERSION, type Intent } from '../../../extension/protocol/panelApi';
import { panelPage } from '../../../extension/vscode/panelPage';
import themes from './themes.json' with { type: 'json' };
import type { ThemeName } from './workbench';

/** Serves dist/ and the page on 127.0.0.1. */
export interface PanelServer {
  readonly origin: string;
  readonly close: () => Promise<void>;
}

/** A page with the panel in it. */
export interface PanelTab {
  readonly page: Page;
  /** What the panel has posted, oldest first. */
  readonly intents: () => Promise<Intent[]>;
  /** Shows a state, as a snapshot of the host would. */
  readonly show: (state: AppState) => Promise<void>;
  /** Console errors and policy violations so far. */
  readonly problems: readonly string[];
}

const TYPES: Readonly<Record<string, string>> = { '.js': 'text/javascript', '.css': 'text/css' };

/** Starts the server; needs a built dist/. */
export async function startPanelServer(): Promise<PanelServer> {
  const dist = path.join(process.cwd(), 'dist');
  const server = createServer((request, response) => {
    void (async () => {
      const url = new URL(request.url ?? '/', 'http://127.0.0.1');
      if (url.pathname === '/') {
        response.setHeader('content-type', 'text/html; charset=utf-8');
        response.end(
          panelPage({
            nonce: 'c2NlbmFyaW8=',
            language: 'en',
            cspSource: "'self'",
            script: '/panel.js',
            style: '/panel.css',
          }),
        );
        return;
      }
      const name = path.basename(url.pathname);
      const type = TYPES[path.extname(name)];
      if (type === undefined) {
        response.writeHead(404).end();
        return;
      }
      response.setHeader('content-type', type);
      response.end(await readFile(path.join(dist, name)));
    })();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    origin: `http://127.0.0.1:${port}`,
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

/** Opens the panel in a theme. The tokens are VS Code's own, recorded from a real window of each theme. */
export async function openPanelTab(
  browser: Browser,
  server: PanelServer,
  theme: ThemeName,
  viewport = { width: 1000, height: 900 },
): Promise<PanelTab> {
  const context = await browser.newContext({ viewport });
  const page = await context.newPage();
  const problems: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error') problems.push(message.text());
  });
  page.on('pageerror', (error) => problems.push(error.message));
  const { bodyClass, tokens } = themes[theme];
  await page.addInitScript(
    ({ bodyClass: names, tokens: values }) => {
      const posted: unknown[] = [];
      let kept: unknown;
      Object.assign(window, {
        posted,
        acquireVsCodeApi: () => ({
          postMessage: (message: unknown) => posted.push(message),
          getState: () => kept,
          setState: (state: unknown) => {
            kept = state;
          },
        }),
      });
      document.addEventListener('DOMContentLoaded', () => {
        // Through the object model, as VS Code does it: the page's policy forbids style attributes.
        for (const [name, value] of Object.entries(values)) document.documentElement.style.setProperty(name, value);
        document.body.className = names;
      });
    },
    { bodyClass, tokens: tokens },
  );
  await page.goto(server.origin);
  let sequence = 0;
  return {
    page,
    problems,
    intents: () => page.evaluate(() => [...(window as unknown as { posted: Intent[] }).posted]),
    show: async (state) => {
      sequence += 1;
      await page.evaluate((message) => window.dispatchEvent(new MessageEvent('message', { data: message })), {
        type: 'snapshot',
        protocolVersion: PANEL_PROTOCOL_VERSION,
        sequence,
        model: panelModel(state),
      });
    },
  };
}
