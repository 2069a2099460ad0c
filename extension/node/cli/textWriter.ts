/** Text for a stream whose reader may leave, as in `attn-diag … | head`. */
import type { Writable } from 'node:stream';

/**
 * Writes to the stream until it fails; what comes after is dropped, so that the command goes on and its exit code holds. A
 * reader that left is no failure; of any other, `onFailure` gets the reason once.
 */
export function textWriter(stream: Writable, onFailure: (problem: string) => void): (text: string) => void {
  let gone = false;
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (!gone && error.code !== 'EPIPE') onFailure(error.message);
    gone = true;
  });
  return (text) => {
    if (!gone) stream.write(text);
  };
}
