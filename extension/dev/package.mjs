/**
 * `npm run package [-- --universal]`: builds everything for release and writes the VSIX files to dist/.
 *
 * Two packages: one for this platform with the native helper and the GPU kernels, and a universal one without them.
 * With `--universal` only the second. `--built native|universal [--without-kernels]` packs one from the native parts as they
 * are, building nothing but the bundles.
 */
import { mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { createVSIX } from '@vscode/vsce';
import { buildAddon, buildKernels, NATIVE_TARGET } from './builds.mjs';
import { REPO_ROOT } from './paths.mjs';
import { ensurePrerequisites, mayInstall } from './prerequisites.mjs';
import { stageExtension } from './stage.mjs';

const PACKAGE_DIR = path.join(REPO_ROOT, 'dist');

/**
 * Where a package is written.
 * @param {import('./stage.mjs').Flavour} flavour
 */
export function vsixPath(flavour) {
  return path.join(
    PACKAGE_DIR,
    `attention-backend-diagnostics-${flavour === 'native' ? NATIVE_TARGET : 'universal'}.vsix`,
  );
}

/**
 * Packages what the builds have left behind.
 * @param {import('./stage.mjs').Flavour} flavour
 * @param {{kernels?: boolean}} [options]
 * @returns {Promise<string>} absolute path of the VSIX
 */
export async function packageVsix(flavour, options) {
  await mkdir(PACKAGE_DIR, { recursive: true });
  const stageDir = path.join(PACKAGE_DIR, `stage-${flavour}-${process.pid}`);
  const vsix = vsixPath(flavour);
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
  const { values } = parseArgs({
    options: {
      universal: { type: 'boolean', default: false },
      built: { type: 'string' },
      'without-kernels': { type: 'boolean', default: false },
      install: { type: 'boolean', default: false },
    },
  });
  if (values.built === 'native' || values.built === 'universal') {
    await packageVsix(values.built, { kernels: !values['without-kernels'] });
  } else {
    await packageEverything(!values.universal && `${process.platform}-${process.arch}` === NATIVE_TARGET);
  }
}

/** @param {boolean} native also the package with the native parts, built first */
async function packageEverything(native) {
  if (native) {
    if (!(await ensurePrerequisites(['addon', 'kernels'], { install: mayInstall() }))) process.exit(1);
    await buildAddon();
    await buildKernels();
    await packageVsix('native');
  }
  await packageVsix('universal');
}
