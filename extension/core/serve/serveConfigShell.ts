/**
 * Shell text to words: enough of POSIX quoting to find vLLM's arguments and their places. Nothing is expanded or run.
 */
import { isSelectionOption, readArguments, readAssignment } from './serveConfigArgs';
import type { ServeFindings } from './serveConfigArgs';
import type { SourceFile, Word } from './serveConfigSource';

/** A simple command: its words in order. */
type Command = readonly Word[];

const SEPARATORS = new Set([';', '&', '|', '(', ')']);

/** Skips from an opening parenthesis to behind its partner; quotes inside are respected well enough for skipping. */
function behindParenthesis(text: string, open: number, end: number): number {
  let depth = 0;
  for (let i = open; i < end; i++) {
    const c = text[i];
    if (c === '\\') i += 1;
    else if (c === "'") {
      const close = text.indexOf("'", i + 1);
      if (close === -1) return end;
      i = close;
    } else if (c === '(') depth += 1;
    else if (c === ')' && --depth === 0) return i + 1;
  }
  return end;
}

/**
 * Splits `text[start, end)` into commands. An unclosed quote is a problem at its place, and what follows it is not read.
 */
export function shellCommands(file: SourceFile, start: number, end: number, findings: ServeFindings): Command[] {
  const { text } = file;
  const commands: Word[][] = [];
  let words: Word[] = [];
  const heredocs: string[] = [];
  let i = start;

  const endCommand = (): void => {
    if (words.length > 0) commands.push(words);
    words = [];
  };

  while (i < end) {
    const c = text[i] ?? '';
    if (c === '\\' && (text[i + 1] === '\n' || text.startsWith('\r\n', i + 1))) {
      i += text[i + 1] === '\n' ? 2 : 3;
    } else if (c === '\n') {
      endCommand();
      i += 1;
      while (heredocs.length > 0) {
        const delimiter = heredocs.shift();
        for (let line = ''; i < end && line !== delimiter;) {
          const next = text.indexOf('\n', i);
          const stop = next === -1 || next > end ? end : next;
          line = text.slice(i, stop).trim();
          i = stop + 1;
        }
      }
    } else if (c === ' ' || c === '\t' || c === '\r') {
      i += 1;
    } else if (c === '#') {
      while (i < end && text[i] !== '\n') i += 1;
    } else if (c === '<' && text.startsWith('<<', i) && !text.startsWith('<<<', i)) {
      const match = /^<<-?\s*(['"]?)([A-Za-z0-9_]+)\1/.exec(text.slice(i, i + 128));
      if (match?.[2] !== undefined) heredocs.push(match[2]);
      i += match?.[0].length ?? 2;
    } else if (SEPARATORS.has(c)) {
      endCommand();
      i += 1;
    } else if (c === '<' || c === '>') {
      i += 1;
    } else {
      const word = readWord(file, i, end, findings);
      // A brace alone is a reserved word that opens or closes a group.
      if (text.slice(word.start, word.end) === '{' || text.slice(word.start, word.end) === '}') endCommand();
      else words.push(word);
      i = Math.max(word.end, i + 1);
    }
  }
  endCommand();
  return commands;
}

/** One word from `start`, with quotes and escapes removed and the place of every character kept. */
function readWord(file: SourceFile, start: number, end: number, findings: ServeFindings): Word {
  const { text } = file;
  const offsets: number[] = [];
  let value = '';
  let dynamic = false;
  let i = start;
  const take = (): void => {
    value += text[i] ?? '';
    offsets.push(i);
    i += 1;
  };
  const unclosed = (quote: number): void => {
    findings.problems.push({
      code: 'syntax',
      severity: 'error',
      text: 'This quote is never closed; what follows it was not read.',
      range: file.range(quote, quote + 1),
    });
    i = end;
  };
  const expansion = (): void => {
    dynamic = true;
    if (text[i] === '$' && text[i + 1] === '(') i = behindParenthesis(text, i + 1, end);
    else if (text[i] === '`') {
      const close = text.indexOf('`', i + 1);
      i = close === -1 || close >= end ? end : close + 1;
    } else take();
  };

  while (i < end) {
    const c = text[i] ?? '';
    if (c === "'") {
      const close = text.indexOf("'", i + 1);
      if (close === -1 || close >= end) {
        unclosed(i);
        break;
      }
      i += 1;
      while (i < close) take();
      i += 1;
    } else if (c === '"') {
      const quote = i;
      i += 1;
      while (i < end && text[i] !== '"') {
        if (text[i] === '\\' && text[i + 1] === '\n') i += 2;
        else if (text[i] === '\\' && '$`"\\'.includes(text[i + 1] ?? ' ')) {
          i += 1;
          take();
        } else if (text[i] === '$' || text[i] === '`') expansion();
        else take();
      }
      if (i >= end) {
        unclosed(quote);
        break;
      }
      i += 1;
    } else if (c === '\\') {
      if (text[i + 1] === '\n' || text.startsWith('\r\n', i + 1)) break;
      i += 1;
      if (i < end) take();
    } else if (c === '$' || c === '`') {
      expansion();
    } else if (/\s/.test(c) || ';&|()<>'.includes(c)) {
      break;
    } else {
      take();
    }
  }
  return { value, start, end: i, offsets, dynamic };
}

/** The words behind the program when a command starts vLLM (`vllm serve`, `python -m vllm.…`); `null` when it does not. */
function argumentsOfVllm(words: readonly Word[]): readonly Word[] | null {
  for (let i = 0; i < words.length; i++) {
    const value = words[i]?.value ?? '';
    const name = value.split('/').at(-1);
    if (name === 'vllm' && /^[a-z]/.test(words[i + 1]?.value ?? '')) return words.slice(i + 2);
    if (value === '-m' && /^vllm(\.|$)/.test(words[i + 1]?.value ?? '')) return words.slice(i + 2);
    if (/(^|\/)vllm\/entrypoints\/.*\.py$/.test(value)) return words.slice(i + 1);
  }
  return null;
}

/**
 * Reads one command: assignments before and inside it (`A=1 cmd`, `export A=1`, `env A=1`, `docker run -e A=1`), then
 * vLLM's arguments. Containers whose image starts vLLM by itself are known by vLLM's own options.
 */
export function readCommand(words: readonly Word[], file: SourceFile, findings: ServeFindings): void {
  let leading = true;
  for (let i = 0; i < words.length; i++) {
    const word = words[i];
    if (word === undefined) continue;
    if (word.value === '-e' || word.value === '--env') {
      const next = words[i + 1];
      if (next !== undefined) readAssignment(next, file, findings);
      i += 1;
    } else if (word.value.startsWith('--env=')) {
      const offset = '--env='.length;
      readAssignment(
        { ...word, value: word.value.slice(offset), offsets: word.offsets?.slice(offset) ?? null },
        file,
        findings,
      );
    } else if (leading) {
      leading =
        readAssignment(word, file, findings) || /^(export|env|sudo|exec|nohup|declare|-x|time)$/.test(word.value);
    }
  }
  const options = argumentsOfVllm(words) ?? (words.some((word) => isSelectionOption(word.value)) ? words : null);
  if (options !== null) readArguments(options, file, findings);
}

/** Reads shell text between two offsets. */
export function readShell(file: SourceFile, start: number, end: number, findings: ServeFindings): void {
  for (const words of shellCommands(file, start, end, findings)) readCommand(words, file, findings);
}

/** Reads a `.env` file: one `NAME=value` per line, `export` allowed, `#` comments. */
export function readDotEnv(file: SourceFile, findings: ServeFindings): void {
  for (const words of shellCommands(file, 0, file.text.length, findings)) {
    for (const word of words) readAssignment(word, file, findings);
  }
}
