/** The built addon, loaded from where the build puts it, and child processes that load it under a scripted driver. */
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import * as path from 'node:path';
import * as v from 'valibot';
import { systemFactsSchema, type ProbeLevel, type SystemFacts } from '../../../extension/core/facts';
import type { AttentionAddon } from '../../../native/index';
import { buildFakeDriver } from './compile';

/** Where `node native/build.mjs` leaves the addon. */
export const ADDON_PATH = path.resolve('native/build/attention_addon.node');

/** Loads the addon into this process. */
export function loadAddon(): AttentionAddon {
  return createRequire(path.resolve('package.json'))(ADDON_PATH) as AttentionAddon;
}

/** How a child process ended. */
export interface ChildEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly durationMs: number;
}

const PROBE_SCRIPT = `
const addon = require(process.argv[1]);
addon.probe(process.argv[2], null).then((facts) => process.stdout.write(JSON.stringify(facts)));
`;

/** Environment under which a process finds the stand-in driver libraries playing `script` (see fake_driver/script.h). */
export function fakeDriverEnv(script: string): Record<string, string> {
  const { cuda, nvml } = buildFakeDriver();
  return { ATTN_DIAG_CUDA_LIBRARY: cuda, ATTN_DIAG_NVML_LIBRARY: nvml, FAKE_GPU_SCRIPT: script };
}

/** Runs a CommonJS script in a Node of its own; killed with SIGKILL after `timeoutMs`. */
export async function runScript(
  script: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  timeoutMs = 60_000,
): Promise<ChildEnd> {
  const inherited = Object.entries(process.env).filter(([name]) => !/^(CUDA_|NODE_OPTIONS|NODE_TEST)/.test(name));
  const startMs = performance.now();
  const child = spawn(process.execPath, ['-e', script, ...args], {
    env: { ...Object.fromEntries(inherited), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      resolve({ code, signal, stdout, stderr, durationMs: performance.now() - startMs });
    });
  });
}

/** A probe in a process of its own, however it ends. */
export async function probeInChild(
  level: ProbeLevel,
  env: Readonly<Record<string, string>>,
  timeoutMs?: number,
): Promise<ChildEnd> {
  return runScript(PROBE_SCRIPT, [ADDON_PATH, level], env, timeoutMs);
}

/** Facts under a scripted driver, parsed with the schema every consumer uses. */
export async function probeFake(
  level: ProbeLevel,
  script: string,
  env: Readonly<Record<string, string>> = {},
): Promise<SystemFacts> {
  const end = await probeInChild(level, { ...fakeDriverEnv(script), ...env });
  if (end.code !== 0) throw new Error(`the probe ended with ${String(end.code ?? end.signal)}: ${end.stderr}`);
  return v.parse(systemFactsSchema, JSON.parse(end.stdout));
}
