/**
 * Entry of the extension tests, called by VS Code in its extension host: runs every bundled test file beside it with mocha
 * and leaves the counts in `count.json` there.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import * as util from 'node:util';
import Mocha from 'mocha';
import { TEST_LINE_PREFIX } from './testLines.mjs';

/** Beyond every wait inside a test, so that what fails is the wait, which says what did not happen. */
const TEST_TIMEOUT_MS = 180_000;

/** @throws {Error} when a test failed, which is how VS Code learns of it */
export async function run(): Promise<void> {
  // Mocha's reporters print through this one function, a whole block per call.
  Mocha.reporters.Base.consoleLog = (...values: unknown[]) => {
    for (const line of util.format(...values).split('\n')) console.log(TEST_LINE_PREFIX + line);
  };
  const mocha = new Mocha({ ui: 'bdd', color: false, timeout: TEST_TIMEOUT_MS });
  const files = fs.readdirSync(__dirname).filter((name) => name.endsWith('.test.cjs'));
  for (const file of files.sort()) mocha.addFile(path.join(__dirname, file));
  const failed = await new Promise<number>((resolve) => {
    const runner = mocha.run(resolve);
    runner.once('end', () => {
      const { passes = 0, failures = 0, pending = 0 } = runner.stats ?? {};
      const count = { passed: passes, failed: failures, skipped: pending };
      fs.writeFileSync(path.join(__dirname, 'count.json'), JSON.stringify(count));
    });
  });
  if (failed > 0) throw new Error(`${failed} of the tests in the extension host failed`);
}
