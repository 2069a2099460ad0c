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
  const uuids = new Map<string, string>();
  const buses = new Map<string, string>();
  const standIn = (known: Map<string, string>, found: string, prefix: string): string => {
    const key = found.toLowerCase();
    const same = [...known.keys()].find((each) => each === key || each.startsWith(key));
    const name = same === undefined ? `${prefix}-${known.size + 1}` : (known.get(same) ?? found);
    known.set(same ?? key, name);
    return name;
  };
  const literal = literalReplacements(words);
  const text = (original: string): string => {
    let result = original
      .replace(DEVICE_UUID, (found) => standIn(uuids, found, found.startsWith('M') ? 'MIG-device' : 'GPU-device'))
      .replace(PCI_BUS_ID, (found) => standIn(buses, found, 'bus'));
    for (const [pattern, replacement] of literal) result = result.replace(pattern, replacement);
    return result.replace(OTHER_HOME, '/$1/<user>');
  };
  const walk = (each: unknown): unknown => {
    if (typeof each === 'string') return text(each);
    if (Array.isArray(each)) return each.map(walk);
    if (typeof each === 'object' && each !== null) {
      return Object.fromEntries(Object.entries(each).map(([key, inner]) => [key, walk(inner)]));
    }
    return each;
  };
  return walk(value) as T;
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
