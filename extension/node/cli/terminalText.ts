/**
 * What leaves for a terminal. Texts quote files, which may hold control characters; a terminal obeys those: it clears the
 * screen, changes its title, hides a line. They are made visible in one place, where text leaves, and only what was marked as
 * ours gets through.
 */
import { randomUUID } from 'node:crypto';
import type { CliIo } from './io';

/** Stands before a control character of ours until it leaves. New in every process, so that no file can hold it. */
const OURS = randomUUID();

/** A sequence of ours that begins with a control character, for a text that is printed through {@link terminalIo}. */
export function ownControl(sequence: string): string {
  return `${OURS}${sequence}`;
}

/** `io` with control characters of everything it prints and asks made visible, but for those of {@link ownControl}. */
export function terminalIo(io: CliIo): CliIo {
  const { confirm } = io;
  return {
    ...io,
    out: (text) => io.out(terminalText(text)),
    err: (text) => io.err(terminalText(text)),
    confirm: confirm === null ? null : (question) => confirm(terminalText(question)),
  };
}

function terminalText(text: string): string {
  const [first = '', ...rest] = text.split(OURS);
  return [visible(first), ...rest.map((part) => part.slice(0, 1) + visible(part.slice(1)))].join('');
}

/**
 * As JSON writes them, so that a JSON document stays the same document: its strings hold none of C0 any more, DEL and C1 may
 * stand in them, and there this is their other spelling.
 */
function visible(text: string): string {
  return text.replace(/(?![\n\t])\p{Cc}/gu, (each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
