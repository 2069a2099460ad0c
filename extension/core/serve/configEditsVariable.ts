/**
 * Removes an environment variable from a serve file that is not vLLM YAML, so that what is left is well-formed: an empty
 * block of a shell, an option without its value or a list item without its name would break the user's start-up.
 */
import { findNodeAtOffset, getNodeValue, parseTree } from 'jsonc-parser';
import { isPair, isScalar } from 'yaml';
import type { ConfigEditResult, ConfigTextEdit } from './configEdits';
import { cut, cutAssignment, type CommandText } from './configEditsShell';
import { NOTHING, offsetsOf, whatHolds } from './configEditsWords';
import { chainTo, keyOf, removeChain, type Entry } from './configEditsYaml';
import { parseServeFile, type ServeFileKind } from './serveConfig';
import { noFindings } from './serveConfigArgs';
import { SourceFile } from './serveConfigSource';
import { nodeSpan, parseYamlDocuments } from './serveConfigYaml';

/** A variable, and the offsets of what the file says of it (its assignment, or its value alone). */
interface Place {
  readonly name: string;
  readonly start: number;
  readonly end: number;
}

/** The edits; `null` where none is safe. */
type VariableEdits = readonly ConfigTextEdit[] | null;

/** An assignment in text; `null` also when the place holds something else, such as a value put together elsewhere. */
function assignment(text: string, { name, start, end }: Place, kind: CommandText): VariableEdits {
  if (!new RegExp(`^["']?${name}[=\\s]`).test(text.slice(start, end))) return null;
  const edit = cutAssignment(text, start, end, kind);
  return edit === null ? null : [edit];
}

function keyed(entry: Entry | undefined, key: string): boolean {
  return isPair(entry?.item) && keyOf(entry.item) === key;
}

/** An entry of `environment:` (compose) or `env:` (Kubernetes), or an assignment in a script that is a literal block. */
function yamlVariable(text: string, place: Place, kind: 'compose' | 'kubernetes'): VariableEdits {
  const documents = parseYamlDocuments(new SourceFile('', text), noFindings()) ?? [];
  const chain = documents.flatMap((document) => chainTo(document.contents, place.start));
  // services, the service, environment, its entry; and ending in env, its item, the item's value.
  const [owner, entry] = kind === 'compose' ? chain.slice(2) : chain.slice(-3);
  const listed =
    kind === 'compose'
      ? keyed(owner, 'environment') && chain.length === 4
      : keyed(owner, 'env') && keyed(chain.at(-1), 'value');
  if (listed && owner !== undefined && entry !== undefined) {
    // Without its only entry the list goes too, but never the container that has nothing else.
    const emptied = owner.holder.items.length === 1 && entry.holder.items.length === 1;
    return emptied ? null : removeChain(text, [owner, entry]);
  }
  const item = chain.at(-1)?.item;
  const scalar = isPair(item) ? item.value : item;
  if (!isScalar(scalar) || scalar.type !== 'BLOCK_LITERAL') return null;
  const [start, end] = nodeSpan(scalar);
  const from = text.indexOf('\n', start) + 1;
  const inScript = { name: place.name, start: place.start - from, end: place.end - from };
  const edits = assignment(text.slice(from, end), inScript, 'shell');
  return edits?.map((edit) => ({ ...edit, offset: edit.offset + from })) ?? null;
}

/** A property of launch.json or tasks.json, with its comma, and with its line when it has one for itself. */
function jsonVariable(text: string, { name, start: value }: Place): VariableEdits {
  const tree = parseTree(text, [], { allowTrailingComma: true });
  const property = (tree === undefined ? undefined : findNodeAtOffset(tree, value))?.parent;
  const [key] = property?.children ?? [];
  if (property?.type !== 'property' || key === undefined || getNodeValue(key) !== name) return null;
  const siblings = property.parent?.children ?? [];
  const previous = siblings[siblings.indexOf(property) - 1];
  const start = property.offset;
  const comma = /^\s*,/.exec(text.slice(start + property.length))?.[0] ?? '';
  const end = start + property.length + comma.length;
  const own = ownLine(text, start, end) ?? cut(start, end + (/^[ \t]*/.exec(text.slice(end))?.[0].length ?? 0));
  if (comma !== '' || previous === undefined) return [own];
  // The last one's comma stands behind the one before it.
  const at = previous.offset + previous.length;
  const lead = /^\s*,/.exec(text.slice(at))?.[0];
  return lead === undefined ? null : [cut(at, at + lead.length), own];
}

/** A range's line as a whole, when nothing but the range and a comment stands on it. */
function ownLine(text: string, start: number, end: number): ConfigTextEdit | null {
  const lineStart = text.lastIndexOf('\n', start - 1) + 1;
  const behind = /^[ \t]*(?:\/\/[^\n]*)?\n/.exec(text.slice(end));
  return behind !== null && text.slice(lineStart, start).trim() === '' ? cut(lineStart, end + behind[0].length) : null;
}

function variableEdits(text: string, kind: ServeFileKind, place: Place): VariableEdits {
  switch (kind) {
    case 'compose':
    case 'kubernetes':
      return yamlVariable(text, place, kind);
    case 'editorJson':
      return jsonVariable(text, place);
    case 'shell':
    case 'dockerfile':
    case 'dotEnv':
      return assignment(text, place, kind);
    case 'vllmYaml':
      return null;
  }
}

/** Removes an environment variable; no edit where none is safe, and none where the file uses the variable elsewhere. */
export function removeVariable(path: string, text: string, kind: ServeFileKind, name: string): ConfigEditResult {
  const places = parseServeFile(path, text, kind).env.filter((each) => each.name === name);
  const [place] = places;
  if (place === undefined || places.length > 1) return NOTHING;
  const [start, end] = offsetsOf(text, place.range);
  const uses = new RegExp(`\\$[{(]?${name}\\b`);
  if (uses.test(text.slice(0, start)) || uses.test(text.slice(end))) return NOTHING;
  const edits = variableEdits(text, kind, { name, start, end });
  return edits === null
    ? NOTHING
    : whatHolds(path, text, kind, name, (after) => after.env.every((each) => each.name !== name), edits);
}
