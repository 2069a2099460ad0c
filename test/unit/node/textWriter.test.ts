/** Printing to a reader that leaves. */
import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { textWriter } from '../../../extension/node/cli/textWriter';

function failing(code: string): { stream: Writable; written: () => number } {
  let written = 0;
  const stream = new Writable({
    autoDestroy: false,
    write(_chunk, _encoding, done) {
      written += 1;
      done(Object.assign(new Error(`write ${code}`), { code }));
    },
  });
  return { stream, written: () => written };
}

/** What happens to two texts, one after the other. */
async function writeTwice(code: string): Promise<{ written: number; problems: string[] }> {
  const { stream, written } = failing(code);
  const problems: string[] = [];
  const write = textWriter(stream, (problem) => problems.push(problem));
  for (const text of ['one', 'two']) {
    write(text);
    await setImmediate();
  }
  return { written: written(), problems };
}

test('after the reader left nothing is written, and nobody is told', async () => {
  assert.deepEqual(await writeTwice('EPIPE'), { written: 1, problems: [] });
});

test('any other failure is told once', async () => {
  assert.deepEqual((await writeTwice('ENOSPC')).problems, ['write ENOSPC']);
});
