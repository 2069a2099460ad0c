/**
 * Kubernetes manifests: the containers of any kind of object, with `image`, `command`, `args` and `env`. Several documents in
 * one file are usual.
 */
import type { YAMLMap } from 'yaml';
import { isMap, isScalar, isSeq, visit } from 'yaml';
import type { ServeFindings } from './serveConfigArgs';
import { addEnv, readPart } from './serveConfigArgs';
import { readEntry } from './serveConfigShell';
import type { SourceFile, VariableOrigin, Word } from './serveConfigSource';
import { listWords, nodeSpan, parseYamlDocuments, scalarWord } from './serveConfigYaml';

type Container = YAMLMap<unknown, unknown>;

/** Variables a container's manifest gives a literal value; `null` = from a secret, a config map or a field. */
function variablesOf(file: SourceFile, container: Container): ReadonlyMap<string, Word | null> {
  const list = container.get('env');
  const variables = new Map<string, Word | null>();
  for (const item of isSeq(list) ? list.items : []) {
    if (!isMap(item)) continue;
    const name = item.get('name');
    const value = item.get('value', true);
    if (typeof name === 'string') variables.set(name, isScalar(value) ? scalarWord(file, value) : null);
  }
  return variables;
}

/** Kubernetes puts `$(NAME)` in from the container's own variables, and leaves the rest as it stands; `$$` is a dollar sign. */
function expand(word: Word, variables: ReadonlyMap<string, Word | null>): Word {
  if (!word.value.includes('$(')) return word;
  let value = '';
  const offsets: number[] = [];
  const origins: VariableOrigin[] = [];
  const add = (from: Word, start: number, end: number): void => {
    value += from.value.slice(start, end);
    for (let k = start; k < end; k++) offsets.push(from.offsets?.[k] ?? -1);
  };
  let at = 0;
  for (const match of word.value.matchAll(/\$\$|\$\(([A-Za-z_][\w.-]*)\)/g)) {
    add(word, at, match.index);
    at = match.index + match[0].length;
    const [, name] = match;
    const variable = name === undefined ? undefined : variables.get(name);
    if (variable === null) return { ...word, dynamic: true };
    if (name === undefined) add(word, at - 1, at);
    else if (variable === undefined) add(word, match.index, at);
    else {
      const from = value.length;
      add(variable, 0, variable.value.length);
      origins.push({ name, kind: 'assigned', from, to: value.length });
    }
  }
  add(word, at, word.value.length);
  const placed = { ...word, value, offsets: offsets.includes(-1) ? null : offsets };
  return origins.length === 0 ? placed : { ...placed, resolved: { origins, start: word.start, end: word.end } };
}

function readContainer(file: SourceFile, container: Container, findings: ServeFindings): void {
  const image = container.get('image', true);
  const variables = variablesOf(file, container);
  for (const [variable, word] of variables) {
    if (word !== null) addEnv(variable, word.value, file.range(word.start, word.end), findings);
  }
  const words = ['command', 'args'].flatMap((key) =>
    listWords(file, container.get(key), (word) => expand(word, variables)),
  );
  const [start] = nodeSpan(container);
  const entry = {
    words,
    image: isScalar(image) ? scalarWord(file, image) : null,
    hasProgram: isSeq(container.get('command')),
    range: file.range(start, start),
  };
  readEntry(entry, file, findings);
}

/** Reads every container of a manifest, wherever in the object it stands. */
export function readKubernetes(file: SourceFile, findings: ServeFindings): void {
  for (const document of parseYamlDocuments(file, findings) ?? []) {
    visit(document, {
      Map: (_key, map) => {
        if (isSeq(map.get('args')) || isSeq(map.get('command')) || (map.has('image') && map.has('name'))) {
          const name = map.get('name');
          readPart(findings, typeof name === 'string' ? name : null, (own) => {
            readContainer(file, map, own);
          });
        }
        return undefined;
      },
    });
  }
}
