/**
 * A reporter for `node --test` that writes how many tests passed, failed and were skipped, as one JSON object.
 * The runner's own summary also counts a file that declares no test as one passed test; here that is a failure.
 */

/**
 * @param {AsyncIterable<{type: string, data: {name: string, file?: string, skip?: unknown, todo?: unknown, details?: {type?: string}}}>} source
 */
export async function* countReporter(source) {
  const count = { passed: 0, failed: 0, skipped: 0 };
  for await (const { type, data } of source) {
    if ((type !== 'test:pass' && type !== 'test:fail') || data.details?.type === 'suite') continue;
    const isWholeFile = data.name === data.file || data.name.endsWith('.test.mjs');
    if (type === 'test:fail' || isWholeFile) count.failed += 1;
    else if (data.skip !== undefined && data.skip !== false) count.skipped += 1;
    else count.passed += 1;
  }
  yield `${JSON.stringify(count)}\n`;
}

// Node loads a reporter through the default export; there is no other way to hand one over.
export { countReporter as default };
