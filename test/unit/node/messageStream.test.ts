import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import type { DiagError } from '../../../extension/core/errors';
import { readLines } from '../../../extension/node/lineReader';
import { readMessages, writeMessage } from '../../../extension/node/messageStream';

function reader(limitBytes?: number): { stream: PassThrough; heard: unknown[]; faults: DiagError[] } {
  const stream = new PassThrough();
  const heard: unknown[] = [];
  const faults: DiagError[] = [];
  readMessages(
    stream,
    (message) => heard.push(message),
    (error) => faults.push(error),
    limitBytes,
  );
  return { stream, heard, faults };
}

test('messages survive any cut of the stream, in the middle of a character too', async () => {
  const { stream, heard, faults } = reader();
  const bytes = Buffer.from('{"text":"größer 内存"}\n\n{"n":2}\n');
  for (const byte of bytes) stream.write(Buffer.from([byte]));
  await new Promise(setImmediate);
  assert.deepEqual(heard, [{ text: 'größer 内存' }, { n: 2 }]);
  assert.deepEqual(faults, []);
});

test('the first line that is no message ends it, once, with the words it found', async () => {
  const { stream, heard, faults } = reader();
  stream.write('{"n":1}\n*** stack smashing detected ***\n{"n":2}\nmore\n');
  await new Promise(setImmediate);
  assert.deepEqual(heard, [{ n: 1 }]);
  assert.equal(faults.length, 1);
  assert.equal(faults[0]?.code, 'invalidMessage');
  assert.match(faults[0]?.message ?? '', /stack smashing/);
});

test('a line over the limit is refused before it is whole', async () => {
  const { stream, faults } = reader(1000);
  stream.write('x'.repeat(600));
  await new Promise(setImmediate);
  assert.equal(faults.length, 0);
  stream.write('x'.repeat(600));
  await new Promise(setImmediate);
  assert.equal(faults[0]?.code, 'messageTooLarge');
});

test('numbers JSON has no word for arrive as null', async () => {
  const { stream, heard } = reader();
  writeMessage(stream, { relError: Number.NaN, tbps: Number.POSITIVE_INFINITY });
  await new Promise(setImmediate);
  assert.deepEqual(heard, [{ relError: null, tbps: null }]);
});

test('writing to a closed stream is not an error', () => {
  const stream = new PassThrough();
  stream.end();
  writeMessage(stream, { n: 1 });
});

test('what a process prints is cut in length and number, and read to the end all the same', async () => {
  const stream = new PassThrough();
  const lines: string[] = [];
  readLines(stream, (line) => lines.push(line));
  stream.write(`one\ntwo${'x'.repeat(5000)}`);
  stream.write(`${'y'.repeat(5000)}\n`);
  for (let count = 0; count < 3000; count += 1) stream.write('flood\n');
  stream.end('last');
  await new Promise((resolve) => stream.once('end', resolve));
  assert.equal(lines[0], 'one');
  assert.equal(lines[1]?.length, 2000);
  assert.equal(lines.length, 1001);
  assert.match(lines.at(-1) ?? '', /dropped/);
});
