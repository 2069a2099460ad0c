/** The three builds, each a script of its own that prints what it does and does nothing when nothing changed. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { pipEnvironment } from './environments.mjs';
import { cacheRoot, REPO_ROOT } from './paths.mjs';
import { runInTerminal } from './processes.mjs';

/** The platform the native helper is built for; anything else gets the universal package. */
export const NATIVE_TARGET = 'linux-x64';

/**
 * @param {{release?: string}} [options] `release`: absolute folder for minified bundles without source maps; by default the
 *   bundles for development go to dist/
 */
export async function buildBundles({ release } = {}) {
  await script('esbuild.mjs', release === undefined ? [] : ['--production', '--outdir', release]);
}

/** The Node-API addon: needs g++, make and python3. */
export async function buildAddon() {
  await script('native/build.mjs', []);
}

/** The GPU kernels: minutes when nothing is cached; fetches its compiler with pip. */
export async function buildKernels() {
  // One cache for everything that is fetched or compiled once.
  const env = { ...pipEnvironment(process.env), XDG_CACHE_HOME: path.dirname(cacheRoot()) };
  await script('native/kernels/build.mjs', [], env);
}

/** Whether an NVIDIA driver is installed, so that building the GPU kernels is worth the minutes. */
export function hasNvidiaDriver() {
  return existsSync('/proc/driver/nvidia/version') || existsSync('/dev/nvidiactl') || existsSync('/dev/dxg');
}

/**
 * @param {string} file relative to the repository
 * @param {string[]} args
 * @param {NodeJS.ProcessEnv} [env]
 * @throws {Error} that says which build failed; the script has printed why
 */
async function script(file, args, env = process.env) {
  const exitCode = await runInTerminal(process.execPath, [path.join(REPO_ROOT, file), ...args], {
    cwd: REPO_ROOT,
    env,
  });
  if (exitCode !== 0) throw new Error(`node ${[file, ...args].join(' ')} failed (exit code ${exitCode}).`);
}
