/** Lines of a process that may print anything: bounded in length and number, so that a flood costs nothing. */
import { StringDecoder } from 'node:string_decoder';
import type { Readable } from 'node:stream';

const MAX_LINE_LENGTH = 2000;
const MAX_LINES = 1000;

/** Tells `hear` each line, cut at 2000 characters; after 1000 lines it says so once and goes on reading in silence. */
export function readLines(stream: Readable, hear: (line: string) => void): void {
  const decoder = new StringDecoder('utf8');
  let line = '';
  let lines = 0;
  const finish = (): void => {
    lines += 1;
    if (lines <= MAX_LINES) hear(line);
    else if (lines === MAX_LINES + 1) hear('… (further output is dropped)');
    line = '';
  };
  stream.on('data', (chunk: Buffer) => {
    const [first = '', ...more] = decoder.write(chunk).split('\n');
    line = (line + first).slice(0, MAX_LINE_LENGTH);
    for (const next of more) {
      finish();
      line = next.slice(0, MAX_LINE_LENGTH);
    }
  });
  stream.on('end', () => {
    if (line !== '') finish();
  });
  // Broken pipes are the process ending, which is noticed elsewhere.
  stream.on('error', () => undefined);
}
