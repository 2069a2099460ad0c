/**
 * vLLM's own YAML (`--config file.yaml`) and docker-compose files. What makes a YAML file ambiguous — tabs, anchors,
 * duplicate keys, several documents — is an error at its place, and nothing of the file is used then.
 */
import type { Document, Node, Scalar, YAMLMap } from 'yaml';
import { isAlias, isMap, isNode, isScalar, isSeq, parseAllDocuments, visit } from 'yaml';
import type { LocatedSetting, ServeFindings } from './serveConfigArgs';
import {
  OptionCollector,
  addEnv,
  canonicalOption,
  dottedValue,
  findOption,
  isVllmVariable,
  noteOrigin,
  objectFields,
  readAssignment,
  readPart,
} from './serveConfigArgs';
import { readEntry, shellCommands } from './serveConfigShell';
import type { ServeProblemCode, SourceFile, VariableOrigin, Word } from './serveConfigSource';
import { isNestedTooDeeply, plainWord, textOfWord } from './serveConfigSource';
import type { SourceRange } from '../verdict';

/** One mapping at the top of a YAML file, checked. */
export interface YamlSource {
  readonly document: Document.Parsed;
  /** `null` for an empty file. */
  readonly root: YAMLMap<unknown, unknown> | null;
}

/** Offsets of a node's own text. */
export function nodeSpan(node: Node): readonly [number, number] {
  return node.range === null || node.range === undefined ? [0, 0] : [node.range[0], node.range[1]];
}

/** Notes an error of a YAML file at its place. */
function failAt(
  file: SourceFile,
  findings: ServeFindings,
  code: ServeProblemCode,
  text: string,
  start: number,
  end: number,
): null {
  findings.problems.push({ code, severity: 'error', text, range: file.range(start, end) });
  return null;
}

/**
 * The documents of a YAML file as PyYAML would take them (YAML 1.1: `on` is true), checked: tabs, duplicate keys, anchors and
 * anything the parser refuses are errors at their place, and the file cannot be used. `null` then.
 */
export function parseYamlDocuments(file: SourceFile, findings: ServeFindings): readonly Document.Parsed[] | null {
  const tooDeep = (): null =>
    failAt(file, findings, 'syntax', 'This YAML is nested too deeply to be read.', 0, file.text.length);
  if (isNestedTooDeeply(file.text)) return tooDeep();
  let documents: readonly Document.Parsed[];
  try {
    const parsed = parseAllDocuments(file.text, { version: '1.1', prettyErrors: false });
    documents = Array.isArray(parsed) ? parsed : [];
  } catch {
    return tooDeep(); // Block nesting by indentation has no brackets to count; the parser runs out of stack.
  }
  return documents.every((document) => isUsable(document, file, findings)) ? documents : null;
}

function isUsable(document: Document.Parsed, file: SourceFile, findings: ServeFindings): boolean {
  const error = document.errors[0];
  if (error !== undefined) {
    const code = error.code === 'TAB_AS_INDENT' ? 'tabs' : error.code === 'DUPLICATE_KEY' ? 'duplicateKey' : 'syntax';
    const text = {
      tabs: 'A tab is used for indentation; YAML allows only spaces there.',
      duplicateKey: 'This key stands twice; only the last one would count. Remove one.',
      syntax: `This is not valid YAML: ${error.message}.`,
    }[code];
    // The parser marks one character; the word it begins is what a reader looks for.
    const [start, end] = error.pos;
    const word = /^[^\s:]+/.exec(file.text.slice(start, start + 200))?.[0].length ?? 0;
    failAt(file, findings, code, text, start, Math.max(end, start + word));
    return false;
  }
  let anchor: Node | null = null;
  visit(document, {
    Node: (_key, node) => {
      if (!isAlias(node) && (node as { anchor?: string }).anchor === undefined) return undefined;
      anchor = node;
      return visit.BREAK;
    },
  });
  if (anchor === null) return true;
  const [start, end] = nodeSpan(anchor);
  failAt(file, findings, 'anchors', 'Anchors and aliases are not followed here; write the value out.', start, end);
  return false;
}

/** The one mapping of a YAML file. `null` after noting the problem when there is none. */
export function parseYaml(file: SourceFile, findings: ServeFindings): YamlSource | null {
  const documents = parseYamlDocuments(file, findings);
  if (documents === null) return null;
  const [document, second] = documents;
  if (second !== undefined) {
    const [start] = second.range;
    const text = 'The file holds several YAML documents; vLLM reads files with one.';
    return failAt(file, findings, 'severalDocuments', text, start, start + 1);
  }
  if (document === undefined) return null;
  if (document.contents === null) return { document, root: null };
  if (!isMap(document.contents)) {
    const [start, end] = nodeSpan(document.contents);
    return failAt(file, findings, 'notAMapping', 'The file does not hold keys with values at its top.', start, end);
  }
  return { document, root: document.contents };
}

/** A scalar's text; YAML scalars are strings, numbers, booleans, null or (YAML 1.1) dates. */
function scalarText(value: unknown): string {
  if (value instanceof Date) return value.toISOString();
  if (typeof value === 'string') return value;
  return typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint' ? String(value) : '';
}

/**
 * Where each character of a block or quoted scalar stands: value and source are walked side by side, over escapes, line
 * folding and indentation. `null` when they part.
 */
function scalarOffsets(source: string, value: string, start: number): readonly number[] | null {
  const block = /^[|>][^\n]*\n/.exec(source)?.[0].length;
  const offsets: number[] = [];
  let i = block ?? (/^["']/.test(source) ? 1 : 0);
  const indent = block === undefined ? Infinity : (/^(?:[ \t]*\n)*( *)/.exec(source.slice(block))?.[1]?.length ?? 0);
  const line = (): void => {
    for (let k = 0; k < indent && (source[i] === ' ' || source[i] === '\t'); k++) i += 1;
  };
  if (block !== undefined) line();
  for (const c of value.split('')) {
    if (c === '\n' || (c === ' ' && source[i] !== ' ')) {
      const newline = source.indexOf('\n', i);
      if (newline === -1 || source.slice(i, newline).trim() !== '') {
        if (source[i] === '\\' && source[i + 1] === 'n') {
          offsets.push(start + i);
          i += 2;
          continue;
        }
        return null;
      }
      offsets.push(start + newline);
      i = newline + 1;
      line();
      continue;
    }
    if (source[i] === '\\' && block === undefined && source[i + 1] === c) i += 1;
    else if (source.startsWith("''", i) && c === "'" && source.startsWith("'")) i += 1;
    if (source[i] !== c) return null;
    offsets.push(start + i);
    i += 1;
  }
  return offsets;
}

/** A scalar as a word. */
export function scalarWord(file: SourceFile, node: Scalar): Word {
  const [start, end] = nodeSpan(node);
  const value = scalarText(node.value);
  const source = file.text.slice(start, end);
  if (source === value) return plainWord(value, start);
  if (source.slice(1, -1) === value) return { ...plainWord(value, start + 1), start, end };
  return { value, start, end, offsets: scalarOffsets(source, value, start), dynamic: false };
}

/** Text of a scalar as Python's `str` gives it to the argument parser. */
function pythonText(value: unknown): string {
  if (value === null || value === undefined) return 'None';
  return value === true ? 'True' : value === false ? 'False' : scalarText(value);
}

/** Settings below a nested mapping, one per leaf that is a setting of its own. */
function mappingFields(file: SourceFile, map: YAMLMap<unknown, unknown>, name: string): LocatedSetting[] {
  return map.items.flatMap((pair): LocatedSetting[] => {
    const key = `${name}.${isScalar(pair.key) ? String(pair.key.value) : ''}`;
    const value = pair.value;
    if (isMap(value) && key === 'attention_config.backend_per_kind') return mappingFields(file, value, key);
    const node = isNode(value) ? value : isNode(pair.key) ? pair.key : map;
    const [start, end] = nodeSpan(node);
    const plain: unknown = isScalar(value) ? value.value : isNode(value) ? value.toJSON() : null;
    return [{ name: key, value: plain, form: 'yaml', range: file.range(start, end) }];
  });
}

/** Reads a vLLM config file: each key is an option without its dashes. */
export function readVllmYaml(file: SourceFile, findings: ServeFindings): void {
  const source = parseYaml(file, findings);
  if (source === null || source.root === null) return;
  const collector = new OptionCollector();
  for (const pair of source.root.items) {
    if (!isScalar(pair.key)) continue;
    const written = String(pair.key.value);
    const [head = '', ...path] = canonicalOption(`--${written}`).split('.');
    const option = findOption(head);
    if (option === undefined) continue;
    const value = pair.value;
    const node: Node = isNode(value) ? value : pair.key;
    const range: SourceRange = file.range(...nodeSpan(node));
    const scalar = isScalar(value) ? value.value : undefined;
    if (scalar === false) continue; // vLLM drops `key: false` (or makes it --no-key, which turns a switch off).
    if (path.length > 0) {
      const name = [option.canonical, ...path].join('.');
      const setting = { name, value: dottedValue(pythonText(scalar)), form: 'dotted', range } as const;
      collector.addDotted(head, option.canonical, setting);
    } else if (option.kind === 'object' && isMap(value)) {
      const opened = option.canonical === 'attention_config';
      collector.addObject(
        option.canonical,
        opened
          ? mappingFields(file, value, option.canonical)
          : [{ name: option.canonical, value: value.toJSON() as unknown, form: 'yaml', range }],
      );
    } else if (option.kind === 'object') {
      const word = isScalar(value) ? scalarWord(file, value) : null;
      const place = (start: number, end: number): SourceRange => {
        const offsets = word?.offsets;
        const first = offsets?.[start];
        const last = offsets?.[end - 1];
        return first === undefined || last === undefined ? range : file.range(first, last + 1);
      };
      const fields = objectFields(pythonText(scalar), option.canonical, 'json', place, findings);
      if (fields !== null) collector.addObject(option.canonical, fields);
    } else if (option.kind === 'switch') {
      if (scalar === true) collector.addPlain({ name: option.canonical, value: true, form: 'yaml', range });
    } else {
      collector.addPlain({ name: option.canonical, value: pythonText(scalar), form: 'yaml', range });
    }
  }
  collector.finish(findings);
}

/** `$NAME`, `${NAME}` and `${NAME:-text}` as compose knows them; `$$` is a dollar sign. */
const INTERPOLATION = /\$(?:\$|([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)(?:(:?[-?+])([^}$]*))?\})/g;

/**
 * Compose replaces `${NAME}` from its own environment before the container sees it: only a default in the file tells a
 * value, and the environment can set another.
 */
function interpolate(word: Word): Word {
  if (!word.value.includes('$')) return word;
  let value = '';
  let dynamic = false;
  const offsets: number[] = [];
  const origins: VariableOrigin[] = [];
  const copy = (from: number, to: number): void => {
    value += word.value.slice(from, to);
    for (let k = from; k < to; k++) offsets.push(word.offsets?.[k] ?? -1);
  };
  let at = 0;
  for (const match of word.value.matchAll(INTERPOLATION)) {
    const [whole, bare, braced, operator, written = ''] = match;
    copy(at, match.index);
    at = match.index + whole.length;
    const name = bare ?? braced;
    if (name === undefined) copy(at - 1, at);
    else if (operator?.endsWith('-') === true) {
      const from = value.length;
      copy(at - 1 - written.length, at - 1);
      origins.push({ name, kind: 'default', from, to: value.length });
    } else dynamic = true;
  }
  copy(at, word.value.length);
  if (dynamic) return { ...word, dynamic };
  const placed = { ...word, value, offsets: offsets.includes(-1) ? null : offsets };
  return origins.length === 0 ? placed : { ...placed, resolved: { origins, start: word.start, end: word.end } };
}

/** Words of a list of scalars, each changed by `read`. */
export function listWords(file: SourceFile, node: unknown, read: (word: Word) => Word): readonly Word[] {
  return isSeq(node)
    ? node.items.filter((item): item is Scalar => isScalar(item)).map((item) => read(scalarWord(file, item)))
    : [];
}

/** A word split off a line, with the origins of the characters it got from the line. */
function withOrigins(word: Word, line: Word): Word {
  if (line.resolved === undefined || line.offsets === null || word.offsets === null) return word;
  const { offsets } = word;
  const origins = line.resolved.origins.flatMap((origin): readonly VariableOrigin[] => {
    const first = line.offsets?.[origin.from];
    const from = first === undefined || origin.to === origin.from ? -1 : offsets.indexOf(first);
    return from === -1 ? [] : [{ ...origin, from, to: from + origin.to - origin.from }];
  });
  return origins.length === 0 ? word : { ...word, resolved: { origins, start: word.start, end: word.end } };
}

function readComposeService(
  file: SourceFile,
  key: Scalar,
  service: YAMLMap<unknown, unknown>,
  findings: ServeFindings,
): void {
  const image = service.get('image', true);
  const words = ['entrypoint', 'command'].flatMap((key): readonly Word[] => {
    const node = service.get(key, true);
    if (!isScalar(node) || typeof node.value !== 'string') return listWords(file, node, interpolate);
    const line = interpolate(scalarWord(file, node));
    // A string is split into words as a shell would, but nothing in it is a shell's variable any more.
    return shellCommands(textOfWord(file, line), findings).flatMap(({ words: split }) =>
      split.map((word) => withOrigins(word, line)),
    );
  });
  const environment = service.get('environment');
  for (const word of listWords(file, environment, interpolate)) readAssignment(word, file, findings);
  for (const pair of isMap(environment) ? environment.items : []) {
    if (!isScalar(pair.key)) continue;
    const node = isNode(pair.value) ? pair.value : pair.key;
    const word = isScalar(pair.value) && pair.value.value !== null ? interpolate(scalarWord(file, pair.value)) : null;
    const name = String(pair.key.value);
    addEnv(name, word === null || word.dynamic ? null : word.value, file.range(...nodeSpan(node)), findings);
    if (word !== null && !word.dynamic && isVllmVariable(name)) noteOrigin(name, word, file, findings);
  }
  const entry = {
    words,
    image: isScalar(image) ? interpolate(scalarWord(file, image)) : null,
    hasProgram: service.has('entrypoint'),
    range: file.range(...nodeSpan(key)),
  };
  readEntry(entry, file, findings);
}

/** Reads the services of a docker-compose file: `image`, `entrypoint`, `command` and `environment`. */
export function readCompose(file: SourceFile, findings: ServeFindings): void {
  const source = parseYaml(file, findings);
  const services = source?.root?.get('services');
  if (!isMap(services)) return;
  for (const { key, value: service } of services.items) {
    if (!isScalar(key) || !isMap(service)) continue;
    readPart(findings, scalarText(key.value), (own) => {
      readComposeService(file, key, service, own);
    });
  }
}
