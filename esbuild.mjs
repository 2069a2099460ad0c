/**
 * Bundles what ships: three Node programs and the panel.
 * `node esbuild.mjs [--production] [--watch] [--outdir DIR]`; production is minified and has no source maps.
 */
import { chmod, readFile, readdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { context } from 'esbuild';

const {
  values: { production, watch, outdir },
} = parseArgs({
  options: {
    production: { type: 'boolean', default: false },
    watch: { type: 'boolean', default: false },
    outdir: { type: 'string', default: 'dist' },
  },
});

/** @type {import('esbuild').BuildOptions} */
const shared = {
  bundle: true,
  minify: production,
  sourcemap: production ? false : 'linked',
  // Licences of what is bundled go into one file beside the bundles, see writeNotices.
  legalComments: 'none',
  metafile: production,
  logLevel: 'info',
  // jsonc-parser's UMD entry hides its own requires from bundlers: the bundle would build and then throw when it runs.
  mainFields: ['module', 'main'],
};

/** @type {import('esbuild').BuildOptions} */
const node = {
  ...shared,
  platform: 'node',
  target: 'node20',
  format: 'cjs',
};

/** @type {import('esbuild').BuildOptions[]} */
const bundles = [
  {
    ...node,
    entryPoints: ['extension/extension.ts'],
    outfile: path.join(outdir, 'extension.js'),
    external: ['vscode'],
  },
  {
    ...node,
    entryPoints: ['extension/node/helperMain.ts'],
    outfile: path.join(outdir, 'helperMain.js'),
  },
  {
    ...node,
    entryPoints: ['extension/node/cli.ts'],
    outfile: path.join(outdir, 'cli.js'),
    banner: { js: '#!/usr/bin/env node' },
  },
  {
    ...shared,
    platform: 'browser',
    target: 'es2022',
    format: 'iife',
    entryPoints: ['media/panel/main.ts'],
    outfile: path.join(outdir, 'panel.js'),
  },
  {
    ...shared,
    entryPoints: ['media/panel/panel.css'],
    outfile: path.join(outdir, 'panel.css'),
  },
];

const contexts = await Promise.all(bundles.map((options) => context(options)));
if (watch) {
  await Promise.all(contexts.map((build) => build.watch()));
} else {
  const outcomes = await Promise.allSettled(contexts.map((build) => build.rebuild()));
  await Promise.all(contexts.map((build) => build.dispose()));
  // esbuild has printed what is wrong; the exit code is all that is left to say.
  if (outcomes.some((outcome) => outcome.status === 'rejected')) process.exit(1);
  await chmod(path.join(outdir, 'cli.js'), 0o755);
  if (production) {
    const inputs = outcomes.flatMap((outcome) =>
      outcome.status === 'fulfilled' ? Object.keys(outcome.value.metafile?.inputs ?? {}) : [],
    );
    await writeNotices(inputs);
  }
}

/**
 * Writes the licence texts of everything that is bundled, as the licences ask, to THIRD_PARTY_NOTICES.txt.
 * @param {string[]} inputs paths of bundled files, relative to the repository
 */
async function writeNotices(inputs) {
  const bundled = inputs.flatMap((input) => /(?:^|\/)node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1] ?? []);
  // Not bundled but compiled into the native helper.
  const names = [...new Set([...bundled, 'node-addon-api'])].sort();
  const notices = await Promise.all(
    names.map(async (name) => {
      const dir = path.join('node_modules', name);
      const licenceFile = (await readdir(dir)).find((file) => /^licen[cs]e/i.test(file));
      if (licenceFile === undefined) throw new Error(`${dir} has no licence file to hand on.`);
      const { version, license } = JSON.parse(await readFile(path.join(dir, 'package.json'), 'utf8'));
      const text = await readFile(path.join(dir, licenceFile), 'utf8');
      return `${name} ${version} (${license})\n\n${text.trim()}\n`;
    }),
  );
  const separator = `\n${'-'.repeat(80)}\n\n`;
  await writeFile(path.join(outdir, 'THIRD_PARTY_NOTICES.txt'), notices.join(separator));
}
