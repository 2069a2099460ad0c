/**
 * Taking an environment variable out of shell text, a Dockerfile or a `.env` file. A place is only edited where its
 * surroundings tell that a command with other words, or the text without that command, is left. Pure.
 */
import type { ConfigTextEdit } from './configEdits';

/** Words between two arguments: blanks, and line ends that are escaped. */
export const GAP = String.raw`(?:[ \t]|\\\r?\n)+`;

/** Removes a part of a text. */
export const cut = (start: number, end: number): ConfigTextEdit => ({
  offset: start,
  length: end - start,
  newText: '',
});

/** `docker run -e NAME=value`: the option goes with what it gives; `undefined` = the variable is not given that way. */
function containerOption(text: string, start: number, end: number): ConfigTextEdit | null | undefined {
  const option = new RegExp(`${GAP}(?:-e${GAP}|--env(?:=|${GAP}))["']?$`).exec(text.slice(0, start));
  if (option === null) return undefined;
  const quote = /["']/.exec(text[end] ?? '')?.[0];
  const opened = quote !== undefined && text.slice(option.index, end).split(quote).length % 2 === 0;
  const stop = opened ? end + 1 : end;
  return /^(?:[\s;&|)]|$)/.test(text.slice(stop)) ? cut(option.index, stop) : null;
}

/** One assignment of several, or one before a command: the other words are left. */
function amongWords(text: string, start: number, end: number): ConfigTextEdit | null {
  const after = text.slice(end);
  const next = new RegExp(`^${GAP}(?!\\d*[<>])(?=[^\\s#;&|()<>\\\\])`).exec(after);
  if (next !== null) return cut(start, end + next[0].length);
  const earlier = new RegExp(`(?:^|[\\s;&|(])[A-Za-z_]\\w*\\+?=[^\\s;&|()<>]*(${GAP})$`).exec(text.slice(0, start));
  const gap = earlier?.[1];
  if (gap === undefined || !/^[ \t]*(?:(?<=[ \t])#|[\r\n;&|)]|$)/.test(after)) return null;
  // A line end that was escaped for this word's sake would join the next command.
  return cut(gap.includes('\n') ? start - gap.length : start, end);
}

/** A line that joins what follows it to its own command. */
const JOINS = /(?:&&|\|\|?)\s*(?:#.*)?$/;

/** A line after which the shell wants at least one command (POSIX, 2.10.2: `compound_list`), and one that ends those. */
const OPENS = /(?:^|[\s;&|()])(?:if|then|elif|else|while|until|do|\{|!)\s*(?:#.*)?$|\(\s*(?:#.*)?$/;
const CLOSES = /^\s*(?:(?:then|elif|else|fi|do|done)\b|[)}])/;

/** What may stand before the assignment in a command that does nothing else. */
const DECLARES = /^[ \t]*(?:(?:export|declare|typeset|readonly)(?:[ \t]+-\w+)*[ \t]+)?$/;
const INSTRUCTION = /^[ \t]*ENV[ \t]+$/i;

/** A line without its command when nothing else stands on it, else the command with the `;` or `&&` behind it. */
function statement(text: string, start: number, end: number, head: RegExp): ConfigTextEdit | null {
  const lineStart = text.lastIndexOf('\n', start - 1) + 1;
  const before = text.slice(0, lineStart);
  const after = text.slice(end);
  const indented = text.slice(lineStart, start);
  if (!head.test(indented)) return null;
  const joined = /^[ \t]*(?:;(?!;)|&&)(?:\s|\\\r?\n)*(?=[^\s#;&|)\\])/.exec(after);
  const line = /^(?:[ \t]*;)?(?:[ \t]*|[ \t]+#[^\n]*)\r?(?:\n|$)/.exec(after);
  const behind = (joined ?? line)?.[0].length;
  if (behind === undefined) return null;

  const previous = before
    .split(/\r?\n/)
    .filter((each) => /^\s*[^\s#]/.test(each))
    .at(-1);
  const following = after.slice(behind).replace(/^(?:[ \t]*(?:#[^\n]*)?\n)*/, '');
  if (/\\\r?\n$/.test(before) || JOINS.test(previous ?? '')) return null;
  if (OPENS.test(previous ?? '') && CLOSES.test(following)) return null;
  return cut(joined === null ? lineStart : start - indented.trimStart().length, end + behind);
}

/** How a text that holds an assignment is read. */
export type CommandText = 'shell' | 'dockerfile' | 'dotEnv';

/** The edit that takes an assignment between two offsets out of a text; `null` where none is safe. */
export function cutAssignment(text: string, start: number, end: number, kind: CommandText): ConfigTextEdit | null {
  const alone =
    statement(text, start, end, DECLARES) ?? (kind === 'dockerfile' ? statement(text, start, end, INSTRUCTION) : null);
  // Outside a shell, what stands behind the value belongs to it.
  if (kind === 'dotEnv') return /^[ \t]*(?:#[^\n]*)?\r?(?:\n|$)/.test(text.slice(end)) ? alone : null;
  const option = containerOption(text, start, end);
  if (option !== undefined) return option;
  // `ENV NAME some words` is one value.
  return alone ?? (/^["']?\w+=/.test(text.slice(start, end)) ? amongWords(text, start, end) : null);
}
