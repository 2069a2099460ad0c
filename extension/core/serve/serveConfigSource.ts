/**
 * Pieces of a source file with their place: the words every reader of serve settings works on, whatever the file format.
 */
import type { SourceRange } from '../verdict';

/** A piece of text as the program would get it, with where it stands in the file (UTF-16 offsets, end exclusive). */
export interface Word {
  readonly value: string;
  readonly start: number;
  readonly end: number;
  /** Offset in the file of each character of `value`; `null` when escapes make that impossible to tell. */
  readonly offsets: readonly number[] | null;
  /** Holds a variable or a command substitution, so the value is only known when it runs. */
  readonly dynamic: boolean;
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
  | 'overridden';

/** One problem, at its place. An `error` means the file's settings are not used; a `warning` concerns one setting. */
export interface ServeProblem {
  readonly code: ServeProblemCode;
  readonly severity: 'error' | 'warning';
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
  const first = offsets?.[0];
  const last = offsets?.[offsets.length - 1];
  return {
    value: word.value.slice(start, end),
    start: first ?? (offsets === null ? word.start : word.end),
    end: last === undefined ? word.end : last + 1,
    offsets,
    dynamic: word.dynamic,
  };
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
