/**
 * vLLM's command line: option words to located settings, with the meaning FlexibleArgumentParser gives them
 * (utils/argparse_utils.py): dashes and underscores alike, dotted options as JSON, the last occurrence wins.
 */
import type { Node, ParseError } from 'jsonc-parser';
import { getNodeValue, parseTree } from 'jsonc-parser';
import type { LocatedImage } from './serveConfigImage';
import type { ServeProblem, SourceFile, VariableOrigin, Word } from './serveConfigSource';
import { isNestedTooDeeply, sliceWord } from './serveConfigSource';
import type { SourceRange } from '../verdict';

/** How a setting was written; decides how its value is parsed and how it is edited. */
export type SettingForm = 'flag' | 'dotted' | 'json' | 'yaml';

/** A setting of vLLM's command line or config file, by its canonical name (`attention_config.backend`, `block_size`). */
export interface LocatedSetting {
  readonly name: string;
  /** As JSON would hold it; `true` for a switch. `undefined` when it is only known at run time. */
  readonly value: unknown;
  readonly form: SettingForm;
  /** Where the value stands, or the option when it has none. */
  readonly range: SourceRange;
}

/** An environment variable given to vLLM. */
export interface LocatedEnv {
  readonly name: string;
  /** `null` when only known at run time or passed through from outside. */
  readonly value: string | null;
  readonly range: SourceRange;
}

/** What was found about one server, or in a file that is about one. */
export interface Found {
  readonly settings: LocatedSetting[];
  readonly env: LocatedEnv[];
  readonly problems: ServeProblem[];
  readonly images: LocatedImage[];
}

/** A server that a file starts. Settings of two servers are never put together. */
export interface FoundServer extends Found {
  /** Name of its service, container or configuration; `null` for a command of a script. */
  readonly name: string | null;
  /** Where it is started. */
  readonly range: SourceRange;
  /** vLLM for sure; otherwise a command that is given variables of vLLM. */
  readonly recognized: boolean;
}

/** Collects what one reader finds in one file. What is found outside of servers holds for those that follow. */
export interface ServeFindings extends Found {
  readonly servers: FoundServer[];
  /** The service, container or configuration that is being read. */
  readonly owner: string | null;
}

/** What a reader starts with. */
export function noFindings(): ServeFindings {
  return { settings: [], env: [], problems: [], images: [], servers: [], owner: null };
}

/**
 * Reads a part of a file that has variables of its own (a container, a command, an inner shell). It sees what was found so
 * far; what is found in it is not seen outside, and its problems are those of the servers it starts.
 */
export function readPart(outside: ServeFindings, owner: string | null, read: (own: ServeFindings) => void): void {
  const { env, images } = outside;
  const own = { ...noFindings(), env: [...env], images: [...images], owner };
  read(own);
  for (const server of own.servers) server.problems.push(...own.problems);
  if (own.servers.length === 0) outside.problems.push(...own.problems);
  outside.servers.push(...own.servers);
}

/** Notes a server that is started at `range`, with what holds for it from outside. */
export function addServer(findings: ServeFindings, range: SourceRange, recognized: boolean): FoundServer {
  const { env, images, owner } = findings;
  const server = { settings: [], env: [...env], problems: [], images: [...images], name: owner, range, recognized };
  findings.servers.push(server);
  return server;
}

/** Says which variables of the file a value was taken from, at the place where they are used. */
export function noteOrigin(subject: string, word: Word, file: SourceFile, findings: Found): void {
  const { resolved } = word;
  if (resolved === undefined || resolved.origins.length === 0) return;
  const names = (kind: VariableOrigin['kind']): string =>
    [...new Set(resolved.origins.filter((origin) => origin.kind === kind).map((origin) => origin.name))].join(', ');
  const assigned = names('assigned');
  const defaulted = names('default');
  findings.problems.push({
    code: 'variable',
    severity: 'info',
    text: [
      `The value of ${subject} is read from a variable: ${word.value}.`,
      ...(assigned === '' ? [] : [`${assigned} is assigned in this file.`]),
      ...(defaulted === ''
        ? []
        : [`Of ${defaulted}, the default in this file is taken; the environment can set another.`]),
    ].join(' '),
    range: file.range(resolved.start, resolved.end),
  });
}

/** `object` options take JSON, `switch` ones no value. */
export type OptionKind = 'value' | 'object' | 'switch';

/** Options that take part in backend selection, by canonical name. */
const OPTIONS: Readonly<Record<string, { readonly names: readonly string[]; readonly kind: OptionKind }>> = {
  attention_backend: { names: ['--attention-backend'], kind: 'value' },
  attention_config: { names: ['--attention-config', '-ac'], kind: 'object' },
  kv_cache_dtype: { names: ['--kv-cache-dtype'], kind: 'value' },
  block_size: { names: ['--block-size'], kind: 'value' },
  dtype: { names: ['--dtype'], kind: 'value' },
  tensor_parallel_size: { names: ['--tensor-parallel-size', '-tp'], kind: 'value' },
  decode_context_parallel_size: { names: ['--decode-context-parallel-size', '-dcp'], kind: 'value' },
  prefill_context_parallel_size: { names: ['--prefill-context-parallel-size', '-pcp'], kind: 'value' },
  kv_transfer_config: { names: ['--kv-transfer-config'], kind: 'object' },
  speculative_config: { names: ['--speculative-config', '-sc'], kind: 'object' },
  limit_mm_per_prompt: { names: ['--limit-mm-per-prompt'], kind: 'object' },
  disable_sliding_window: { names: ['--disable-sliding-window'], kind: 'switch' },
  language_model_only: { names: ['--language-model-only'], kind: 'switch' },
  fail_on_environ_validation: { names: ['--fail-on-environ-validation'], kind: 'switch' },
  model: { names: ['--model'], kind: 'value' },
};

const BY_NAME = new Map(
  Object.entries(OPTIONS).flatMap(([canonical, option]) =>
    option.names.map((name) => [name, { canonical, ...option }]),
  ),
);

/** Objects below `attention_config` whose entries are settings of their own. */
const OPENED = new Set(['attention_config', 'attention_config.backend_per_kind']);

/** An option of vLLM by its spelling before the first dot, `undefined` when it does not concern backend selection. */
export function findOption(head: string): { readonly canonical: string; readonly kind: OptionKind } | undefined {
  return BY_NAME.get(head);
}

/** `--attention_config` and `--attention-config` are one option; field names behind the first dot keep underscores. */
export function canonicalOption(option: string): string {
  const dot = option.indexOf('.');
  const head = dot === -1 ? option : option.slice(0, dot);
  return head.replaceAll('_', '-') + (dot === -1 ? '' : option.slice(dot));
}

/** True when a word is an option of vLLM that takes part in selection; tells vLLM's arguments from others'. */
export function isSelectionOption(word: string): boolean {
  const name = canonicalOption(word.split('=', 1)[0] ?? '').split('.', 1)[0] ?? '';
  return name !== '--model' && name !== '--dtype' && BY_NAME.has(name);
}

const SCALE: Readonly<Record<string, number>> = {
  k: 1e3,
  m: 1e6,
  g: 1e9,
  t: 1e12,
  K: 2 ** 10,
  M: 2 ** 20,
  G: 2 ** 30,
  T: 2 ** 40,
};

/** Whole numbers with the suffixes vLLM takes (`1k` = 1000, `1K` = 1024); `undefined` for other text. */
export function humanReadableInt(text: string): number | undefined {
  const match = /^\s*(\d+(?:\.\d+)?)([kKmMgGtT])?\s*$/.exec(text);
  if (match === null) return undefined;
  const [, digits = '', suffix] = match;
  if (digits.includes('.') && (suffix === undefined || suffix === suffix.toUpperCase())) return undefined;
  return Math.trunc(Number(digits) * (suffix === undefined ? 1 : (SCALE[suffix] ?? 1)));
}

/** A dotted option's value: JSON, else a whole number with suffix, else the text itself. */
export function dottedValue(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return humanReadableInt(text) ?? text;
  }
}

/** Emits one setting per entry of an object value, so that each field has a place of its own. */
function emitObject(
  node: Node,
  name: string,
  form: SettingForm,
  place: (start: number, end: number) => SourceRange,
  settings: LocatedSetting[],
): void {
  if (node.type !== 'object' || !OPENED.has(name)) {
    settings.push({ name, value: getNodeValue(node), form, range: place(node.offset, node.offset + node.length) });
    return;
  }
  for (const property of node.children ?? []) {
    const [key, value] = property.children ?? [];
    if (key === undefined || value === undefined) continue;
    emitObject(value, `${name}.${String(getNodeValue(key))}`, form, place, settings);
  }
}

/** Place of a part of a word; the whole word when escapes hide where its characters stand. */
function placeIn(file: SourceFile, word: Word): (start: number, end: number) => SourceRange {
  return (start, end) => {
    const part = sliceWord(word, start, end);
    return file.range(part.start, part.end);
  };
}

/**
 * Collects the settings of one command line and settles which of several forms of one object counts: vLLM appends each
 * group of dotted options (`-ac.x`, `--attention-config.x`) as one JSON argument behind all others, so the last group wins
 * as a whole and the rest is lost.
 */
export class OptionCollector {
  private readonly plain: LocatedSetting[] = [];
  private readonly objects = new Map<string, LocatedSetting[]>();
  private readonly dotted = new Map<string, { readonly canonical: string; readonly settings: LocatedSetting[] }>();

  /** An option with a single value or none. */
  addPlain(setting: LocatedSetting): void {
    this.plain.push(setting);
  }

  /** An object option written as one value: its fields. A later one replaces an earlier one. */
  addObject(canonical: string, fields: LocatedSetting[]): void {
    this.objects.set(canonical, fields);
  }

  /** One dotted option; `head` is its spelling before the first dot. */
  addDotted(head: string, canonical: string, setting: LocatedSetting): void {
    const group = this.dotted.get(head) ?? { canonical, settings: [] };
    this.dotted.set(head, group);
    group.settings.push(setting);
  }

  /** Hands everything over; call once. */
  finish(findings: Found): void {
    findings.settings.push(...this.plain);
    const groups = [...this.dotted.values()];
    for (const canonical of new Set([...this.objects.keys(), ...groups.map((group) => group.canonical)])) {
      const forms = [
        this.objects.get(canonical) ?? [],
        ...groups.filter((group) => group.canonical === canonical).map((group) => group.settings),
      ].filter((settings) => settings.length > 0);
      findings.settings.push(...(forms.at(-1) ?? []));
      for (const lost of forms.slice(0, -1).flat()) {
        findings.problems.push({
          code: 'overridden',
          severity: 'warning',
          text: `${lost.name} is lost: a later form of the same option replaces the whole object.`,
          range: lost.range,
        });
      }
    }
  }
}

/** The fields of a JSON object written as text; `null`, with a problem noted, when it is none. */
export function objectFields(
  text: string,
  canonical: string,
  form: SettingForm,
  place: (start: number, end: number) => SourceRange,
  findings: Found,
): LocatedSetting[] | null {
  const errors: ParseError[] = [];
  const tree = isNestedTooDeeply(text) ? undefined : parseTree(text, errors, { disallowComments: true });
  if (tree === undefined || tree.type !== 'object' || errors.length > 0) {
    findings.problems.push({
      code: 'invalidValue',
      severity: 'warning',
      text: `The value of ${canonical} is not a JSON object.`,
      range: place(0, text.length),
    });
    return null;
  }
  const fields: LocatedSetting[] = [];
  emitObject(tree, canonical, form, place, fields);
  return fields;
}

/**
 * Reads the words behind `vllm serve`. Options that do not concern selection are skipped with their values.
 * Problems carry their place; nothing throws.
 */
export function readArguments(words: readonly Word[], file: SourceFile, findings: Found): void {
  const collector = new OptionCollector();
  const rangeOf = (word: Word): SourceRange => {
    // What a variable gave is changed where it is assigned.
    const { start, end } = word.resolved === undefined ? word : sliceWord(word, 0);
    return file.range(start, end);
  };

  for (let i = 0; i < words.length; i++) {
    const word = words[i];
    if (word === undefined || !word.value.startsWith('-')) continue;
    const equals = word.value.indexOf('=');
    const written = equals === -1 ? word.value : word.value.slice(0, equals);
    const name = written.startsWith('--') ? canonicalOption(written) : written;
    const [head = '', ...path] = name.split('.');
    const option = findOption(head);
    if (option === undefined) continue;

    let value: Word | null = equals === -1 ? null : sliceWord(word, equals + 1);
    if (value === null && option.kind !== 'switch') {
      const next = words[i + 1];
      if (next !== undefined && !/^-[^\d]/.test(next.value)) {
        value = next;
        i += 1;
      }
    }
    if (option.kind === 'switch') {
      collector.addPlain({ name: option.canonical, value: true, form: 'flag', range: rangeOf(word) });
      continue;
    }
    if (value === null) {
      findings.problems.push({
        code: 'invalidValue',
        severity: 'warning',
        text: `${written} has no value.`,
        range: rangeOf(word),
      });
      continue;
    }
    if (value.dynamic) {
      findings.problems.push({
        code: 'dynamicValue',
        severity: 'warning',
        text: `The value of ${written} is only known when the command runs; it is not taken into account.`,
        range: rangeOf(value),
      });
      continue;
    }
    noteOrigin(written, value, file, findings);
    if (path.length > 0) {
      const field = [option.canonical, ...path].join('.').replace(/\+$/, '');
      const setting = { name: field, value: dottedValue(value.value), form: 'dotted', range: rangeOf(value) } as const;
      collector.addDotted(head, option.canonical, setting);
    } else if (option.kind === 'object') {
      const fields = objectFields(value.value, option.canonical, 'json', placeIn(file, value), findings);
      if (fields !== null) collector.addObject(option.canonical, fields);
    } else {
      collector.addPlain({ name: option.canonical, value: value.value, form: 'flag', range: rangeOf(value) });
    }
  }
  collector.finish(findings);
}

/** Variables that take part in attention selection or in compiling attention kernels. */
const ENV_NAME = /^(VLLM_[A-Z0-9_]+|FLASH_ATTENTION_[A-Z0-9_]+|CUTE_DSL_[A-Z0-9_]+)$/;

/** Whether a variable concerns vLLM or its kernel compilers. */
export function isVllmVariable(name: string): boolean {
  return ENV_NAME.test(name);
}

/** Notes `NAME=value` when the name concerns vLLM; returns whether the word was an assignment at all. */
export function readAssignment(word: Word, file: SourceFile, findings: Found): boolean {
  const match = /^([A-Za-z_][A-Za-z0-9_]*)=/.exec(word.value);
  const name = match?.[1];
  if (match === null || name === undefined) return false;
  const value = sliceWord(word, match[0].length);
  const own = word.resolved ?? word;
  addEnv(name, value.dynamic ? null : value.value, file.range(own.start, own.end), findings);
  if (ENV_NAME.test(name)) noteOrigin(name, value, file, findings);
  return true;
}

/** Notes a variable when its name concerns vLLM. */
export function addEnv(name: string, value: string | null, range: SourceRange, findings: Found): void {
  if (ENV_NAME.test(name)) findings.env.push({ name, value, range });
}
