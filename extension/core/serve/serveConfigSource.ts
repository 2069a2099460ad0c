/**
 * Pieces of a source file with their place: the words every reader of serve settings works on, whatever the file format.
 */
import type { SourceRange } from '../verdict';

/** A variable of the same file that a word's value was taken from. */
export interface VariableOrigin {
  readonly name: string;
  /** `assigned`: a literal assigned before the use. `default`: the text behind `:-`, which the environment can overrule. */
  readonly kind: 'assigned' | 'default';
  /** Part of the word's value that it gave, `to` exclusive. */
  readonly from: number;
  readonly to: number;
}

/** A piece of text as the program would get it, with where it stands in the file (UTF-16 offsets, end exclusive). */
export interface Word {
  readonly value: string;
  readonly start: number;
  readonly end: number;
  /** Offset in the file of each character of `value`; `null` when escapes make that impossible to tell. */
  readonly offsets: readonly number[] | null;
  /** Holds a variable or a command substitution, so the value is only known when it runs. */
  readonly dynamic: boolean;
  /** The variables its value was taken from, with where the word itself stands; `offsets` then lead to the assignments. */
  readonly resolved?: {
    readonly origins: readonly VariableOrigin[];
    readonly start: number;
    readonly end: number;
  };
}

/** What keeps a file, or one setting in it, from being understood. */
export type ServeProblemCode =
  | 'tooLarge'
  | 'syntax'
  | 'tabs'
  | 'anchors'
  | 'duplicateKey'
  | 'severalDocuments'
  | 'notAMapping'
  | 'invalidValue'
  | 'dynamicValue'
  | 'variable'
  | 'overridden'
  | 'severalServers'
  | 'notVllm'
  | 'nothingFound'
  | 'notJudged';

/**
 * One problem, at its place. An `error` means the file's settings are not used; a `warning` concerns one setting; an
 * `info` says how a value was found.
 */
export interface ServeProblem {
  readonly code: ServeProblemCode;
  readonly severity: 'error' | 'warning' | 'info';
  /** A full sentence. */
  readonly text: string;
  readonly range: SourceRange;
}

/** Turns offsets of one file into ranges as editors count them: 0-based lines, UTF-16 columns. */
export class SourceFile {
  private readonly lineStarts: readonly number[];

  constructor(
    readonly path: string,
    readonly text: string,
  ) {
    const starts = [0];
    for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) starts.push(at + 1);
    this.lineStarts = starts;
  }

  private position(offset: number): { line: number; column: number } {
    const clamped = Math.max(0, Math.min(offset, this.text.length));
    let low = 0;
    let high = this.lineStarts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.lineStarts[middle] ?? 0) <= clamped) low = middle;
      else high = middle - 1;
    }
    return { line: low, column: clamped - (this.lineStarts[low] ?? 0) };
  }

  /** The range of two offsets. */
  range(start: number, end: number): SourceRange {
    const from = this.position(start);
    const to = this.position(Math.max(start, end));
    return {
      path: this.path,
      startLine: from.line,
      startColumn: from.column,
      endLine: to.line,
      endColumn: to.column,
    };
  }
}

/** Part of a word, `end` exclusive; keeps its place when that is known. */
export function sliceWord(word: Word, start: number, end = word.value.length): Word {
  const offsets = word.offsets?.slice(start, end) ?? null;
  const { resolved } = word;
  const first = offsets?.[0];
  const last = offsets?.at(-1);
  const base = { value: word.value.slice(start, end), dynamic: word.dynamic };
  const origins = (resolved?.origins ?? [])
    .filter((origin) => origin.to > start && origin.from < end)
    .map((origin) => ({ ...origin, from: Math.max(0, origin.from - start), to: Math.min(end, origin.to) - start }));
  const from = resolved === undefined || origins.length === 0 ? {} : { resolved: { ...resolved, origins } };
  const [only] = origins;
  const pieced = only !== undefined && (origins.length > 1 || only.from > 0 || only.to < end - start);
  if (resolved !== undefined && pieced) {
    // Put together from several places: only the word as a whole has one.
    return { ...base, start: resolved.start, end: resolved.end, offsets: null, ...from };
  }
  return {
    ...base,
    start: first ?? (offsets === null ? word.start : word.end),
    end: last === undefined ? word.end : last + 1,
    offsets,
    ...from,
  };
}

/** Text to read, and where each of its characters stands in the file. */
export interface PlacedText {
  readonly file: SourceFile;
  readonly text: string;
  /** Offsets in the file, one per character; `null` when only the whole has a place. */
  readonly offsets: readonly number[] | null;
  readonly start: number;
  readonly end: number;
}

/** A part of a file as it stands there. */
export function partOf(file: SourceFile, start: number, end: number): PlacedText {
  return {
    file,
    text: file.text.slice(start, end),
    offsets: Array.from({ length: end - start }, (_unused, index) => start + index),
    start,
    end,
  };
}

/** The value of a word as a text of its own. */
export function textOfWord(file: SourceFile, word: Word): PlacedText {
  return { file, text: word.value, offsets: word.offsets, start: word.start, end: word.end };
}

/** A word whose characters stand in the file one after the other from `start`. */
export function plainWord(value: string, start: number): Word {
  const offsets = Array.from({ length: value.length }, (_unused, index) => start + index);
  return { value, start, end: start + value.length, offsets, dynamic: false };
}

/** Nesting that no real configuration reaches. */
const DEPTH_LIMIT = 64;

/** True when brackets nest so deep that recursive parsers could run out of stack. Quotes are ignored: an upper bound. */
export function isNestedTooDeeply(text: string): boolean {
  let depth = 0;
  for (const c of text) {
    if (c === '{' || c === '[') {
      depth += 1;
      if (depth > DEPTH_LIMIT) return true;
    } else if (c === '}' || c === ']') depth -= 1;
  }
  return false;
}
