/**
 * Messages over a byte stream: one JSON text per line.
 *
 * Node's own IPC channel is not used because bytes on it that are not a message (a library that prints to the wrong
 * descriptor, a damaged process) throw an uncaught exception in the *parent*, which here is the extension host.
 */
import { writeSync } from 'node:fs';
import { StringDecoder } from 'node:string_decoder';
import type { Readable, Writable } from 'node:stream';
import { DiagError } from '../core/errors';

/** Descriptor of the channel from helper to client; stdin is the other direction, stdout stays free for libraries that print. */
export const HELPER_CHANNEL_FD = 3;

/** Far above any real message: facts of 16 GPUs are 20 KB, a run of 4096 cases 2 MB. */
export const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;

/**
 * One message as it travels. Numbers JSON cannot hold (NaN, infinities) become `null`, which the schemas read as
 * "not established".
 */
function encode(message: unknown): string {
  return `${JSON.stringify(message)}\n`;
}

/** Writes one message to a stream; nothing happens when it is closed. */
export function writeMessage(stream: Writable, message: unknown): void {
  if (stream.destroyed || stream.writableEnded) return;
  stream.write(encode(message));
}

/**
 * Writes one message before it returns: what the helper said must have left it before a case can take it down.
 * Throws when the other side is gone.
 */
export function writeMessageSync(fd: number, message: unknown): void {
  const bytes = Buffer.from(encode(message), 'utf8');
  for (let written = 0; written < bytes.length;) {
    try {
      written += writeSync(fd, bytes, written);
    } catch (error) {
      // A full pipe that was made non-blocking: the reader is behind, so let it catch up.
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}

/**
 * Feeds each message of `stream` to `hear`. Stops at the first line that is too long or not JSON and tells `fault`
 * once, with `messageTooLarge` or `invalidMessage`: after that nothing on the stream can be trusted.
 */
export function readMessages(
  stream: Readable,
  hear: (message: unknown) => void,
  fault: (error: DiagError) => void,
  limitBytes = MAX_MESSAGE_BYTES,
): void {
  const decoder = new StringDecoder('utf8');
  let pieces: string[] = [];
  let pendingLength = 0;
  let faulted = false;
  const fail = (error: DiagError): void => {
    faulted = true;
    pieces = [];
    fault(error);
  };
  stream.on('data', (chunk: Buffer) => {
    if (faulted) return;
    let text = decoder.write(chunk);
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
      pieces.push(text.slice(0, end));
      const line = pieces.join('');
      pieces = [];
      pendingLength = 0;
      text = text.slice(end + 1);
      if (line === '') continue;
      const parsed = parse(line);
      if (parsed.error !== null) return fail(parsed.error);
      hear(parsed.message);
      if (faulted) return;
    }
    pieces.push(text);
    pendingLength += text.length;
    if (pendingLength > limitBytes) fail(new DiagError('messageTooLarge', { limitBytes }));
  });
}

function parse(line: string): { readonly message: unknown; readonly error: DiagError | null } {
  try {
    return { message: JSON.parse(line) as unknown, error: null };
  } catch {
    const shown = JSON.stringify(line.length > 60 ? `${line.slice(0, 60)}…` : line);
    const error = new DiagError('invalidMessage', { where: 'helper channel', problem: `not a message: ${shown}` });
    return { message: null, error };
  }
}
