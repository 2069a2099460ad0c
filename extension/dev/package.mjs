/**
 * `npm run package [-- --universal]`: builds everything for release and writes the VSIX files to dist/.
 *
 * Two packages: one for this platform with the native helper and the GPU kernels, and a universal one without them.
 */
import { mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { createVSIX } from '@vscode/vsce';
import { buildAddon, buildKernels } from './builds.mjs';
import { REPO_ROOT } from './paths.mjs';
import { ensurePrerequisites, mayInstall } from './prerequisites.mjs';
import { stageExtension } from './stage.mjs';

const PACKAGE_DIR = path.join(REPO_ROOT, 'dist');

/** Platforms the native helper is built for; anything else gets the universal package. */
export const NATIVE_TARGET = 'linux-x64';

/**
 * Packages what the builds have left behind.
 * @param {import('./stage.mjs').Flavour} flavour
 * @param {{kernels?: boolean}} [options]
 * @returns {Promise<string>} absolute path of the VSIX
 */
export async function packageVsix(flavour, options) {
  await mkdir(PACKAGE_DIR, { recursive: true });
  const stageDir = path.join(PACKAGE_DIR, `stage-${flavour}-${process.pid}`);
  const vsix = path.join(
    PACKAGE_DIR,
    `attention-backend-diagnostics-${flavour === 'native' ? NATIVE_TARGET : 'universal'}.vsix`,
  );
  try {
    await stageExtension(flavour, stageDir, options);
    await rm(vsix, { force: true });
    await createVSIX({
      cwd: stageDir,
      packagePath: vsix,
      dependencies: false,
      allowMissingRepository: true,
      rewriteRelativeLinks: false,
      ...(flavour === 'native' ? { target: NATIVE_TARGET } : {}),
    });
  } finally {
    await rm(stageDir, { recursive: true, force: true });
  }
  return vsix;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const native = !process.argv.includes('--universal') && `${process.platform}-${process.arch}` === NATIVE_TARGET;
  if (native && !(await ensurePrerequisites(['addon', 'kernels'], { install: mayInstall() }))) process.exit(1);
  if (native) {
    await buildAddon();
    await buildKernels();
    await packageVsix('native');
  }
  await packageVsix('universal');
}
