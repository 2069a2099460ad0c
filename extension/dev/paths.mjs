/** Where things are: the repository, and the cache for what the tooling fetches. */
import { accessSync, constants, mkdirSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** Absolute path of the repository. */
export const REPO_ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..');

const CACHE_NAME = 'attention-backend-diagnostics';

/**
 * Folder for fetched tools (the browser VS Code, the CUDA compiler), kept between runs and shared by clones.
 * Follows the XDG rule that a relative XDG_CACHE_HOME is ignored. Where the user's cache cannot be written (a build machine
 * with a home of its own making), the checkout keeps it.
 */
export function cacheRoot() {
  const xdg = process.env.XDG_CACHE_HOME;
  const base = xdg !== undefined && path.isAbsolute(xdg) ? xdg : path.join(os.homedir(), '.cache');
  const usual = path.join(base, CACHE_NAME);
  return canWrite(usual) ? usual : path.join(REPO_ROOT, 'node_modules', '.cache', CACHE_NAME);
}

/** @param {string} dir made when it is not there */
function canWrite(dir) {
  try {
    mkdirSync(dir, { recursive: true });
    accessSync(dir, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
