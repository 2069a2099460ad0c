/**
 * `npm run check`: types of every ring, lint with the ring boundaries, formatting, dead code.
 * Runs every step even when one fails, so that one run shows everything there is to fix.
 */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { REPO_ROOT } from './paths.mjs';

/** Each ring has its own compiler settings: core is compiled without Node, DOM or vscode types, so a slip is an error. */
const PROJECTS = [
  'extension/core',
  'extension/protocol',
  'extension/node',
  'extension',
  'media',
  'tsconfig.json',
  'test',
  'test/host',
  'test/ui',
];

/** @type {{name: string, tool: string, args: string[], fix: string}[]} */
const steps = [
  ...PROJECTS.map((project) => ({
    name: `types ${project}`,
    tool: 'typescript/bin/tsc',
    args: ['-p', project],
    fix: `npx tsc -p ${project}`,
  })),
  { name: 'lint', tool: 'eslint/bin/eslint.js', args: ['.', '--max-warnings=0'], fix: 'npx eslint . --fix' },
  {
    name: 'format',
    tool: 'prettier/bin/prettier.cjs',
    args: ['--check', '.', '--log-level=warn'],
    fix: 'npx prettier --write .',
  },
  { name: 'dead code', tool: 'knip/bin/knip.js', args: ['--no-progress'], fix: 'npx knip' },
];

const failed = steps.filter(({ name, tool, args, fix }) => {
  const startedMs = Date.now();
  const { status } = spawnSync(process.execPath, [path.join(REPO_ROOT, 'node_modules', tool), ...args], {
    cwd: REPO_ROOT,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const seconds = ((Date.now() - startedMs) / 1000).toFixed(1);
  console.log(status === 0 ? `✔ ${name} (${seconds} s)` : `✖ ${name} (${seconds} s): ${fix}`);
  return status !== 0;
});
process.exit(failed.length === 0 ? 0 : 1);
