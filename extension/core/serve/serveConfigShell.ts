/**
 * Shell text to words: enough of POSIX quoting to find vLLM's arguments and their places. Nothing is run; of expansions only
 * variables are followed whose value the same text tells.
 */
import { addServer, isSelectionOption, noFindings, readArguments, readAssignment, readPart } from './serveConfigArgs';
import type { ServeFindings } from './serveConfigArgs';
import { readImage } from './serveConfigImage';
import type { PlacedText, SourceFile, VariableOrigin, Word } from './serveConfigSource';
import { partOf, sliceWord, textOfWord } from './serveConfigSource';
import { ShellScope, type ShellVariable } from './serveConfigVariables';
import type { SourceRange } from '../verdict';

/** A simple command: its words in order, and the text of its here-documents. */
interface Command {
  readonly words: readonly Word[];
  readonly documents: readonly PlacedText[];
}

const SEPARATORS = new Set([';', '&', '|', '(', ')']);

/** Reserved words that open or close a block whose commands run or not, or more than once. */
const OPENS = new Set(['if', 'while', 'until', 'for', 'case', 'select', '{']);
const CLOSES = new Set(['fi', 'done', 'esac', '}']);

/** Skips from an opening parenthesis to behind its partner; quotes inside are respected well enough for skipping. */
function behindParenthesis(text: string, open: number): number {
  let depth = 0;
  for (let i = open; i < text.length; i++) {
    const c = text[i];
    if (c === '\\') i += 1;
    else if (c === "'") {
      const close = text.indexOf("'", i + 1);
      if (close === -1) return text.length;
      i = close;
    } else if (c === '(') depth += 1;
    else if (c === ')' && --depth === 0) return i + 1;
  }
  return text.length;
}

/** Who hears about commands and arrays while a text is read. */
interface Listener {
  command(words: readonly Word[], conditional: boolean, documents: readonly PlacedText[]): void;
  /** Returns whether the array's elements are known from here on, so that they are no command of their own. */
  array(name: string, elements: readonly Word[], adds: boolean, conditional: boolean): boolean;
}

/** Reads a text from top to bottom. An unclosed quote is a problem at its place, and what follows it is not read. */
function scan(source: PlacedText, scope: ShellScope, findings: ServeFindings, listener: Listener): void {
  const { text } = source;
  const end = text.length;
  let words: Word[] = [];
  let pending: { readonly delimiter: string; readonly into: PlacedText[] }[] = [];
  let documents: PlacedText[] = [];
  let waiting: (() => void) | null = null;
  let blocks = 0;
  let parentheses = 0;
  let joined = false;
  let i = 0;

  const endCommand = (separator: string): void => {
    if (words.length > 0) {
      const done = words;
      const texts = documents;
      const [first] = done;
      const opens = first !== undefined && OPENS.has(first.value) && first.offsets !== null;
      const conditional = blocks > 0 || parentheses > 0 || joined || opens;
      if (opens) blocks += 1;
      if (first !== undefined && CLOSES.has(first.value)) blocks = Math.max(0, blocks - 1);
      const tell = (): void => listener.command(done, conditional, texts);
      // Here-documents stand behind the line; the command is complete only then.
      if (pending.some((each) => each.into === texts)) waiting = tell;
      else tell();
      words = [];
      documents = [];
    }
    joined = separator === '&&' || separator === '||';
  };

  while (i < end) {
    const c = text[i] ?? '';
    if (c === '\\' && (text[i + 1] === '\n' || text.startsWith('\r\n', i + 1))) {
      i += text[i + 1] === '\n' ? 2 : 3;
    } else if (c === '\n') {
      endCommand('\n');
      i += 1;
      for (const { delimiter, into } of pending) {
        const from = i;
        let stop = i;
        for (let line = ''; i < end && line !== delimiter;) {
          stop = i;
          const next = text.indexOf('\n', i);
          const lineEnd = next === -1 ? end : next;
          line = text.slice(i, lineEnd).trim();
          i = lineEnd + 1;
        }
        into.push({ ...source, text: text.slice(from, stop), offsets: source.offsets?.slice(from, stop) ?? null });
      }
      pending = [];
      const tell = waiting as (() => void) | null;
      waiting = null;
      tell?.();
    } else if (c === ' ' || c === '\t' || c === '\r') {
      i += 1;
    } else if (c === '#') {
      while (i < end && text[i] !== '\n') i += 1;
    } else if (c === '<' && text.startsWith('<<', i) && !text.startsWith('<<<', i)) {
      const match = /^<<-?\s*(['"]?)([A-Za-z0-9_]+)\1/.exec(text.slice(i, i + 128));
      if (match?.[2] !== undefined) pending.push({ delimiter: match[2], into: documents });
      i += match?.[0].length ?? 2;
    } else if (SEPARATORS.has(c)) {
      const double = text[i + 1] === c && (c === '&' || c === '|');
      endCommand(double ? c + c : c);
      if (c === '(') parentheses += 1;
      if (c === ')') parentheses = Math.max(0, parentheses - 1);
      i += double ? 2 : 1;
    } else if (c === '<' || c === '>') {
      i += 1;
    } else {
      const read = readWords(source, i, findings, scope);
      const bare = text.slice(i, read.next);
      i = Math.max(read.next, i + 1);
      const array = text[i] === '(' ? /^([A-Za-z_][A-Za-z0-9_]*)(\+?)=$/.exec(bare) : null;
      if (array?.[1] !== undefined) {
        const elements = readElements(source, i + 1, findings, scope);
        i = elements.next;
        const conditional = blocks > 0 || parentheses > 0 || joined;
        if (!listener.array(array[1], elements.words, array[2] === '+', conditional)) {
          const before = words;
          words = [...elements.words];
          endCommand(';');
          words = before;
        }
      } else if (bare === '{' || bare === '}') {
        // A brace alone is a reserved word that opens or closes a group.
        endCommand(';');
        blocks = Math.max(0, blocks + (bare === '{' ? 1 : -1));
      } else {
        words.push(...read.words);
      }
    }
  }
  endCommand('');
  (waiting as (() => void) | null)?.();
}

/** The words up to the closing parenthesis of an array. */
function readElements(
  source: PlacedText,
  start: number,
  findings: ServeFindings,
  scope: ShellScope,
): { readonly words: readonly Word[]; readonly next: number } {
  const { text } = source;
  const words: Word[] = [];
  for (let i = start; i < text.length;) {
    const c = text[i] ?? '';
    if (c === ')') return { words, next: i + 1 };
    if (c === '#') while (i < text.length && text[i] !== '\n') i += 1;
    else if (/\s/.test(c) || ';&|(<>'.includes(c) || (c === '\\' && /^\r?\n/.test(text.slice(i + 1, i + 3)))) i += 1;
    else {
      const read = readWords(source, i, findings, scope);
      words.push(...read.words);
      i = Math.max(read.next, i + 1);
    }
  }
  return { words, next: text.length };
}

/** `$NAME`, `${NAME}` and `${NAME:-text}` with the forms that have a text behind an operator. */
const EXPANSION =
  /^\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)(\[[@*]\])?(?:(:?[-=?])((?:[^$`\\}"']|"[^$`\\}"]*"|'[^}']*')*))?\})/;

/** What a text says about one expansion; `null` = its value is not known. */
function expand(
  source: PlacedText,
  at: number,
  scope: ShellScope,
): {
  readonly length: number;
  readonly variable: ShellVariable | null;
  readonly name: string;
  readonly array: boolean;
} | null {
  const match = EXPANSION.exec(source.text.slice(at, at + 4096));
  const name = match?.[1] ?? match?.[2];
  if (match === null || name === undefined) return null;
  const { 0: whole, 3: subscript, 4: operator, 5: written } = match;
  const known = { length: whole.length, name, array: subscript !== undefined };
  const variable = known.array ? null : scope.get(name);
  if (variable !== undefined || written === undefined || operator === undefined || /\?$/.test(operator)) {
    return { ...known, variable: variable ?? null };
  }
  const quote = /^(["'])(.*)\1$/s.exec(written);
  const value = quote?.[2] ?? written;
  if (quote === null && /["']/.test(written)) return { ...known, variable: null };
  const from = at + whole.length - 1 - written.length + (quote === null ? 0 : 1);
  const offsets = source.offsets?.slice(from, from + value.length) ?? null;
  const fallback: ShellVariable = {
    value,
    offsets,
    start: offsets?.[0] ?? source.start,
    end: (offsets?.at(-1) ?? source.end - 1) + 1,
    kind: 'default',
  };
  if (operator.endsWith('=')) scope.set(name, fallback);
  return { ...known, variable: fallback };
}

/**
 * The words that begin at `start`: one, or with an expansion of several words more, or none. Quotes and escapes are removed
 * and the place of every character kept.
 */
function readWords(
  source: PlacedText,
  start: number,
  findings: ServeFindings,
  scope: ShellScope,
): { readonly words: readonly Word[]; readonly next: number } {
  const { text, file } = source;
  const end = text.length;
  const words: Word[] = [];
  let offsets: number[] = [];
  let value = '';
  let dynamic = false;
  let some = false;
  let origins: VariableOrigin[] = [];
  let i = start;
  const place = (index: number): number =>
    source.offsets === null ? source.start : (source.offsets[index] ?? (source.offsets.at(-1) ?? source.end - 1) + 1);
  const take = (): void => {
    value += text[i] ?? '';
    offsets.push(place(i));
    some = true;
    i += 1;
  };
  const finish = (): void => {
    if (some) {
      const whole = source.offsets === null;
      const first = place(start);
      const behind = whole ? source.end : place(i - 1) + 1;
      const unplaced = whole || offsets.includes(-1);
      const word: Word = { value, start: first, end: behind, offsets: unplaced ? null : offsets, dynamic };
      words.push(origins.length === 0 ? word : { ...word, resolved: { origins, start: first, end: behind } });
    }
    [value, offsets, dynamic, some, origins] = ['', [], false, false, []];
  };
  const insert = (variable: Pick<ShellVariable, 'value' | 'offsets' | 'kind'>, name: string, split: boolean): void => {
    let from = value.length;
    const note = (): void => {
      if (some) origins.push({ name, kind: variable.kind, from, to: value.length });
    };
    for (let k = 0; k < variable.value.length; k++) {
      const c = variable.value[k] ?? '';
      if (split && /\s/.test(c)) {
        note();
        finish();
        from = 0;
        continue;
      }
      value += c;
      offsets.push(variable.offsets?.[k] ?? -1);
      some = true;
    }
    note();
  };
  const unclosed = (quote: number): void => {
    findings.problems.push({
      code: 'syntax',
      severity: 'error',
      text: 'This quote is never closed; what follows it was not read.',
      range: file.range(place(quote), place(quote) + 1),
    });
    i = end;
  };
  const expansion = (quoted: boolean): void => {
    if (text[i] === '$' && text[i + 1] === '(') {
      dynamic = true;
      some = true;
      i = behindParenthesis(text, i + 1);
      return;
    }
    if (text[i] === '`') {
      dynamic = true;
      some = true;
      const close = text.indexOf('`', i + 1);
      i = close === -1 ? end : close + 1;
      return;
    }
    const found = expand(source, i, scope);
    const elements = found?.array === true ? scope.array(found.name) : null;
    if (found !== null && elements !== null) {
      i += found.length;
      elements.forEach((element, index) => {
        if (index > 0) finish();
        if (element.dynamic) dynamic = true;
        insert({ ...element, kind: 'assigned' }, found.name, false);
        some = true;
      });
    } else if (found !== null && found.variable !== null) {
      i += found.length;
      insert(found.variable, found.name, !quoted);
    } else {
      dynamic = true;
      take();
    }
  };

  while (i < end) {
    const c = text[i] ?? '';
    if (c === "'") {
      const close = text.indexOf("'", i + 1);
      if (close === -1) {
        unclosed(i);
        break;
      }
      i += 1;
      some = true;
      while (i < close) take();
      i += 1;
    } else if (c === '"') {
      const quote = i;
      i += 1;
      if (!/^\$\{[A-Za-z_][A-Za-z0-9_]*\[@\]\}"/.test(text.slice(i, i + 256))) some = true;
      while (i < end && text[i] !== '"') {
        if (text[i] === '\\' && text[i + 1] === '\n') i += 2;
        else if (text[i] === '\\' && '$`"\\'.includes(text[i + 1] ?? ' ')) {
          i += 1;
          take();
        } else if (text[i] === '$' || text[i] === '`') expansion(true);
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
      expansion(false);
    } else if (/\s/.test(c) || ';&|()<>'.includes(c)) {
      break;
    } else {
      take();
    }
  }
  finish();
  return { words, next: i };
}

/** The commands of a text with what they assign already put in where it is known. */
export function shellCommands(
  source: PlacedText,
  findings: ServeFindings,
  scope = new ShellScope(),
): readonly Command[] {
  scan(source, new ShellScope(), noFindings(), {
    command: (words, conditional) => scope.survey(words, conditional),
    array: (name, _elements, _adds, conditional) => {
      scope.surveyArray(name, conditional);
      return true;
    },
  });
  const commands: Command[] = [];
  scan(source, scope, findings, {
    command: (words, _conditional, documents) => {
      commands.push({ words, documents });
      scope.run(words);
    },
    array: (name, elements, adds) => {
      scope.setArray(name, elements, adds);
      return scope.array(name) !== null;
    },
  });
  return commands;
}

/** Commands of vLLM's own program that start an engine; the others (`chat`, `bench serve`, …) are clients or tools. */
function startsEngine(command: string, next: string): boolean {
  return command === 'serve' || command === 'run-batch' || (command === 'bench' && /^(latency|throughput)$/.test(next));
}

/** Programs that only print their words. */
const PRINTS = new Set(['echo', 'printf']);

/** The words behind the program when a command starts vLLM (`vllm serve`, `python -m vllm.…`); `null` when it does not. */
function argumentsOfVllm(words: readonly Word[]): readonly Word[] | null {
  if (PRINTS.has(words[0]?.value ?? '')) return null;
  for (let i = 0; i < words.length; i++) {
    const value = words[i]?.value ?? '';
    const next = words[i + 1]?.value ?? '';
    const name = value.split('/').at(-1);
    if (name === 'vllm' && startsEngine(next, words[i + 2]?.value ?? '')) return words.slice(i + 2);
    if (value === '-m' && /^vllm(\.(entrypoints|scripts)\b|$)/.test(next)) return words.slice(i + 2);
    if (/(^|\/)vllm\/entrypoints\/.*\.py$/.test(value)) return words.slice(i + 1);
  }
  return null;
}

/** Shells that take a script as an argument or on standard input. */
const SHELL = /(^|\/)(ba|z|da|k)?sh$/;

/** Programs that hand standard input to a shell elsewhere. */
const REMOTE = new Set(['ssh', 'srun', 'kubectl', 'docker', 'podman', 'sudo']);

/** The script behind `bash -c`, as a text of its own; `null` when the command has none. */
function inlineScript(words: readonly Word[], file: SourceFile): PlacedText | null {
  for (let i = 0; i + 2 < words.length; i++) {
    if (!SHELL.test(words[i]?.value ?? '')) continue;
    let k = i + 1;
    while (/^-[a-z]+$/.test(words[k]?.value ?? '') && !/^-[a-z]*c[a-z]*$/.test(words[k]?.value ?? '')) k += 1;
    const script = words[k + 1];
    if (/^-[a-z]*c[a-z]*$/.test(words[k]?.value ?? '') && script !== undefined && !script.dynamic) {
      return textOfWord(file, script);
    }
  }
  return null;
}

/** Words before a program that leave what follows as it is. */
const BEFORE = /^(export|env|sudo|exec|nohup|declare|readonly|typeset|then|do|else|-x|-i|-E|time)$/;

/** Commands that assign for what follows. */
const DECLARES = /^(export|declare|readonly|typeset)$/;

/**
 * Notes assignments before and inside a command (`A=1 cmd`, `export A=1`, `env A=1`, `docker run -e A=1`) and images.
 * Returns whether they hold for the commands that follow too.
 */
function readEnvironment(words: readonly Word[], file: SourceFile, findings: ServeFindings): boolean {
  let leading = true;
  let declares = false;
  for (let i = 0; i < words.length; i++) {
    const word = words[i];
    if (word === undefined) continue;
    readImage(word, file, findings);
    if (word.value === '-e' || word.value === '--env') {
      const next = words[i + 1];
      if (next !== undefined) readAssignment(next, file, findings);
      i += 1;
    } else if (word.value.startsWith('--env=')) {
      readAssignment(sliceWord(word, '--env='.length), file, findings);
    } else if (leading) {
      declares ||= DECLARES.test(word.value);
      leading = readAssignment(word, file, findings) || BEFORE.test(word.value);
    }
  }
  return leading || declares;
}

/** Commands of container programs that start an image. */
const RUNS_IMAGE = /^(run|create)$/;

/** A program, a script, an image or a variable with vLLM in its name. */
const NAMED_VLLM = /^\$\{?\w*vllm|(^|\/)[\w.-]*vllm[\w.-]*(:[\w.$-]+)?$/i;

/**
 * Whether words that do not show vLLM's program have its options and its name. Other servers (SGLang) have options of the
 * same names, so an option alone does not tell.
 */
function namesVllm(words: readonly Word[]): boolean {
  const option = words.findIndex((word) => isSelectionOption(word.value));
  const module = words.findIndex((word) => word.value === '-m');
  const before = words.slice(0, option);
  return option > 0 && (module === -1 || module > option) && before.some((word) => NAMED_VLLM.test(word.value));
}

/** The words that may hold vLLM's arguments when a command of a shell starts vLLM, `null` when that is not known. */
function argumentsInCommand(words: readonly Word[], holdsImage: boolean): readonly Word[] | null {
  const own = argumentsOfVllm(words);
  const first = words[0]?.value ?? '';
  // What begins with an option is no command: the line before was not continued, or it is an array not known to be used.
  if (own !== null || PRINTS.has(first) || first.startsWith('-')) return own;
  return namesVllm(words) || (holdsImage && words.some((word) => RUNS_IMAGE.test(word.value))) ? words : null;
}

/** Place of the first of some words. */
function placeOf(words: readonly Word[], file: SourceFile): SourceRange {
  const [first] = words;
  const { start, end } = first?.resolved ?? first ?? { start: 0, end: 0 };
  return file.range(start, end);
}

/** Says that options which vLLM has too are given to something that is not known to be vLLM. */
function noteForeignOptions(words: readonly Word[], file: SourceFile, findings: ServeFindings): void {
  const options = words.filter((word) => word.value.startsWith('--') && isSelectionOption(word.value));
  if (options.length === 0) return;
  const names = [...new Set(options.map((word) => word.value.split('=', 1)[0] ?? ''))].join(', ');
  findings.problems.push({
    code: 'notVllm',
    severity: 'warning',
    text: `${names}: not taken into account, because this is not part of a command that is known to start vLLM.`,
    range: placeOf(options, file),
  });
}

/** Reads one command of a shell: variables, then vLLM's arguments. A script given to a shell is read like a file. */
export function readCommand(
  words: readonly Word[],
  file: SourceFile,
  findings: ServeFindings,
  scope = new ShellScope(),
): void {
  readPart(findings, findings.owner, (own) => {
    const holdsOn = readEnvironment(words, file, own);
    const script = inlineScript(words, file);
    if (script !== null) {
      readShellText(script, own, scope);
      return;
    }
    const images = own.images.slice(findings.images.length);
    const options = argumentsInCommand(words, images.length > 0);
    if (options !== null) {
      readArguments(options, file, addServer(own, placeOf(words, file), true));
      return;
    }
    const added = own.env.slice(findings.env.length);
    findings.images.push(...images);
    if (holdsOn) findings.env.push(...added);
    else if (added.length > 0) addServer(own, placeOf(words, file), false);
    if (!PRINTS.has(words[0]?.value ?? '')) noteForeignOptions(words, file, own);
  });
}

/** What a container or a configuration starts. */
export interface Entry {
  readonly words: readonly Word[];
  /** Its image as written, `null` without one. */
  readonly image: Word | null;
  /** The words begin with a program of their own, in place of the one that the image starts by itself. */
  readonly hasProgram: boolean;
  /** Where it stands. */
  readonly range: SourceRange;
}

/**
 * Reads what a container or a configuration starts; `findings` are its own. An image hands bare options to the server in
 * it, so those count as vLLM's; options of a program that is not known to be vLLM do not.
 */
export function readEntry(
  { words, image, hasProgram, range }: Entry,
  file: SourceFile,
  findings: ServeFindings,
  scope = new ShellScope(),
): void {
  readEnvironment(image === null ? words : [...words, image], file, findings);
  const script = inlineScript(words, file);
  if (script !== null) {
    readShellText(script, findings, scope);
    return;
  }
  const own = argumentsOfVllm(words);
  const bare = words[0]?.value.startsWith('-') === true && words.some((word) => isSelectionOption(word.value));
  const named = namesVllm(image === null ? words : [image, ...words]);
  if (own !== null || bare || named || (!hasProgram && findings.images.length > 0)) {
    readArguments(own ?? words, file, addServer(findings, range, true));
    return;
  }
  if (findings.env.length > 0) addServer(findings, range, false);
  noteForeignOptions(words, file, findings);
}

/** Reads shell text of any origin. */
export function readShellText(source: PlacedText, findings: ServeFindings, scope = new ShellScope()): void {
  for (const { words, documents } of shellCommands(source, findings, scope)) {
    readCommand(words, source.file, findings, scope);
    const [first] = words;
    if (first !== undefined && (SHELL.test(first.value) || REMOTE.has(first.value))) {
      for (const document of documents) {
        readPart(findings, findings.owner, (own) => {
          readShellText(document, own, scope);
        });
      }
    }
  }
}

/** Reads shell text between two offsets. */
export function readShell(
  file: SourceFile,
  start: number,
  end: number,
  findings: ServeFindings,
  scope?: ShellScope,
): void {
  readShellText(partOf(file, start, end), findings, scope);
}

/** Reads a `.env` file: one `NAME=value` per line, `export` allowed, `#` comments. */
export function readDotEnv(file: SourceFile, findings: ServeFindings): void {
  for (const { words } of shellCommands(partOf(file, 0, file.text.length), findings)) {
    for (const word of words) readAssignment(word, file, findings);
  }
}
