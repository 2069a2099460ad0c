/**
 * Edits of serve files that are not vLLM YAML: shell scripts, Dockerfiles, compose files, launch.json, `.env`. A place is
 * found by the setting's own range, and a candidate counts only when the edited file reads back as before without it.
 */
import type { ConfigEditResult, ConfigTextEdit } from './configEdits';
import { applyTextEdits } from './configEdits';
import { parseServeFile, type ParsedServe, type ServeFileKind } from './serveConfig';
import type { SourceRange } from '../verdict';

const NOTHING: ConfigEditResult = { ok: true, edits: [] };

/** Offsets of a range in the text it is about. */
function offsetsOf(text: string, range: SourceRange): readonly [number, number] {
  const lines = text.split('\n');
  const offset = (line: number, column: number): number =>
    lines.slice(0, line).reduce((sum, each) => sum + each.length + 1, 0) + column;
  return [offset(range.startLine, range.startColumn), offset(range.endLine, range.endColumn)];
}

/** Everything the file says but one setting or variable, as comparable text. Settings of other servers stay as they are. */
function saysWithout({ located, env, others }: ParsedServe, name: string): string {
  const settings = (of: ParsedServe['located']): unknown => of.map((each) => [each.name, each.value, each.form]);
  const variables = (of: ParsedServe['env']): unknown =>
    of.filter((each) => each.name !== name).map((each) => [each.name, each.value]);
  return JSON.stringify([
    settings(located.filter((each) => each.name !== name)),
    variables(env),
    others.map((other) => [settings(other.located), variables(other.env)]),
  ]);
}

/** How much of a file is not understood. That nothing is left in it is no reason against an edit. */
function countProblems({ problems }: ParsedServe): number {
  return problems.filter((problem) => problem.code !== 'nothingFound').length;
}

/** The first candidate after which the file says the same but for `name`, and of `name` what is wanted. */
function firstThatHolds(
  path: string,
  text: string,
  kind: ServeFileKind,
  name: string,
  wanted: (after: ParsedServe) => boolean,
  candidates: readonly (ConfigTextEdit | null)[],
): ConfigEditResult {
  const before = parseServeFile(path, text, kind);
  for (const edit of candidates) {
    if (edit === null) continue;
    const after = parseServeFile(path, applyTextEdits(text, [edit]), kind);
    const same = saysWithout(after, name) === saysWithout(before, name);
    if (same && wanted(after) && countProblems(after) <= countProblems(before)) return { ok: true, edits: [edit] };
  }
  return NOTHING;
}

const cut = (start: number, end: number): ConfigTextEdit => ({ offset: start, length: end - start, newText: '' });

/** The lines of a range as a whole, when nothing but it and `around` stands on them. */
function wholeLines(text: string, start: number, end: number, before: RegExp, after: RegExp): ConfigTextEdit | null {
  const lineStart = text.lastIndexOf('\n', start - 1) + 1;
  const newline = text.indexOf('\n', end);
  const lineEnd = newline === -1 ? text.length : newline;
  const alone = before.test(text.slice(lineStart, start)) && after.test(text.slice(end, lineEnd));
  return alone ? cut(lineStart, newline === -1 ? text.length : newline + 1) : null;
}

/** Removes an environment variable: its line when it stands alone, else the word with the blanks behind it. */
export function removeVariable(path: string, text: string, kind: ServeFileKind, name: string): ConfigEditResult {
  const places = parseServeFile(path, text, kind).env.filter((each) => each.name === name);
  const [place] = places;
  if (place === undefined || places.length > 1) return NOTHING;
  const [start, end] = offsetsOf(text, place.range);
  const blanks = /^[ \t]*/.exec(text.slice(end))?.[0].length ?? 0;
  return firstThatHolds(path, text, kind, name, (after) => after.env.every((each) => each.name !== name), [
    // Not behind a line that goes on: the line below would be joined to another command.
    text.slice(0, text.lastIndexOf('\n', start - 1) + 1).endsWith('\\\n')
      ? null
      : wholeLines(
          text,
          start,
          end,
          /^\s*(?:(?:export|ENV|ARG)\s+|-\s*)?["']?(?:[\w]+["']?\s*[:=]\s*["']?)?$/,
          /^["']?\s*(?:#.*)?\r?$/,
        ),
    kind === 'shell' || kind === 'dockerfile' ? cut(start, end + blanks) : null,
  ]);
}

/** Words between two arguments: blanks, and line ends that are escaped. */
const GAP = String.raw`(?:[ \t]|\\\r?\n)+`;

/** Removes an option and its value from a command line of a shell script, a Dockerfile or a compose command. */
export function removeArgument(path: string, text: string, kind: ServeFileKind, name: string): ConfigEditResult {
  const places = parseServeFile(path, text, kind).located.filter((each) => each.name === name);
  const [place] = places;
  if (place === undefined || places.length > 1 || place.form === 'json') return NOTHING;
  const [start, end] = offsetsOf(text, place.range);
  const option = new RegExp(`${GAP}--?[A-Za-z][\\w.-]*(?:=|${GAP})["']?$`).exec(text.slice(0, start));
  if (option === null) return NOTHING;
  const quote = /["']$/.exec(option[0])?.[0] ?? '';
  const stop = quote !== '' && text.startsWith(quote, end) ? end + 1 : end;
  return firstThatHolds(path, text, kind, name, (after) => after.located.every((each) => each.name !== name), [
    cut(option.index, stop),
  ]);
}

/** Writes another value in the place of a setting's; `read` is what the file must then say. */
export function replaceValue(
  path: string,
  text: string,
  kind: ServeFileKind,
  name: string,
  value: string,
  read: string | number,
): ConfigEditResult {
  const place = parseServeFile(path, text, kind)
    .located.filter((each) => each.name === name)
    .at(-1);
  if (place === undefined) return NOTHING;
  const [start, end] = offsetsOf(text, place.range);
  return firstThatHolds(
    path,
    text,
    kind,
    name,
    (after) => after.located.filter((each) => each.name === name).at(-1)?.value === read,
    [{ offset: start, length: end - start, newText: value }],
  );
}
