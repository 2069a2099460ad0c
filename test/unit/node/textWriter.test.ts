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

test('after the reader left nothing is written, and nobody is told', async () => {
  const { stream, written } = failing('EPIPE');
  const problems: string[] = [];
  const write = textWriter(stream, (problem) => problems.push(problem));
  write('one');
  await setImmediate();
  write('two');
  await setImmediate();
  assert.equal(written(), 1);
  assert.deepEqual(problems, []);
});

test('any other failure is told once', async () => {
  const { stream } = failing('ENOSPC');
  const problems: string[] = [];
  const write = textWriter(stream, (problem) => problems.push(problem));
  write('one');
  await setImmediate();
  write('two');
  await setImmediate();
  assert.deepEqual(problems, ['write ENOSPC']);
});
