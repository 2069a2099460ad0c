/**
 * Edits of the arguments in serve files that are not vLLM YAML: shell scripts, Dockerfiles, compose files, launch.json. A
 * place is found by the setting's own range, and an edit counts only when the edited file reads back as intended.
 */
import type { ConfigEditResult, ConfigTextEdit } from './configEdits';
import { applyTextEdits } from './configEdits';
import { cut, GAP } from './configEditsShell';
import { parseServeFile, type ParsedServe, type ServeFileKind } from './serveConfig';
import type { SourceRange } from '../verdict';

/** No edit is safe. */
export const NOTHING: ConfigEditResult = { ok: true, edits: [] };

/** Offsets of a range in the text it is about. */
export function offsetsOf(text: string, range: SourceRange): readonly [number, number] {
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

/** The edits, when the file then says the same but for `name`, and of `name` what is wanted. */
export function whatHolds(
  path: string,
  text: string,
  kind: ServeFileKind,
  name: string,
  wanted: (after: ParsedServe) => boolean,
  edits: readonly ConfigTextEdit[],
): ConfigEditResult {
  const before = parseServeFile(path, text, kind);
  const after = parseServeFile(path, applyTextEdits(text, edits), kind);
  const same = saysWithout(after, name) === saysWithout(before, name);
  return same && wanted(after) && countProblems(after) <= countProblems(before) ? { ok: true, edits } : NOTHING;
}

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
  return whatHolds(path, text, kind, name, (after) => after.located.every((each) => each.name !== name), [
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
  return whatHolds(
    path,
    text,
    kind,
    name,
    (after) => after.located.filter((each) => each.name === name).at(-1)?.value === read,
    [{ offset: start, length: end - start, newText: value }],
  );
}
