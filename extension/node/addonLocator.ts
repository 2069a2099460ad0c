/** Where the native addon and the kernel modules are: literal places, tried in order, every failure kept. */
import { createRequire } from 'node:module';
import { existsSync } from 'node:fs';
import path from 'node:path';
import type { AttentionAddon } from '../../native/index';

/** One try to load the addon. */
export interface AddonAttempt {
  readonly path: string;
  readonly ok: boolean;
  /** The loader's own words when `ok` is false. */
  readonly error: string | null;
}

/** @param rootDir the extension's folder: packaged place first, then the build of a checkout */
export function addonPaths(rootDir: string): string[] {
  return [
    path.join(rootDir, 'native', 'attention_addon.node'),
    path.join(rootDir, 'native', 'build', 'attention_addon.node'),
  ];
}

/** Folder with `manifest.json` and the kernel modules; `null` when this package or checkout has none. */
export function findKernelDir(rootDir: string): string | null {
  const places = [path.join(rootDir, 'native', 'kernels'), path.join(rootDir, 'native', 'build', 'kernels')];
  return places.find((place) => existsSync(path.join(place, 'manifest.json'))) ?? null;
}

/** Loads the first addon that loads. Never throws: without one, the attempts say why. */
export function loadAddon(paths: readonly string[]): { addon: AttentionAddon | null; attempts: AddonAttempt[] } {
  const attempts: AddonAttempt[] = [];
  // A real require at run time: a bundler must not try to resolve these files.
  const requireFile = createRequire(path.join(process.cwd(), 'addon.js'));
  for (const file of paths) {
    if (!existsSync(file)) {
      attempts.push({ path: file, ok: false, error: 'no such file' });
      continue;
    }
    try {
      const addon = requireFile(file) as AttentionAddon;
      attempts.push({ path: file, ok: true, error: null });
      return { addon, attempts };
    } catch (error) {
      attempts.push({ path: file, ok: false, error: error instanceof Error ? error.message : String(error) });
    }
  }
  return { addon: null, attempts };
}
