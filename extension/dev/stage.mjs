/**
 * Lays out the extension as it ships. `.vscodeignore` is the one allow-list of what that is; the native parts are added from
 * where the builds leave them, under the names that the packaged extension looks for.
 */
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { listFiles, PackageManager } from '@vscode/vsce';
import { buildBundles } from './builds.mjs';
import { REPO_ROOT } from './paths.mjs';

const ADDON = path.join(REPO_ROOT, 'native', 'build', 'attention_addon.node');
const KERNELS = path.join(REPO_ROOT, 'native', 'build', 'kernels');

/** @typedef {'native' | 'universal'} Flavour `universal` has no addon and no kernels: everything but measuring works */

/**
 * Lays the extension out in an empty folder.
 * @param {Flavour} flavour
 * @param {string} dir absolute path; replaced
 * @param {{kernels?: boolean}} [options] `kernels: false` leaves them out of the native flavour; by default they must be there
 * @returns {Promise<string>} `dir`
 * @throws {Error} naming the build that is missing
 */
export async function stageExtension(flavour, dir, { kernels = true } = {}) {
  await rm(dir, { recursive: true, force: true });
  await mkdir(dir, { recursive: true });
  for (const file of await listFiles({ cwd: REPO_ROOT, packageManager: PackageManager.None })) {
    if (!file.startsWith('dist/')) await cp(path.join(REPO_ROOT, file), path.join(dir, file));
  }
  // An installed page has no repository address to load the README's picture from.
  const page = path.join(dir, 'README.md');
  await writeFile(page, (await readFile(page, 'utf8')).replace(/^!\[.*\]\(.*\)\n+/gm, ''));
  // Made anew, minified, instead of copied: dist/ holds whatever the last development build left there.
  await buildBundles({ release: path.join(dir, 'dist') });
  const manifest = JSON.parse(await readFile(path.join(REPO_ROOT, 'package.json'), 'utf8'));
  // Of no use to who installs the extension, and npm's own words for "how to build this".
  for (const key of ['scripts', 'devDependencies', 'bin', 'private']) delete manifest[key];
  await writeFile(path.join(dir, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  // Everything laid out here ships; without this file the packager warns that nobody thought about it.
  await writeFile(path.join(dir, '.vscodeignore'), '');
  if (flavour === 'native') {
    if (!existsSync(ADDON)) throw new Error('The native helper is not built: node native/build.mjs');
    await cp(ADDON, path.join(dir, 'native', 'attention_addon.node'));
    if (kernels) {
      if (!existsSync(path.join(KERNELS, 'manifest.json')))
        throw new Error('The kernels are not built: node native/kernels/build.mjs');
      await cp(KERNELS, path.join(dir, 'native', 'kernels'), { recursive: true });
    }
  }
  return dir;
}
