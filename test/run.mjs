/**
 * Bundles the tests of a suite and runs them with Node's own test runner.
 *
 * `node test/run.mjs unit|native|package|ui|gpu [filter] [--count FILE]`; the filter is a part of the test file's path.
 *
 * - Every `*.test.ts` of the suite becomes a `*.test.mjs` in a folder of this run below test/out. Bundled, so that what is
 *   tested is what ships: a dependency that only breaks in a bundle breaks here.
 * - Every `*.child.ts` beside them is bundled too, to `*.child.mjs` in the same folder as the test (`__dirname`), for tests
 *   that fork or spawn a program of their own.
 * - Tests run with the repository root as working directory; that is how they find fixtures.
 *
 * Exits with 1 when a test failed or none ran. Leaves the counts in FILE when it is named: one of the caller's own, because
 * two runs may go on side by side.
 */
import { mkdir, readFile, readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';
import { testEnvironment } from '../extension/dev/environments.mjs';
import { REPO_ROOT } from '../extension/dev/paths.mjs';
import { runInTerminal } from '../extension/dev/processes.mjs';

const SUITES = ['unit', 'native', 'package', 'ui', 'gpu'];
/** Suites whose files drive one browser or one VS Code each: never two at a time on a small machine. */
const ONE_FILE_AT_A_TIME = new Set(['ui', 'package', 'gpu']);
/** Tools that read their own files at run time and so cannot be bundled. */
const EXTERNAL = ['playwright-core', 'axe-core', '@vscode/*', 'esbuild', 'typescript', 'eslint', 'mocha'];

/** A file of tests that hangs must not hang a build machine; the slowest takes a minute or two. */
const FILE_DEADLINE_MS = 15 * 60_000;

const { values, positionals } = parseArgs({ allowPositionals: true, options: { count: { type: 'string' } } });
const [suite, filter = ''] = positionals;
if (suite === undefined || !SUITES.includes(suite)) {
  console.error(`usage: node test/run.mjs ${SUITES.join('|')} [part of a file's path] [--count FILE]`);
  process.exit(2);
}

const suiteDir = path.join(REPO_ROOT, 'test', suite);
// Of this run alone, so that two runs at a time do not pull each other's files away.
const outDir = path.join(REPO_ROOT, 'test', 'out', `${suite}-${process.pid}`);
const countFile = path.resolve(values.count ?? path.join(outDir, 'count.json'));
await mkdir(outDir, { recursive: true });

const files = (await readdir(suiteDir, { recursive: true })).map((name) => path.join(suiteDir, name));
const tests = files.filter((file) => file.endsWith('.test.ts') && file.includes(filter)).sort();
const children = files.filter((file) => file.endsWith('.child.ts'));
if (tests.length === 0) {
  console.error(`No test file in test/${suite} matches "${filter}".`);
  process.exit(1);
}

await build({
  absWorkingDir: REPO_ROOT,
  entryPoints: [...tests, ...children],
  outdir: outDir,
  outbase: suiteDir,
  outExtension: { '.js': '.mjs' },
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'esm',
  mainFields: ['module', 'main'],
  external: EXTERNAL,
  sourcemap: 'inline',
  logLevel: 'warning',
  // Bundled CommonJS still asks for these three; ES modules do not have them.
  banner: {
    js: [
      "import { createRequire as bundleCreateRequire } from 'node:module';",
      "import { fileURLToPath as bundleFileURLToPath } from 'node:url';",
      'const require = bundleCreateRequire(import.meta.url);',
      'const __filename = bundleFileURLToPath(import.meta.url);',
      "const __dirname = bundleFileURLToPath(new URL('.', import.meta.url)).replace(/\\/$/, '');",
    ].join('\n'),
  },
  plugins: [keepDevToolsUnbundled()],
});

const bundled = tests.map((file) => path.join(outDir, path.relative(suiteDir, file).replace(/\.ts$/, '.mjs')));
const exitCode = await runInTerminal(
  process.execPath,
  [
    '--enable-source-maps',
    '--test',
    `--test-timeout=${FILE_DEADLINE_MS}`,
    ...(ONE_FILE_AT_A_TIME.has(suite) ? ['--test-concurrency=1'] : []),
    '--test-reporter=spec',
    '--test-reporter-destination=stdout',
    `--test-reporter=${path.join(REPO_ROOT, 'test', 'countReporter.mjs')}`,
    `--test-reporter-destination=${countFile}`,
    ...bundled,
  ],
  { cwd: REPO_ROOT, env: testEnvironment(process.env) },
);

/** @type {{passed: number, failed: number, skipped: number}} */
const count = JSON.parse(await readFile(countFile, 'utf8'));
await rm(outDir, { recursive: true, force: true });
if (count.passed + count.failed === 0) console.error(`No test of test/${suite} ran.`);
process.exit(exitCode !== 0 || count.failed > 0 || count.passed === 0 ? 1 : 0);

/**
 * The tools in extension/dev find their files by `import.meta.url`, so tests load them from where they are.
 * @returns {import('esbuild').Plugin}
 */
function keepDevToolsUnbundled() {
  return {
    name: 'keep-dev-tools-unbundled',
    setup(pluginBuild) {
      pluginBuild.onResolve({ filter: /\.mjs$/ }, (args) => {
        const resolved = path.resolve(args.resolveDir, args.path);
        return args.kind === 'entry-point' ? undefined : { path: resolved, external: true };
      });
    },
  };
}
