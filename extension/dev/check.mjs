/**
 * `npm run check`: types of every ring, lint with the ring boundaries, formatting, dead code.
 * Runs every step even when one fails, so that one run shows everything there is to fix.
 */
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { REPO_ROOT } from './paths.mjs';
import { runForOutput } from './processes.mjs';

/** Each ring has its own compiler settings: core is compiled without Node, DOM or vscode types, so a slip is an error. */
const PROJECTS = [
  'extension/core',
  'extension/protocol',
  'extension/node',
  'extension',
  'media',
  'native',
  'tsconfig.json',
  'test',
  'test/gpu',
  'test/host',
  'test/ui',
];

/** Named, because a checkout also holds scratch folders that are nobody's source. */
const FORMATTED = ['*.{mjs,json}', 'extension', 'native', 'media', 'test'];

/** @type {{name: string, tool: string, args: string[], fix: string}[]} */
const steps = [
  // Longest first, so that nothing waits for it at the end.
  { name: 'lint', tool: 'eslint/bin/eslint.js', args: ['.', '--max-warnings=0'], fix: 'npx eslint . --fix' },
  ...PROJECTS.map((project) => ({
    name: `types ${project}`,
    tool: 'typescript/bin/tsc',
    args: ['-p', project],
    fix: `npx tsc -p ${project}`,
  })),
  {
    name: 'format',
    tool: 'prettier/bin/prettier.cjs',
    args: ['--check', ...FORMATTED, '--log-level=warn'],
    fix: `npx prettier --write ${FORMATTED.join(' ')}`,
  },
  { name: 'dead code', tool: 'knip/bin/knip.js', args: ['--no-progress'], fix: 'npx knip' },
];

// Two at a time where there are two cores: most of a step is one thread of type checking.
const waiting = [...steps];
let failed = 0;
await Promise.all(
  Array.from({ length: Math.min(availableParallelism(), 4) }, async () => {
    for (let step = waiting.shift(); step !== undefined; step = waiting.shift()) {
      if (!(await passes(step))) failed += 1;
    }
  }),
);
process.exit(failed === 0 ? 0 : 1);

/**
 * Runs one step and prints what it said in one piece.
 * @param {typeof steps[number]} step
 * @returns {Promise<boolean>}
 */
async function passes({ name, tool, args, fix }) {
  const startedMs = Date.now();
  const { exitCode, output } = await runForOutput(
    process.execPath,
    [path.join(REPO_ROOT, 'node_modules', tool), ...args],
    {
      cwd: REPO_ROOT,
    },
  );
  const seconds = ((Date.now() - startedMs) / 1000).toFixed(1);
  process.stdout.write(exitCode === 0 ? `✔ ${name} (${seconds} s)\n` : `${output}✖ ${name} (${seconds} s): ${fix}\n`);
  return exitCode === 0;
}
