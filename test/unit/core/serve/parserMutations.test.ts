/**
 * Mutations of real files through every reader: no throw, every place inside the text. `ATTN_DIAG_MUTATIONS=20` asks twenty
 * times as many.
 */
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { readModelShape } from '../../../../extension/core/model/modelShape';
import { parseServeFile, serveFileKind, type ServeFileKind } from '../../../../extension/core/serve/serveConfig';

const TIMES = Math.max(1, Number.parseInt(process.env['ATTN_DIAG_MUTATIONS'] ?? '1', 10) || 1);

function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const SERVE = path.resolve('test/fixtures/serve');
const KUBERNETES =
  'apiVersion: v1\nkind: Pod\nspec:\n  containers:\n    - name: a\n      image: vllm/vllm-openai:v0.33.0\n      command: ["sh", "-c"]\n      args:\n        - |\n          TP=2\n          vllm serve m -tp $TP\n      env:\n        - name: VLLM_X\n          value: "1"\n';
const SCRIPT =
  'TP=${TP:-4}\nARGS=(-tp "$TP")\nif [ -n "$X" ]; then ARGS+=(--block-size 32); fi\nbash -c \'vllm serve m\' <<EOF\nvllm serve\nEOF\nvllm serve m "${ARGS[@]}" --kv-cache-dtype ${KV-fp8}\n';

function files(): readonly { readonly text: string; readonly kind: ServeFileKind }[] {
  const found = readdirSync(SERVE).flatMap((name) => {
    const text = readFileSync(path.join(SERVE, name), 'utf8');
    const kind = serveFileKind(name, text);
    return kind === null ? [] : [{ text, kind }];
  });
  return [...found, { text: KUBERNETES, kind: 'kubernetes' }, { text: SCRIPT, kind: 'shell' }];
}

const PIECES = [
  '"',
  "'",
  '\\',
  '\n',
  '$',
  '${',
  '}',
  '(',
  ')',
  '[',
  ']',
  '{',
  ':',
  '- ',
  '#',
  '|',
  '>',
  '\t',
  '$(',
  '`',
  '&',
  '=',
  '<<E',
  ' ',
  '0',
  'é',
  '-tp ',
  '$TP',
  ':-x}',
];

/** Cuts, doubles, moves and inserts pieces. */
function mutate(text: string, random: (below: number) => number): string {
  let result = text;
  for (let k = 1 + random(3); k > 0; k--) {
    const at = random(result.length + 1);
    const length = random(12);
    const part = result.slice(at, at + length);
    const without = result.slice(0, at) + result.slice(at + length);
    const to = random(without.length + 1);
    result =
      [
        () => without,
        () => result.slice(0, at) + part + result.slice(at),
        () => without.slice(0, to) + part + without.slice(to),
        () => result.slice(0, at) + (PIECES[random(PIECES.length)] ?? '') + result.slice(at),
        () => result.slice(0, at),
      ][random(24) === 0 ? 4 : random(4)]?.() ?? result;
  }
  return result;
}

test('mutated serve files', () => {
  const count = 3000 * TIMES;
  const random = generator(11);
  const sources = files();
  const kinds = new Set(sources.map((source) => source.kind));
  assert.equal(kinds.size, 7, 'every kind of file has a fixture');
  let settings = 0;
  for (let i = 0; i < count; i++) {
    const source = sources[i % sources.length];
    if (source === undefined) continue;
    const text = mutate(source.text, random);
    const parsed = parseServeFile('f', text, source.kind);
    const lines = text.split('\n');
    for (const { range } of [...parsed.located, ...parsed.env, ...parsed.problems, ...parsed.images]) {
      const inside =
        range.startLine <= range.endLine &&
        range.endLine < lines.length &&
        range.endColumn <= (lines[range.endLine]?.length ?? 0) &&
        (range.startLine < range.endLine || range.startColumn <= range.endColumn);
      if (!inside) assert.fail(`${JSON.stringify(range)} in ${JSON.stringify(text)}`);
    }
    settings += parsed.located.length;
  }
  // Mutations that always broke the file would explore nothing.
  assert.ok(settings > count, String(settings));
});

test('mutated model configs: a shape, or an error that names a field or the file', () => {
  const count = 8000 * TIMES;
  const random = generator(13);
  const folder = path.resolve('test/fixtures/models');
  const models = readdirSync(folder).map(
    (name) => JSON.parse(readFileSync(path.join(folder, name), 'utf8')) as Record<string, unknown>,
  );
  const values: readonly unknown[] = [
    null,
    0,
    -1,
    1.5,
    7,
    2 ** 40,
    '32',
    '',
    true,
    false,
    [],
    {},
    [1, 'x'],
    { a: 1 },
    NaN,
  ];
  let shapes = 0;
  for (let i = 0; i < count; i++) {
    const model = { ...models[i % models.length] };
    const nested = Object.keys(model).find((key) => /text_config|thinker_config|llm_config/.test(key));
    const inner = nested === undefined ? null : (model[nested] as Record<string, unknown> | null);
    const target = inner !== null && random(4) > 0 ? { ...inner } : model;
    if (nested !== undefined && target !== model) model[nested] = target;
    for (let k = 1 + random(3); k > 0; k--) {
      const keys = Object.keys(target);
      const key = keys[random(keys.length)] ?? 'head_dim';
      if (random(3) === 0) delete target[key];
      else target[key] = values[random(values.length)];
    }
    const result = readModelShape(model, {
      vllmVersion: i % 2 === 0 ? '0.33.0' : '0.19.1',
      tensorParallelSize: 1 + random(3),
      mlaDisabled: random(9) === 0,
    });
    if (result.ok) {
      shapes += 1;
      for (const group of result.model.layerGroups) {
        const counts = [group.headDim, group.qHeads ?? 1, group.kvHeads ?? 1];
        if (!counts.every((each) => Number.isInteger(each) && each > 0)) assert.fail(JSON.stringify(model));
      }
    } else assert.notEqual(result.error.problem, '');
  }
  assert.ok(shapes > count / 8 && shapes < count, String(shapes));
});
