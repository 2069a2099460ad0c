/** The Chromium that tests drive: the distribution's, or the one that playwright-core installs when asked to. */
import { existsSync } from 'node:fs';
import { which } from './processes.mjs';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome'];

/**
 * Path of an installed Chromium; `CHROMIUM_PATH` wins.
 * @returns {Promise<string | null>}
 */
export async function findChromium() {
  const chosen = process.env.CHROMIUM_PATH;
  if (chosen !== undefined) return existsSync(chosen) ? chosen : null;
  const installed = NAMES.map((name) => which(name)).find((file) => file !== null);
  if (installed !== undefined) return installed;
  const { chromium } = await import('playwright-core');
  // Where the distribution has none, `npx playwright-core install chromium` puts one here.
  const fetched = chromium.executablePath();
  return existsSync(fetched) ? fetched : null;
}

/** Two cores may be compiling beside it. */
const START_DEADLINE_MS = 120_000;

/**
 * Starts a headless Chromium that talks to 127.0.0.1 only.
 * @returns {Promise<import('playwright-core').Browser>}
 */
export async function launchChromium() {
  const { chromium } = await import('playwright-core');
  const executablePath = await findChromium();
  if (executablePath === null)
    throw new Error(
      'No Chromium found. Install it (node extension/dev/prerequisites.mjs says how) or set CHROMIUM_PATH.',
    );
  return await chromium.launch({
    executablePath,
    timeout: START_DEADLINE_MS,
    args: [
      // Containers and root have no user namespaces for the sandbox; the only pages opened are our own.
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      // /dev/shm is 64 MB in containers, too small for a workbench.
      '--disable-dev-shm-usage',
    ],
  });
}
