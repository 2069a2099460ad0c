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
  isSelectionOption,
  objectFields,
  readAssignment,
} from './serveConfigArgs';
import { readCommand, readShell } from './serveConfigShell';
import type { ServeProblemCode, SourceFile, Word } from './serveConfigSource';
import { isNestedTooDeeply, plainWord } from './serveConfigSource';
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

/**
 * Parses a YAML file as PyYAML would take it (YAML 1.1: `on` is true) and checks it. `null` after noting the problem when
 * it cannot be used.
 */
export function parseYaml(file: SourceFile, findings: ServeFindings): YamlSource | null {
  const fail = (code: ServeProblemCode, text: string, start: number, end: number): null => {
    findings.problems.push({ code, severity: 'error', text, range: file.range(start, end) });
    return null;
  };
  const tooDeep = (): null => fail('syntax', 'This YAML is nested too deeply to be read.', 0, file.text.length);
  if (isNestedTooDeeply(file.text)) return tooDeep();
  let documents: Document.Parsed[];
  try {
    const parsed = parseAllDocuments(file.text, { version: '1.1', prettyErrors: false });
    documents = Array.isArray(parsed) ? parsed : [];
  } catch {
    return tooDeep(); // Block nesting by indentation has no brackets to count; the parser runs out of stack.
  }
  const second = documents[1];
  if (second !== undefined) {
    const [start] = second.range;
    return fail(
      'severalDocuments',
      'The file holds several YAML documents; vLLM reads files with one.',
      start,
      start + 1,
    );
  }
  const document = documents[0];
  if (document === undefined) return null;
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
    return fail(code, text, start, Math.max(end, start + word));
  }
  let anchor: Node | null = null;
  visit(document, {
    Node: (_key, node) => {
      if (!isAlias(node) && (node as { anchor?: string }).anchor === undefined) return undefined;
      anchor = node;
      return visit.BREAK;
    },
  });
  if (anchor !== null) {
    const [start, end] = nodeSpan(anchor);
    return fail('anchors', 'Anchors and aliases are not followed here; write the value out.', start, end);
  }
  if (document.contents === null) return { document, root: null };
  if (!isMap(document.contents)) {
    const [start, end] = nodeSpan(document.contents);
    return fail('notAMapping', 'The file does not hold keys with values at its top.', start, end);
  }
  return { document, root: document.contents };
}

/** A scalar's text; YAML scalars are strings, numbers, booleans, null or (YAML 1.1) dates. */
function scalarText(value: unknown): string {
  if (value instanceof Date) return value.toISOString();
  if (typeof value === 'string') return value;
  return typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint' ? String(value) : '';
}

/** A scalar as a word; characters have a place when nothing in it is escaped or folded. */
function scalarWord(file: SourceFile, node: Scalar): Word {
  const [start, end] = nodeSpan(node);
  const value = scalarText(node.value);
  const source = file.text.slice(start, end);
  if (source === value) return plainWord(value, start);
  if (source.slice(1, -1) === value) return { ...plainWord(value, start + 1), start, end };
  return { value, start, end, offsets: null, dynamic: false };
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

/** A command of a container: a list of words, or one string in shell syntax. */
function commandWords(file: SourceFile, node: unknown): readonly Word[] | null {
  if (!isSeq(node)) return null;
  return node.items
    .filter((item): item is Scalar => isScalar(item))
    .map((item) => dynamicCompose(scalarWord(file, item)));
}

/** Compose replaces `${NAME}` before the container sees it. */
function dynamicCompose(word: Word): Word {
  return /(^|[^$])\$[A-Za-z_{]/.test(word.value) ? { ...word, dynamic: true } : word;
}

/** Reads the services of a docker-compose file: `entrypoint`, `command` and `environment`. */
export function readCompose(file: SourceFile, findings: ServeFindings): void {
  const source = parseYaml(file, findings);
  const services = source?.root?.get('services');
  if (!isMap(services)) return;
  for (const { value: service } of services.items) {
    if (!isMap(service)) continue;
    const words = ['entrypoint', 'command'].flatMap((key): readonly Word[] => {
      const node = service.get(key, true);
      if (isScalar(node) && typeof node.value === 'string') {
        readShell(file, ...nodeSpan(node), findings);
        return [];
      }
      return commandWords(file, node) ?? [];
    });
    if (words.some((word) => isSelectionOption(word.value))) readCommand(words, file, findings);
    const environment = service.get('environment');
    if (isSeq(environment)) {
      for (const item of environment.items) {
        if (isScalar(item)) readAssignment(dynamicCompose(scalarWord(file, item)), file, findings);
      }
    } else if (isMap(environment)) {
      for (const pair of environment.items) {
        if (!isScalar(pair.key)) continue;
        const node = isNode(pair.value) ? pair.value : pair.key;
        const word =
          isScalar(pair.value) && pair.value.value !== null ? dynamicCompose(scalarWord(file, pair.value)) : null;
        const value = word === null || word.dynamic ? null : word.value;
        addEnv(String(pair.key.value), value, file.range(...nodeSpan(node)), findings);
      }
    }
  }
}
