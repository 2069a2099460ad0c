/** What every suite needs: the extension's test interface, waiting for a state, and a look at its processes. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import * as vscode from 'vscode';
import type { TestApi } from '../../../extension/container';

/** Publisher and name of package.json. */
export const EXTENSION_ID = 'attention-backend-diagnostics.attention-backend-diagnostics';
export const SECTION = 'attentionDiagnostics';

const POLL_MS = 25;
/** Generous: the machine may be running a compiler beside this. */
const DEADLINE_MS = 60_000;

/** The activated extension. */
export async function activated(): Promise<TestApi> {
  const extension = vscode.extensions.getExtension<TestApi>(EXTENSION_ID);
  assert.ok(extension, `${EXTENSION_ID} is not installed`);
  return await extension.activate();
}

/** Waits until `look` gives something other than null, undefined or false. Fails with `what` after the deadline. */
export async function until<T>(
  what: string,
  look: () => T | null | undefined | false,
  deadlineMs = DEADLINE_MS,
): Promise<T> {
  const deadline = Date.now() + deadlineMs;
  for (;;) {
    const seen = look();
    if (seen !== null && seen !== undefined && seen !== false) return seen;
    if (Date.now() > deadline) assert.fail(`${what} did not happen within ${deadlineMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** Pids of the helpers that this extension host has forked. */
export function helperPids(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const parent = /^PPid:\s*(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
        return Number(parent) === process.pid && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('helperMain');
      } catch {
        // It ended while we looked.
        return false;
      }
    });
}

/** Ends a run that a failed test may have left behind, so that the next test starts from rest. */
export async function restingRun(api: TestApi): Promise<void> {
  const { kind } = api.state().run;
  if (kind === 'idle' || kind === 'finished') return;
  await vscode.commands.executeCommand(`${SECTION}.cancelRun`);
  await until('the end of the run', () => api.state().run.kind === 'finished');
}
