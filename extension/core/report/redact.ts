/** Takes what identifies a machine or a person out of a report; the same thing gets the same stand-in everywhere in it. */

/** Words to take out besides what is recognised by its form. */
export interface PrivateWords {
  readonly homeDir: string | null;
  readonly userName: string | null;
  readonly hostName: string | null;
}

/** GPU and MIG UUIDs, also the shortened form that CUDA_VISIBLE_DEVICES accepts and the old `MIG-GPU-…/1/0`. */
const DEVICE_UUID = /\b(?:MIG-GPU|MIG|GPU)-[0-9a-f]{4,8}(?:-[0-9a-f]{1,12})*(?:\/\d+\/\d+)?/gi;
/** `0000:3b:00.0`, with the domain of 4 or 8 digits. */
const PCI_BUS_ID = /\b(?:[0-9a-f]{8}|[0-9a-f]{4}):[0-9a-f]{2}:[0-9a-f]{2}\.[0-9a-f]\b/gi;
/** Home folders of others, e.g. in a loader's error. */
const OTHER_HOME = /\/(home|Users)\/[^/\s"':;,)]+/g;

/**
 * Other absolute paths, whose folders may name a customer or a project; what comes with every system says nothing. A slash that
 * goes on a word, an URL or another slash begins no path.
 */
const PATH =
  /(?<=^|[\s"'`(=,[:<])\/(?!\/|(?:usr|lib|lib32|lib64|bin|sbin|dev|proc|sys|etc|home|Users)\/)(?:[^\s"'`():,;<>/]+\/)+(?=[^\s"'`():,;<>/]*)/g;

/** These identify nobody, and replacing them would garble sentences. */
const COMMON_WORDS = new Set([
  'root',
  'user',
  'admin',
  'localhost',
  'ubuntu',
  'debian',
  'node',
  'runner',
  'gpu',
  'cpu',
]);

/** A copy of `value` in which every string is redacted; object keys stay. */
export function redact<T>(value: T, words: PrivateWords): T {
  const uuids = standIns(value, DEVICE_UUID, (found) => (found.startsWith('mig') ? 'MIG-device' : 'GPU-device'));
  const buses = standIns(value, PCI_BUS_ID, () => 'bus');
  const literal = literalReplacements(words);
  return mapStrings(value, (original) => {
    let result = original.replace(DEVICE_UUID, uuids).replace(PCI_BUS_ID, buses);
    for (const [pattern, replacement] of literal) result = result.replace(pattern, replacement);
    return result.replace(OTHER_HOME, '/$1/<user>').replace(PATH, '<path>/');
  }) as T;
}

/**
 * Numbered names for everything that matches `pattern`, in order of appearance. A shortened id is the same thing as the
 * full one it begins, wherever either appears first, so all are collected before the first is named.
 */
function standIns(value: unknown, pattern: RegExp, prefix: (found: string) => string): (found: string) => string {
  const all: string[] = [];
  mapStrings(value, (text) => {
    for (const [found] of text.matchAll(pattern)) all.push(found.toLowerCase());
    return text;
  });
  const fullForm = (found: string): string =>
    all.reduce((longest, each) => (each.startsWith(found) && each.length > longest.length ? each : longest), found);
  const names = new Map<string, string>();
  for (const full of new Set(all.map(fullForm))) names.set(full, `${prefix(full)}-${names.size + 1}`);
  return (found) => names.get(fullForm(found.toLowerCase())) ?? prefix(found.toLowerCase());
}

function mapStrings(value: unknown, map: (text: string) => string): unknown {
  if (typeof value === 'string') return map(value);
  if (Array.isArray(value)) return value.map((each) => mapStrings(each, map));
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, mapStrings(inner, map)]));
  }
  return value;
}

function literalReplacements(words: PrivateWords): [RegExp, string][] {
  const replacements: [RegExp, string][] = [];
  if (words.homeDir !== null && words.homeDir.length > 1) {
    replacements.push([new RegExp(`${escapeRegExp(words.homeDir)}(?=/|$|[\\s"':;,)])`, 'g'), '~']);
  }
  for (const [word, name] of [
    [words.hostName, '<host>'],
    [words.userName, '<user>'],
  ] as const) {
    if (word === null || word.length < 3 || COMMON_WORDS.has(word.toLowerCase())) continue;
    replacements.push([new RegExp(`(?<![\\w-])${escapeRegExp(word)}(?![\\w-])`, 'g'), name]);
  }
  return replacements;
}

function escapeRegExp(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
