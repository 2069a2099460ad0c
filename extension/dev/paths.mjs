/** Where things are: the repository, and the cache for what the tooling fetches. */
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** Absolute path of the repository. */
export const REPO_ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..');

/**
 * Folder for fetched tools (the browser VS Code), kept between runs and shared by clones.
 * Follows the XDG rule that a relative XDG_CACHE_HOME is ignored.
 */
export function cacheRoot() {
  const xdg = process.env.XDG_CACHE_HOME;
  const base = xdg !== undefined && path.isAbsolute(xdg) ? xdg : path.join(os.homedir(), '.cache');
  return path.join(base, 'attention-backend-diagnostics');
}
