/**
 * Removing entries of YAML mappings and lists by their text: whole lines in block style, an entry with its comma in flow
 * style. Comments above an entry, order and quoting stay.
 */
import type { Node, Pair, YAMLMap, YAMLSeq } from 'yaml';
import { isCollection, isNode, isPair, isScalar } from 'yaml';
import type { ConfigTextEdit } from './configEdits';
import { nodeSpan } from './serveConfigYaml';

/** A key with its value. */
export type YamlPair = Pair<unknown, unknown>;

/** An entry (a pair of a mapping, an item of a list) and the collection that holds it. */
export interface Entry {
  readonly holder: YAMLMap<unknown, unknown> | YAMLSeq<unknown>;
  readonly item: unknown;
}

/** The key's text, empty when it is none. */
export function keyOf(pair: YamlPair): string {
  return isScalar(pair.key) ? String(pair.key.value) : '';
}

/** The key as a node. */
export function keyNode(pair: YamlPair): Node {
  return pair.key as Node;
}

/** End of a pair's own text: its value, or its key when the value is empty. */
export function pairEnd(pair: YamlPair): number {
  const [, keyEnd] = nodeSpan(keyNode(pair));
  return isNode(pair.value) ? Math.max(keyEnd, nodeSpan(pair.value)[1]) : keyEnd;
}

/** Offset of the first character of the line that holds `offset`. */
export function startOfLine(text: string, offset: number): number {
  return text.lastIndexOf('\n', offset - 1) + 1;
}

function spanOf(item: unknown): readonly [number, number] {
  if (isPair(item)) return [nodeSpan(keyNode(item))[0], pairEnd(item)];
  return isNode(item) ? nodeSpan(item) : [0, 0];
}

/** The lines an entry has for itself, up to `end`; `null` when something else stands before it on its first line. */
function lines(text: string, { item }: Entry, end: number): ConfigTextEdit | null {
  const [at] = spanOf(item);
  const start = startOfLine(text, at);
  if (!(isPair(item) ? /^ *$/ : /^ *- +$/).test(text.slice(start, at))) return null;
  const newline = text.indexOf('\n', end);
  const stop = newline === -1 ? text.length : newline + 1;
  return { offset: start, length: stop - start, newText: '' };
}

/** Removes the lines of a block entry, with the comment behind it on its last line; comments above stay. */
function removeLines(text: string, entry: Entry): ConfigTextEdit | null {
  const [start, stop] = spanOf(entry.item);
  // A block collection's text ends where the next line begins; step back onto its last line.
  let end = stop;
  while (end > start && /\s/.test(text[end - 1] ?? '')) end -= 1;
  return lines(text, entry, end);
}

/** Removes an entry of a flow collection with the comma that belongs to it. */
function removeFromFlow({ holder, item }: Entry): ConfigTextEdit {
  const items: readonly unknown[] = holder.items;
  const index = items.indexOf(item);
  const [start, end] = spanOf(item);
  if (index + 1 < items.length) return { offset: start, length: spanOf(items[index + 1])[0] - start, newText: '' };
  const from = index === 0 ? start : spanOf(items[index - 1])[1];
  return { offset: from, length: end - from, newText: '' };
}

/**
 * Removes the last entry of a chain from its first collection to it. A collection that would be left without entries goes
 * with its key, because vLLM takes no empty one; comment lines in between stay. `null` where this would cut through a line
 * that holds more.
 */
export function removeChain(text: string, chain: readonly Entry[]): readonly ConfigTextEdit[] | null {
  let top = chain.length - 1;
  while (top > 0 && chain[top]?.holder.items.length === 1) top -= 1;
  const removed = chain.slice(top);
  const [first] = removed;
  const last = removed.at(-1);
  if (first === undefined || last === undefined) return [];
  if (first.holder.flow === true) return [removeFromFlow(first)];
  const edits = removed.slice(1).some((entry) => entry.holder.flow === true)
    ? [removeLines(text, first)]
    : [...removed.slice(0, -1).map((entry) => lines(text, entry, spanOf(entry.item)[0])), removeLines(text, last)];
  return edits.every((edit) => edit !== null) ? edits : null;
}

/** The entries that hold an offset, from a collection down. */
export function chainTo(node: unknown, offset: number): readonly Entry[] {
  if (!isCollection(node)) return [];
  const holder: Entry['holder'] = node;
  // A value left out has its place at the end of its entry, where the next one may begin.
  const item = holder.items.filter((each) => offset >= spanOf(each)[0] && offset <= spanOf(each)[1]).at(-1);
  return item === undefined ? [] : [{ holder, item }, ...chainTo(isPair(item) ? item.value : item, offset)];
}
