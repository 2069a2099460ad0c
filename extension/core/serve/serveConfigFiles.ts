/**
 * Dockerfiles and VS Code's JSON files (launch.json, tasks.json): where they keep commands and variables.
 */
import type { Node } from 'jsonc-parser';
import { findNodeAtLocation, getNodeValue, parseTree } from 'jsonc-parser';
import type { ServeFindings } from './serveConfigArgs';
import { addEnv, addServer, readArguments, readAssignment, readPart } from './serveConfigArgs';
import { readImage } from './serveConfigImage';
import { readCommand, readEntry, shellCommands } from './serveConfigShell';
import type { PlacedText, SourceFile, Word } from './serveConfigSource';
import { isNestedTooDeeply, partOf, sliceWord, textOfWord } from './serveConfigSource';
import { ShellScope } from './serveConfigVariables';

/** Where each character of a JSON string stands, `offset` being that of the opening quote; `null` when it cannot be told. */
function jsonOffsets(source: string, value: string, offset: number): readonly number[] | null {
  const offsets: number[] = [];
  for (let i = 1; i < source.length - 1; i++) {
    offsets.push(offset + i);
    if (source[i] === '\\') i += source[i + 1] === 'u' ? 5 : 1;
  }
  return offsets.length === value.length ? offsets : null;
}

/** A JSON string as a word. `shift` moves into the whole file. */
function jsonWord(file: SourceFile, node: Node, shift = 0): Word {
  const value = String(getNodeValue(node));
  const start = node.offset + shift;
  const end = start + node.length;
  const dynamic = /\$\{/.test(value);
  return { value, start, end, offsets: jsonOffsets(file.text.slice(start, end), value, start), dynamic };
}

function stringItems(node: Node | undefined): Node[] {
  return (node?.children ?? []).filter((child) => child.type === 'string');
}

/** A string entry of an object, `null` without one. */
function stringAt(node: Node, key: string): string | null {
  const part = findNodeAtLocation(node, [key]);
  return part?.type === 'string' ? String(getNodeValue(part)) : null;
}

/** Words of a string that may be one shell line. */
function lineWords(file: SourceFile, node: Node | undefined, findings: ServeFindings): readonly Word[] {
  if (node?.type !== 'string') return [];
  const word = jsonWord(file, node);
  return /\s/.test(word.value)
    ? shellCommands(textOfWord(file, word), findings).flatMap((command) => command.words)
    : [word];
}

/** Reads one entry of launch.json (`program`/`module`, `args`, `env`) or tasks.json (`command`, `args`, `options.env`). */
function readJsonEntry(node: Node, file: SourceFile, findings: ServeFindings): void {
  const at = (...path: string[]): Node | undefined => findNodeAtLocation(node, path);
  for (const env of [at('env'), at('options', 'env')]) {
    for (const property of env?.type === 'object' ? (env.children ?? []) : []) {
      const [key, value] = property.children ?? [];
      if (key === undefined || value === undefined) continue;
      const word = value.type === 'string' ? jsonWord(file, value) : null;
      const known = word === null || word.dynamic ? null : word.value;
      addEnv(String(getNodeValue(key)), known, file.range(value.offset, value.offset + value.length), findings);
    }
  }
  const range = file.range(node.offset, node.offset + 1);
  const args = at('args');
  const argWords =
    args?.type === 'array' ? stringItems(args).map((item) => jsonWord(file, item)) : lineWords(file, args, findings);
  const command = at('command');
  if (command !== undefined && /\s/.test(stringAt(node, 'command') ?? '')) {
    // A task's command may be a line for a shell, with several commands in it; the arguments are added to its end.
    const commands = shellCommands(textOfWord(file, jsonWord(file, command)), findings);
    commands.forEach(({ words }, index) => {
      readCommand(index === commands.length - 1 ? [...words, ...argWords] : words, file, findings);
    });
    return;
  }
  if (/^vllm(\.|$)/.test(stringAt(node, 'module') ?? '')) {
    readArguments(argWords, file, addServer(findings, range, true));
    return;
  }
  const head = ['module', 'program', 'command'].flatMap((key) => {
    const part = at(key);
    return part?.type === 'string' ? [jsonWord(file, part)] : [];
  });
  readEntry({ words: [...head, ...argWords], image: null, hasProgram: head.length > 0, range }, file, findings);
}

/** Reads launch.json or tasks.json, comments and trailing commas allowed as VS Code does. */
export function readEditorJson(file: SourceFile, findings: ServeFindings): void {
  if (isNestedTooDeeply(file.text)) {
    const range = file.range(0, file.text.length);
    findings.problems.push({ code: 'syntax', severity: 'error', text: 'This JSON is nested too deeply.', range });
    return;
  }
  const errors: { offset: number; length: number; error: number }[] = [];
  const tree = parseTree(file.text, errors, { allowTrailingComma: true });
  const first = errors[0];
  if (tree === undefined || first !== undefined) {
    const start = first?.offset ?? 0;
    const range = file.range(start, start + (first?.length ?? 0));
    findings.problems.push({ code: 'syntax', severity: 'error', text: 'This is not valid JSON.', range });
    return;
  }
  for (const key of ['configurations', 'tasks']) {
    const list = findNodeAtLocation(tree, [key]);
    for (const entry of list?.type === 'array' ? (list.children ?? []) : []) {
      if (entry.type !== 'object') continue;
      readPart(findings, stringAt(entry, 'name') ?? stringAt(entry, 'label'), (own) => {
        readJsonEntry(entry, file, own);
      });
    }
  }
}

/**
 * Reads a Dockerfile: FROM, ARG, ENV, ENTRYPOINT and CMD (the last of each counts, the latter two are joined). RUN is left
 * out: its variables end with it, and what it starts serves nothing.
 */
export function readDockerfile(file: SourceFile, findings: ServeFindings): void {
  const { text } = file;
  const instruction = /^[ \t]*([A-Za-z]+)[ \t]+/gm;
  const last = new Map<string, readonly Word[]>();
  let scope = new ShellScope();
  for (let match = instruction.exec(text); match !== null; match = instruction.exec(text)) {
    const name = match[1]?.toUpperCase() ?? '';
    const start = instruction.lastIndex;
    const end = endOfInstruction(text, start);
    instruction.lastIndex = end;
    const part = partOf(file, start, end);
    if (name === 'ENV' || name === 'ARG') readDockerEnv(part, name, findings, scope);
    else if (name === 'CMD' || name === 'ENTRYPOINT') last.set(name, dockerWords(part, findings, scope));
    else if (name === 'FROM') {
      last.clear();
      for (const { words } of shellCommands(part, findings, scope)) {
        for (const word of words) readImage(word, file, findings);
      }
      scope = new ShellScope();
    }
  }
  const words = [...(last.get('ENTRYPOINT') ?? []), ...(last.get('CMD') ?? [])];
  const [first] = words;
  const range = file.range(first?.start ?? 0, first?.end ?? 0);
  readEntry({ words, image: null, hasProgram: last.has('ENTRYPOINT'), range }, file, findings, scope);
}

/** An instruction goes on over lines that end in a backslash; comment lines in between do not end it. */
function endOfInstruction(text: string, start: number): number {
  for (let at = start; at < text.length;) {
    const newline = text.indexOf('\n', at);
    if (newline === -1) return text.length;
    const line = text.slice(at, newline).trimEnd();
    if (!line.endsWith('\\') && !(at > start && /^\s*#/.test(line))) return newline;
    at = newline + 1;
  }
  return text.length;
}

/** `ENV A=1 B=2`, the old `ENV A value`, or `ARG A=1`, which a build can set otherwise. */
function readDockerEnv(part: PlacedText, name: string, findings: ServeFindings, scope: ShellScope): void {
  const { file } = part;
  const words = shellCommands(part, findings, scope)[0]?.words ?? [];
  const [first, second] = words;
  if (name === 'ARG') {
    for (const word of words) {
      const equals = word.value.indexOf('=');
      const known = equals === -1 || word.dynamic ? null : sliceWord(word, equals + 1);
      scope.set(
        equals === -1 ? word.value : word.value.slice(0, equals),
        known === null ? null : { ...known, kind: 'default' },
      );
    }
    return;
  }
  if (first !== undefined && !first.value.includes('=') && second !== undefined) {
    addEnv(first.value, second.dynamic ? null : second.value, file.range(first.start, second.end), findings);
    scope.set(first.value, second.dynamic ? null : { ...second, kind: 'assigned' });
    return;
  }
  for (const word of words) readAssignment(word, file, findings);
}

/** Words of the exec form (`["vllm", "serve"]`), which no shell expands, or of the shell form. */
function dockerWords(part: PlacedText, findings: ServeFindings, scope: ShellScope): readonly Word[] {
  const { text, file, start } = part;
  if (text.trimStart().startsWith('[') && !isNestedTooDeeply(text)) {
    const tree = parseTree(text, [], { allowTrailingComma: false });
    if (tree?.type === 'array') return stringItems(tree).map((item) => jsonWord(file, item, start));
  }
  return shellCommands(part, findings, scope).flatMap((command) => command.words);
}
