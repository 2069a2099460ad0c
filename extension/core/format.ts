/** Numbers and tables as text: pure, the same in panel, status bar, command line and Markdown. */

/** What stands where a figure was not established. */
export const NOT_KNOWN = '–';

/** Parts as sentences one after another; each gets its full stop where it has none. Empty parts are left out. */
export function sentences(...parts: readonly string[]): string {
  return parts
    .map((part) => part.trim())
    .filter((part) => part !== '')
    .map((part) => (/[.!?]["')]?$/.test(part) ? part : `${part}.`))
    .join(' ');
}

/** A count with its noun: `1 row`, `2 rows`. */
export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** Binary bytes with one decimal: `141.0 GiB`. */
export function formatBytes(bytes: number | null): string {
  if (bytes === null) return NOT_KNOWN;
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return unit === 0 ? `${value} B` : `${value.toFixed(1)} ${units[unit] ?? ''}`;
}

/** Milliseconds, in the unit that keeps three figures: `3.21 µs`, `12.3 ms`, `4.56 s`. */
export function formatMs(ms: number | null): string {
  if (ms === null) return NOT_KNOWN;
  if (ms < 1) return `${threeFigures(ms * 1000)} µs`;
  if (ms < 1000) return `${threeFigures(ms)} ms`;
  return `${threeFigures(ms / 1000)} s`;
}

/** Three significant figures without an exponent. */
export function threeFigures(value: number): string {
  if (!Number.isFinite(value)) return NOT_KNOWN;
  const magnitude = Math.abs(value);
  if (magnitude >= 100) return value.toFixed(0);
  if (magnitude >= 10) return value.toFixed(1);
  if (magnitude >= 1) return value.toFixed(2);
  return value === 0 ? '0' : value.toPrecision(3);
}

/** `584 TFLOP/s` or `3.92 TB/s`; `figure` decides which of the two counts for the case. */
export function formatRate(value: number | null, unit: 'TFLOP/s' | 'TB/s'): string {
  if (value === null) return NOT_KNOWN;
  const small = unit === 'TFLOP/s' ? 'GFLOP/s' : 'GB/s';
  return value < 0.1 ? `${threeFigures(value * 1000)} ${small}` : `${threeFigures(value)} ${unit}`;
}

export function formatPercent(percent: number | null): string {
  return percent === null ? NOT_KNOWN : `${percent.toFixed(percent < 10 ? 1 : 0)} %`;
}

/** An error, relative or of a log-sum-exp: `2.41e-3`. */
export function formatError(error: number | null): string {
  return error === null ? NOT_KNOWN : error === 0 ? '0' : error.toExponential(2);
}

/** cuDriverGetVersion's number as people write it: 12080 → `12.8`. */
export function formatDriverApiVersion(version: number): string {
  return `${Math.floor(version / 1000)}.${Math.floor((version % 1000) / 10)}`;
}

/** A length in tokens: powers of two from 1024 up as `16k`. */
export function formatTokens(tokens: number): string {
  return tokens >= 1024 && tokens % 1024 === 0 ? `${tokens / 1024}k` : String(tokens);
}

/** One length for all sequences, or how many there are: `16k`, `3 lengths`. */
export function formatLengths(lens: number | readonly number[]): string {
  return typeof lens === 'number' ? formatTokens(lens) : `${lens.length} lengths`;
}

/** `contiguous` or `page 16`. */
export function formatPageSize(pageSize: number | null): string {
  return pageSize === null ? 'contiguous' : `page ${pageSize}`;
}

/** `serve.yaml:3`, the file by its name and the line as editors count it. */
export function placeText({ path, startLine }: { readonly path: string; readonly startLine: number }): string {
  return `${path.split(/[\\/]/).at(-1) ?? path}:${startLine + 1}`;
}

/** A column of {@link textTable}. */
export interface TextColumn {
  readonly title: string;
  readonly align?: 'left' | 'right';
}

/** Printed width of a string of Latin text and symbols: code points, combining marks excluded. */
function width(text: string): number {
  return [...text.replace(/\p{M}/gu, '')].length;
}

/**
 * Rows under headings, columns padded, the last left-aligned column not padded. Cells longer than the room left in
 * `maxWidth` are wrapped at spaces in the last column; other columns are never cut.
 */
export function textTable(
  columns: readonly TextColumn[],
  rows: readonly (readonly string[])[],
  maxWidth = 100,
): string {
  const widths = columns.map((column, index) =>
    Math.max(width(column.title), ...rows.map((row) => width(row[index] ?? ''))),
  );
  const last = columns.length - 1;
  const before = widths.slice(0, last).reduce((sum, each) => sum + each + 2, 0);
  const lastRoom = Math.max(24, maxWidth - before);
  const pad = (text: string, index: number): string => {
    const gap = ' '.repeat(Math.max(0, (widths[index] ?? 0) - width(text)));
    if (columns[index]?.align === 'right') return gap + text;
    return index === last ? text : text + gap;
  };
  const lines: string[] = [];
  const push = (cells: readonly string[]): void => {
    lines.push(
      cells
        .map((cell, index) => pad(cell, index))
        .join('  ')
        .trimEnd(),
    );
  };
  push(columns.map((column) => column.title));
  lines.push(widths.map((each, index) => '-'.repeat(index === last ? Math.min(each, lastRoom) : each)).join('  '));
  for (const row of rows) {
    const wrapped = width(row[last] ?? '') > lastRoom ? wrap(row[last] ?? '', lastRoom) : [row[last] ?? ''];
    push([...row.slice(0, last), wrapped[0] ?? '']);
    for (const line of wrapped.slice(1)) lines.push(' '.repeat(before) + line);
  }
  return lines.join('\n');
}

/** Breaks text at spaces into lines of at most `room` characters; a longer word stays whole. */
export function wrap(text: string, room: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && width(line) + 1 + width(word) > room) {
      lines.push(line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  lines.push(line);
  return lines;
}
