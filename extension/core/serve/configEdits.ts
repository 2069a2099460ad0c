/**
 * Smallest possible edits of a vLLM YAML file: one field of `attention-config` set or removed; comments, order, quoting and
 * every other byte stay. Pure: text in, text edits out. Every edit is checked by reading the edited text again.
 */
import type { Edit, ParseError } from 'jsonc-parser';
import { applyEdits as applyJsonEdits, findNodeAtLocation, modify, parseTree } from 'jsonc-parser';
import type { Scalar, YAMLMap } from 'yaml';
import { isMap, isNode, isScalar } from 'yaml';
import type { EnvironmentFacts } from '../environment';
import { declaresAttentionField } from '../environment';
import { isAtLeast } from '../model/modelShapeReleases';
import { keyNode, keyOf, pairEnd, removeChain, startOfLine, type Entry, type YamlPair } from './configEditsYaml';
import { parseServeFile } from './serveConfig';
import type { LocatedSetting } from './serveConfigArgs';
import { canonicalOption, noFindings } from './serveConfigArgs';
import { SourceFile } from './serveConfigSource';
import { nodeSpan, parseYaml } from './serveConfigYaml';

/** Replaces `length` UTF-16 units from `offset`. Edits of one list refer to the same text and do not overlap. */
export interface ConfigTextEdit {
  readonly offset: number;
  readonly length: number;
  readonly newText: string;
}

/** A field of AttentionConfig and what it should be; `null` removes it. */
export interface AttentionFieldChange {
  readonly field: string;
  readonly value: string | number | boolean | null;
}

/** Why nothing is edited. */
export type ConfigEditRefusalCode =
  /** The file has errors (tabs, duplicate keys …); they have to be solved first. */
  | 'documentErrors'
  /** The field is written in a form that cannot be edited without rewriting more than it. */
  | 'unsupportedForm'
  /** The edit would not read back as intended. */
  | 'notVerified'
  /** No vLLM is known, or it could not be read. */
  | 'notEstablished'
  /** The installed vLLM would stop at start-up. */
  | 'wouldAbort'
  /** The installed vLLM would drop the field without a word. */
  | 'wouldBeIgnored';

/** A refusal with a full sentence. */
export interface ConfigEditRefusal {
  readonly code: ConfigEditRefusalCode;
  readonly problem: string;
}

/** The edits (none when the file already says so), or the refusal. */
export type ConfigEditResult =
  | { readonly ok: true; readonly edits: readonly ConfigTextEdit[] }
  | { readonly ok: false; readonly refusal: ConfigEditRefusal };

/** Applies edits to the text they were made for. */
export function applyTextEdits(text: string, edits: readonly ConfigTextEdit[]): string {
  return [...edits]
    .sort((a, b) => b.offset - a.offset)
    .reduce(
      (result, edit) => result.slice(0, edit.offset) + edit.newText + result.slice(edit.offset + edit.length),
      text,
    );
}

/**
 * May the field be written for the installed vLLM? Only when its AttentionConfig declares it; otherwise start-up stops or
 * the field is dropped, by release.
 */
export function refusalToWriteField(facts: EnvironmentFacts | null, field: string): ConfigEditRefusal | null {
  const declared = facts === null ? null : declaresAttentionField(facts, field);
  if (declared === true) return null;
  const version = facts?.vllm?.version ?? null;
  const named = version === null ? 'the installed vLLM' : `vLLM ${version}`;
  if (facts === null || facts.vllm === null || declared === null) {
    const problem = `Whether the installed vLLM has the field ${field} could not be established, so it is not written.`;
    return { code: 'notEstablished', problem };
  }
  const forbids =
    facts.vllm.attentionConfig?.forbidsUnknown ?? (version === null ? null : isAtLeast(version, '0.16.0'));
  const hasClass = facts.vllm.attentionConfig !== null;
  if (!hasClass || forbids === true) {
    const why = hasClass ? `has no field ${field}` : 'has no attention config';
    return { code: 'wouldAbort', problem: `${named} ${why}; it would stop at start-up with this setting.` };
  }
  return {
    code: 'wouldBeIgnored',
    problem: `${named} has no field ${field}; it would drop the setting without a word.`,
  };
}

/** Words YAML 1.1 takes for booleans or null. */
const YAML_WORDS = /^(y|n|yes|no|on|off|true|false|null|none|~)$/i;

function yamlScalar(value: string | number | boolean): string {
  if (typeof value !== 'string') return String(value);
  return /^[A-Za-z_][\w.-]*$/.test(value) && !YAML_WORDS.test(value) ? value : JSON.stringify(value);
}

/** Offset behind the last character of the line that holds `offset`, before its line end. */
function endOfLine(text: string, offset: number): number {
  const newline = text.indexOf('\n', offset);
  const end = newline === -1 ? text.length : newline;
  return end > 0 && text[end - 1] === '\r' && end > offset ? end - 1 : end;
}

/** Where in the file the field is, or where it belongs. */
interface Places {
  readonly text: string;
  readonly eol: string;
  readonly root: YAMLMap<unknown, unknown> | null;
  /** `attention-config:` as one key. */
  readonly whole: YamlPair | undefined;
  /** `attention-config.FIELD:` keys. */
  readonly dotted: readonly YamlPair[];
  /** `attention-backend:`, which is the same as the field `backend`. */
  readonly backend: YamlPair | undefined;
}

function findPlaces(text: string, root: YAMLMap<unknown, unknown> | null): Places {
  const items = root?.items ?? [];
  const named = (pair: YamlPair): string => canonicalOption(`--${keyOf(pair)}`);
  return {
    text,
    eol: text.includes('\r\n') ? '\r\n' : '\n',
    root,
    whole: items.find((pair) => named(pair) === '--attention-config'),
    dotted: items.filter((pair) => named(pair).startsWith('--attention-config.')),
    backend: items.find((pair) => named(pair) === '--attention-backend'),
  };
}

const refused = (code: ConfigEditRefusalCode, problem: string): ConfigEditRefusal => ({ code, problem });

/** Gives a pair another scalar value; the comment behind it stays. */
function replaceValue(text: string, pair: YamlPair, value: string): ConfigTextEdit | ConfigEditRefusal {
  const node = pair.value;
  if (isNode(node) && !isScalar(node)) {
    return refused('unsupportedForm', `${keyOf(pair)} holds a list or a mapping, not a value; change it by hand.`);
  }
  const [start, end] = isNode(node) ? nodeSpan(node) : [0, 0];
  if (end > start) return { offset: start, length: end - start, newText: value };
  // An empty value: write behind the colon.
  const colon = text.indexOf(':', nodeSpan(keyNode(pair))[1]);
  return { offset: colon + 1, length: 0, newText: ` ${value}` };
}

/** A new line behind a block pair, indented like it. */
function insertAfter(places: Places, pair: YamlPair, line: string): ConfigTextEdit {
  const [keyStart] = nodeSpan(keyNode(pair));
  const indent = places.text.slice(startOfLine(places.text, keyStart), keyStart);
  let end = pairEnd(pair);
  while (end > keyStart && /\s/.test(places.text[end - 1] ?? '')) end -= 1;
  const at = endOfLine(places.text, end);
  return { offset: at, length: 0, newText: `${places.eol}${indent}${line}` };
}

/** New lines at the end of the file. */
function append(places: Places, lines: readonly string[]): ConfigTextEdit {
  const { text, eol } = places;
  const before = text === '' || text.endsWith('\n') ? '' : eol;
  return { offset: text.length, length: 0, newText: before + lines.join(eol) + eol };
}

/** Sets or removes what stands at a path inside `attention-config: '{"json": …}'`, keeping the quotes around it. */
function editJsonString(
  text: string,
  scalar: Scalar,
  path: readonly string[],
  value: AttentionFieldChange['value'],
): ConfigTextEdit | ConfigEditRefusal {
  const [start, end] = nodeSpan(scalar);
  const json = typeof scalar.value === 'string' ? scalar.value : '';
  const inner = text.slice(start + 1, end - 1);
  const shift = text.slice(start, end) === json ? 0 : inner === json ? 1 : null;
  if (shift === null) return refused('unsupportedForm', 'attention-config is an escaped string; change it by hand.');
  const edits: Edit[] = modify(json, [...path], value ?? undefined, {});
  const changed = applyJsonEdits(json, edits);
  if (shift === 1 && text[start] === "'" && changed.includes("'")) {
    return refused(
      'unsupportedForm',
      'The value does not fit between the quotes of attention-config; change it by hand.',
    );
  }
  if (shift === 1 && text[start] === '"') {
    return refused('unsupportedForm', 'attention-config is an escaped string; change it by hand.');
  }
  const quoted = shift === 1 ? `'${changed}'` : changed;
  return { offset: start, length: end - start, newText: quoted };
}

/** The chain of entries to a canonical setting (`attention_config.backend_per_kind.mamba`, `block_size`), `null` without. */
function findChain(places: Places, name: string): readonly Entry[] | null {
  const { root } = places;
  if (root === null) return null;
  const [option = '', ...fields] = name.split('.');
  const dotted = `--${option.replaceAll('_', '-')}${fields.map((field) => `.${field}`).join('')}`;
  const direct = root.items.find((pair) => canonicalOption(`--${keyOf(pair)}`) === dotted);
  if (direct !== undefined) return [{ holder: root, item: direct }];
  const chain: Entry[] = [];
  let map: YAMLMap<unknown, unknown> = root;
  for (const [depth, part] of [option, ...fields].entries()) {
    const wanted = depth === 0 ? `--${part.replaceAll('_', '-')}` : part;
    const pair = map.items.find((item) => (depth === 0 ? canonicalOption(`--${keyOf(item)}`) : keyOf(item)) === wanted);
    if (pair === undefined) return null;
    chain.push({ holder: map, item: pair });
    if (depth === fields.length) return chain;
    if (!isMap(pair.value)) return null;
    map = pair.value;
  }
  return null;
}

/** The edits that remove a setting by its canonical name, `null` when it is not there. */
function removeNamed(places: Places, name: string): readonly ConfigTextEdit[] | ConfigEditRefusal | null {
  const { text, whole } = places;
  const chain = findChain(places, name);
  if (chain !== null) {
    return (
      removeChain(text, chain) ??
      refused('unsupportedForm', `${name} shares its line with something else; change it by hand.`)
    );
  }
  const [option, ...path] = name.split('.');
  if (option !== 'attention_config' || !isScalar(whole?.value) || typeof whole.value.value !== 'string') return null;
  const errors: ParseError[] = [];
  const tree = parseTree(whole.value.value, errors);
  if (tree === undefined || errors.length > 0 || findNodeAtLocation(tree, path) === undefined) return null;
  const edit = editJsonString(text, whole.value, path, null);
  return 'code' in edit ? edit : [edit];
}

function setField(
  places: Places,
  field: string,
  value: string | number | boolean,
  nested: boolean,
): ConfigTextEdit | ConfigEditRefusal {
  const { text, whole, dotted, backend, root } = places;
  const scalar = yamlScalar(value);
  if (field === 'backend' && backend !== undefined) return replaceValue(text, backend, scalar);
  const own = dotted.find((pair) => keyOf(pair).endsWith(`.${field}`));
  if (own !== undefined) return replaceValue(text, own, scalar);
  const lastDotted = dotted.at(-1);
  if (lastDotted !== undefined && root?.flow !== true) {
    // Behind a dotted key, a nested one would be lost as a whole, so the new field takes the same form.
    const head = keyOf(lastDotted).split('.', 1)[0] ?? 'attention-config';
    return insertAfter(places, lastDotted, `${head}.${field}: ${scalar}`);
  }
  if (root?.flow === true) return refused('unsupportedForm', 'The file is one mapping in braces; change it by hand.');
  if (whole === undefined) {
    return append(
      places,
      nested ? ['attention-config:', `  ${field}: ${scalar}`] : [`attention-config.${field}: ${scalar}`],
    );
  }
  const node = whole.value;
  if (isScalar(node) && typeof node.value === 'string') return editJsonString(text, node, [field], value);
  if (!isMap(node)) {
    if (isNode(node) && nodeSpan(node)[1] > nodeSpan(node)[0]) {
      return refused('unsupportedForm', 'attention-config holds something other than fields; change it by hand.');
    }
    return insertBelow(places, whole, `${field}: ${scalar}`);
  }
  const existing = node.items.find((item) => keyOf(item) === field);
  if (existing !== undefined) return replaceValue(text, existing, scalar);
  const last = node.items.at(-1);
  if (node.flow === true) {
    const [start] = nodeSpan(node);
    return last === undefined
      ? { offset: start + 1, length: 0, newText: `${field}: ${scalar}` }
      : { offset: pairEnd(last), length: 0, newText: `, ${field}: ${scalar}` };
  }
  return last === undefined
    ? insertBelow(places, whole, `${field}: ${scalar}`)
    : insertAfter(places, last, `${field}: ${scalar}`);
}

/** The first line of a mapping whose key is there but empty. */
function insertBelow(places: Places, pair: YamlPair, line: string): ConfigTextEdit {
  const at = endOfLine(places.text, nodeSpan(keyNode(pair))[1]);
  return { offset: at, length: 0, newText: `${places.eol}  ${line}` };
}

/** Everything the file says, as comparable text, without the field that changes. */
function otherSettings(located: readonly LocatedSetting[], names: ReadonlySet<string>): string {
  return JSON.stringify(
    located.filter((setting) => !names.has(setting.name)).map((setting) => [setting.name, setting.value, setting.form]),
  );
}

/**
 * The edits that give `change.field` of `attention-config` its value in a vLLM YAML file. `vllmVersion` decides the form of
 * a new key: nested mappings are understood from 0.16.0 on, dotted keys always. Whether the installed release knows the
 * field is asked separately (`refusalToWriteField`).
 */
export function editAttentionField(text: string, change: AttentionFieldChange, vllmVersion: string): ConfigEditResult {
  const fail = (refusal: ConfigEditRefusal): ConfigEditResult => ({ ok: false, refusal });
  const file = new SourceFile('', text);
  const findings = noFindings();
  const source = parseYaml(file, findings);
  const problem = findings.problems[0];
  if (problem !== undefined) {
    return fail(refused('documentErrors', `Line ${problem.range.startLine + 1}: ${problem.text}`));
  }
  const places = findPlaces(text, source?.root ?? null);
  const edit =
    change.value === null
      ? removeNamed(
          places,
          change.field === 'backend' && places.backend !== undefined
            ? 'attention_backend'
            : `attention_config.${change.field}`,
        )
      : setField(places, change.field, change.value, isAtLeast(vllmVersion, '0.16.0'));
  if (edit === null) return { ok: true, edits: [] };
  if ('code' in edit) return fail(edit);
  const edits = 'offset' in edit ? [edit] : edit;
  if (applyTextEdits(text, edits) === text) return { ok: true, edits: [] };

  const names = new Set([`attention_config.${change.field}`]);
  if (change.field === 'backend') names.add('attention_backend');
  const before = parseServeFile('', text, 'vllmYaml');
  const after = parseServeFile('', applyTextEdits(text, edits), 'vllmYaml');
  const values = after.located.filter((setting) => names.has(setting.name)).map((setting) => setting.value);
  const asIntended = change.value === null ? values.length === 0 : values.length === 1 && values[0] === change.value;
  const othersKept = otherSettings(before.located, names) === otherSettings(after.located, names);
  const errors = after.problems.some((entry) => entry.severity === 'error');
  if (!asIntended || !othersKept || errors) {
    return fail(
      refused('notVerified', `${change.field} cannot be changed here without touching more; change it by hand.`),
    );
  }
  return { ok: true, edits };
}

/**
 * The edits that remove one setting of a vLLM YAML file by its canonical name (`block_size`,
 * `attention_config.backend_per_kind.mamba`); none when it is not there.
 */
export function removeSetting(text: string, name: string): ConfigEditResult {
  const fail = (refusal: ConfigEditRefusal): ConfigEditResult => ({ ok: false, refusal });
  const findings = noFindings();
  const source = parseYaml(new SourceFile('', text), findings);
  const problem = findings.problems[0];
  if (problem !== undefined) {
    return fail(refused('documentErrors', `Line ${problem.range.startLine + 1}: ${problem.text}`));
  }
  const edits = removeNamed(findPlaces(text, source?.root ?? null), name);
  if (edits === null) return { ok: true, edits: [] };
  if ('code' in edits) return fail(edits);
  const names = new Set([name]);
  const before = parseServeFile('', text, 'vllmYaml');
  const after = parseServeFile('', applyTextEdits(text, edits), 'vllmYaml');
  const othersKept = otherSettings(before.located, names) === otherSettings(after.located, names);
  if (!othersKept || after.located.some((setting) => setting.name === name)) {
    return fail(refused('notVerified', `${name} cannot be removed here without touching more; change it by hand.`));
  }
  return { ok: true, edits };
}
