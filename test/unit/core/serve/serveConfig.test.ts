import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import type { ParsedServe, ServeFileKind } from '../../../../extension/core/serve/serveConfig';
import { parseServeFile, serveFileKind } from '../../../../extension/core/serve/serveConfig';
import type { ServeProblemCode } from '../../../../extension/core/serve/serveConfigSource';
import type { SourceRange } from '../../../../extension/core/verdict';

function textAt(text: string, range: SourceRange): string {
  const lines = text.split('\n');
  const from = lines[range.startLine] ?? '';
  if (range.startLine === range.endLine) return from.slice(range.startColumn, range.endColumn);
  const between = lines.slice(range.startLine + 1, range.endLine);
  return [from.slice(range.startColumn), ...between, (lines[range.endLine] ?? '').slice(0, range.endColumn)].join('\n');
}

function fixture(name: string): { text: string; parsed: ParsedServe } {
  const file = path.resolve('test/fixtures/serve', name);
  const text = readFileSync(file, 'utf8');
  const kind = serveFileKind(file, text);
  assert.ok(kind !== null, `${name} has a kind`);
  return { text, parsed: parseServeFile(file, text, kind) };
}

/** `name = value @ text at its range`, one per located setting and variable. */
function places(text: string, parsed: ParsedServe): string[] {
  return [
    ...parsed.located.map((s) => `${s.name} = ${JSON.stringify(s.value)} @ ${textAt(text, s.range)}`),
    ...parsed.env.map((e) => `${e.name} = ${JSON.stringify(e.value)} @ ${textAt(text, e.range)}`),
  ];
}

test('vLLM YAML: nested, flat, either dash, YAML 1.1 booleans, each with its place', () => {
  const { text, parsed } = fixture('serve.yaml');
  assert.deepEqual(parsed.problems, []);
  assert.deepEqual(places(text, parsed), [
    'model = "google/gemma-4-31B-it" @ google/gemma-4-31B-it',
    'tensor_parallel_size = "2" @ 2',
    'kv_cache_dtype = "fp8" @ fp8',
    'block_size = "64" @ 64',
    'attention_config.backend = "FLASH_ATTN" @ FLASH_ATTN',
    'attention_config.flash_attn_version = 4 @ 4',
    'attention_config.use_trtllm_attention = false @ off',
    'attention_config.backend_per_kind.sliding_window = "TRITON_ATTN" @ TRITON_ATTN',
  ]);
  assert.deepEqual(parsed.settings, {
    backend: 'FLASH_ATTN',
    backendPerKind: { sliding_window: 'TRITON_ATTN' },
    flashAttnVersion: 4,
    kvCacheDtype: 'fp8',
    blockSize: 64,
    tensorParallelSize: 2,
    useTrtllmAttention: false,
  });
});

test('shell: continuation, quotes, JSON fields inside quotes, heredoc skipped, variables unknown', () => {
  const { text, parsed } = fixture('serve.sh');
  assert.deepEqual(places(text, parsed), [
    'tensor_parallel_size = "4" @ 4',
    'block_size = "32" @ 32',
    'dtype = "half" @ half',
    'attention_config.backend = "FLASHINFER" @ "FLASHINFER"',
    'attention_config.flash_attn_version = "3" @ "3"',
    'VLLM_ATTENTION_BACKEND = "FLASH_ATTN" @ VLLM_ATTENTION_BACKEND=FLASH_ATTN',
    'VLLM_LOGGING_LEVEL = "DEBUG" @ VLLM_LOGGING_LEVEL="DEBUG"',
    'VLLM_BATCH_INVARIANT = "1" @ VLLM_BATCH_INVARIANT=1',
  ]);
  assert.deepEqual(parsed.settings, {
    backend: 'FLASHINFER',
    blockSize: 32,
    dtype: 'float16',
    tensorParallelSize: 4,
    batchInvariant: true,
  });
  assert.deepEqual(
    parsed.problems.map((p) => [p.code, textAt(text, p.range)]),
    [
      ['dynamicValue', '"$KV_DTYPE"'],
      ['invalidValue', '"3"'],
    ],
  );
});

test('Dockerfile: ENV in both forms, ENTRYPOINT and CMD joined, places inside the exec form', () => {
  const { text, parsed } = fixture('Dockerfile');
  assert.deepEqual(parsed.problems, []);
  assert.deepEqual(places(text, parsed), [
    'attention_backend = "FLASH_ATTN_MLA" @ "FLASH_ATTN_MLA"',
    'language_model_only = true @ "--language-model-only"',
    'attention_config.mla_prefill_backend = "FLASHINFER" @ FLASHINFER',
    'VLLM_FLASH_ATTN_VERSION = "3" @ VLLM_FLASH_ATTN_VERSION 3',
    'VLLM_MLA_DISABLE = "1" @ VLLM_MLA_DISABLE=1',
  ]);
  assert.equal(parsed.mlaDisabled, true);
  assert.deepEqual(parsed.settings, { backend: 'FLASH_ATTN_MLA', mlaPrefillBackend: 'FLASHINFER', textOnly: true });
});

test('docker-compose: command as text and as list, environment as map and as list; services are not put together', () => {
  const { text, parsed } = fixture('docker-compose.yml');
  assert.deepEqual(
    parsed.problems.map((problem) => `${problem.severity} ${problem.code} ${textAt(text, problem.range)}`),
    ['info severalServers vllm'],
  );
  assert.deepEqual(places(text, parsed), [
    'model = "openai/gpt-oss-20b" @ openai/gpt-oss-20b',
    'decode_context_parallel_size = "2" @ 2',
    'attention_config.backend = "TRITON_ATTN" @ TRITON_ATTN',
    'VLLM_USE_V1 = "1" @ "1"',
    'VLLM_KV_CACHE_LAYOUT = "HND" @ HND',
  ]);
  assert.equal(parsed.settings.kvConnector, undefined);

  const second = text.replace(/ {2}vllm:[^]*? {2}second:/, '  second:');
  const alone = parseServeFile('docker-compose.yml', second, 'compose');
  assert.deepEqual(alone.problems, []);
  assert.deepEqual(places(second, alone), [
    'model = "x" @ "x"',
    'kv_transfer_config = {"kv_connector":"NixlConnector"} @ {\\"kv_connector\\": \\"NixlConnector\\"}',
    'VLLM_HAS_FLASHINFER_CUBIN = "1" @ VLLM_HAS_FLASHINFER_CUBIN=1',
  ]);
  assert.equal(alone.settings.kvConnector, true);
});

test('launch.json: module, args with comments and trailing commas, env, the flag as a located setting', () => {
  const { text, parsed } = fixture('launch.json');
  assert.deepEqual(parsed.problems, []);
  assert.equal(parsed.useSystemFlashAttn?.value, true);
  assert.equal(parsed.settings.blockSize, 128);
  assert.deepEqual(
    parsed.env.map((env) => [env.name, env.value, textAt(text, env.range)]),
    [['VLLM_ATTENTION_BACKEND', 'FLASHINFER', '"FLASHINFER"']],
  );
});

test('.env: names that concern vLLM and its compilers, others are left out', () => {
  const { parsed } = fixture('.env');
  assert.deepEqual(
    parsed.env.map((env) => [env.name, env.value]),
    [
      ['VLLM_FLASH_ATTN_VERSION', '2'],
      ['CUTE_DSL_ARCH', 'sm_90a'],
    ],
  );
});

function shell(text: string): ParsedServe {
  return parseServeFile('a.sh', text, 'shell');
}

test('of several forms of attention-config the last group wins as a whole, as in vLLM', () => {
  const parsed = shell(
    `vllm serve m -ac '{"backend":"A","flash_attn_version":2}' --attention-config.backend B -ac.flash_attn_version 3`,
  );
  assert.deepEqual(parsed.settings, { flashAttnVersion: 3 });
  assert.deepEqual(
    parsed.problems.map((p) => p.code),
    ['overridden', 'overridden', 'overridden'],
  );
});

test('dotted values: JSON, then whole numbers with suffix, then text', () => {
  const value = (text: string): unknown => shell(`vllm serve m -ac.x=${text}`).located[0]?.value;
  assert.deepEqual(['4', 'true', '1k', '1K', '1.5k', 'FLASH_ATTN', 'null'].map(value), [
    4,
    true,
    1000,
    1024,
    1500,
    'FLASH_ATTN',
    null,
  ]);
});

test('both ways of naming the backend are kept, so that the conflict can be shown', () => {
  const parsed = shell('vllm serve m --attention-backend FLASHINFER --attention-config.backend TRITON_ATTN');
  assert.deepEqual(
    parsed.located.map((setting) => setting.name),
    ['attention_backend', 'attention_config.backend'],
  );
});

test('python -m, docker run with -e, and a program that is not vLLM', () => {
  assert.equal(shell('python3 -m vllm.entrypoints.openai.api_server --block-size 16').settings.blockSize, 16);
  const docker = shell('docker run -e VLLM_MLA_DISABLE=1 --gpus all vllm/vllm-openai --attention-backend TRITON_MLA');
  assert.deepEqual([docker.settings.backend, docker.mlaDisabled], ['TRITON_MLA', true]);
  assert.deepEqual(shell('train.py --dtype half --model m').located, []);
});

test('text-only mode: the switch, or no input of any kind; anything between is said to be unknown', () => {
  const rows: readonly (readonly [string, true | undefined, readonly string[]])[] = [
    ['--language-model-only', true, []],
    [`--limit-mm-per-prompt '{"image": 0, "video": 0, "audio": 0}'`, true, []],
    [`--limit-mm-per-prompt '{"image": {"count": 0}, "video": 0, "audio": 0}'`, true, []],
    ['--limit-mm-per-prompt.image 0 --limit-mm-per-prompt.video=0 --limit-mm-per-prompt.audio 0', true, []],
    [`--limit-mm-per-prompt '{"image": 0}'`, undefined, ['info notJudged']],
    [`--limit-mm-per-prompt '{"image": 2, "video": 0, "audio": 0}'`, undefined, []],
    ['--disable-sliding-window', undefined, ['warning notJudged']],
  ];
  for (const [options, textOnly, problems] of rows) {
    const parsed = shell(`vllm serve m ${options}`);
    assert.equal(parsed.settings.textOnly, textOnly, options);
    assert.deepEqual(
      parsed.problems.map((problem) => `${problem.severity} ${problem.code}`),
      problems,
      options,
    );
  }
  const yaml = parseServeFile('f', 'limit-mm-per-prompt: {image: 0, video: 0, audio: 0}\n', 'vllmYaml');
  assert.equal(yaml.settings.textOnly, true);
});

const REFUSED: ReadonlyArray<readonly [string, ServeFileKind, string, ServeProblemCode, string]> = [
  ['tabs', 'vllmYaml', 'attention-config:\n\tbackend: FLASH_ATTN\n', 'tabs', '\t'],
  ['anchors', 'vllmYaml', 'a: &x 1\nblock-size: *x\n', 'anchors', '1'],
  ['duplicate keys', 'vllmYaml', 'block-size: 16\nblock-size: 32\n', 'duplicateKey', 'block-size'],
  ['several documents', 'vllmYaml', 'block-size: 16\n---\nblock-size: 32\n', 'severalDocuments', ''],
  ['a list at the top', 'vllmYaml', '- block-size\n', 'notAMapping', '- block-size'],
  ['broken YAML', 'vllmYaml', 'a: [1, 2\n', 'syntax', ''],
  ['an open quote', 'shell', "vllm serve 'm --block-size 16\n", 'syntax', "'"],
  ['broken JSON', 'editorJson', '{"configurations": [}', 'syntax', '}'],
];

for (const [what, kind, text, code, at] of REFUSED) {
  test(`refused at its place, nothing used: ${what}`, () => {
    const parsed = parseServeFile('f', text, kind);
    const problem = parsed.problems.find((p) => p.severity === 'error');
    assert.equal(problem?.code, code);
    assert.ok(textAt(text, problem.range).startsWith(at), JSON.stringify(textAt(text, problem.range)));
    assert.deepEqual([parsed.located, parsed.env, parsed.settings], [[], [], {}]);
  });
}

test('a file over the limit is not read', () => {
  const parsed = parseServeFile('f', `${'#'.repeat(1024 * 1024)}\n`, 'shell');
  assert.deepEqual(
    parsed.problems.map((p) => p.code),
    ['tooLarge'],
  );
});

test('nesting beyond any stack is refused', () => {
  for (const text of [
    `a: ${'['.repeat(100_000)}`,
    Array.from({ length: 20_000 }, (_u, i) => `${' '.repeat(i % 400)}a:`).join('\n'),
  ]) {
    assert.equal(parseServeFile('f', text, 'vllmYaml').problems[0]?.severity, 'error');
  }
  assert.equal(parseServeFile('f', '['.repeat(500_000), 'editorJson').problems[0]?.code, 'syntax');
  const deep = shell(`vllm serve m -ac '${'{"a":'.repeat(100_000)}'`);
  assert.deepEqual(
    deep.problems.map((p) => p.code),
    ['invalidValue'],
  );
});

test('100,000 random texts through every reader without a throw; ranges lie inside the text', () => {
  let state = 7;
  const random = (below: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const pieces = [
    'vllm serve m ',
    '--attention-config',
    '-ac',
    '.backend',
    '=',
    ' ',
    '\n',
    "'",
    '"',
    '{',
    '}',
    '[',
    ']',
    ':',
    ',',
    '\\',
    '#',
    '"backend":"X"',
    '$A',
    '`',
    '&&',
    '<<E',
    'E\n',
    '\t',
    '- ',
    '  ',
    'services:',
    'command: ',
    'environment:',
    'VLLM_X=1',
    'CMD ',
    'ENV A 1',
    'é',
    '😀',
    '\r\n',
    '&a ',
    '*a',
    '---\n',
    '"configurations":[',
    '"args":["-tp","2"]',
    '--block-size 16',
    '(',
    ')',
    'true',
  ];
  const kinds: readonly ServeFileKind[] = ['vllmYaml', 'compose', 'shell', 'dockerfile', 'editorJson', 'dotEnv'];
  for (let i = 0; i < 100_000; i++) {
    const text = Array.from({ length: 1 + random(14) }, () => pieces[random(pieces.length)]).join('');
    const parsed = parseServeFile('f', text, kinds[i % kinds.length] as ServeFileKind);
    const lines = text.split('\n').length;
    for (const { range } of [...parsed.located, ...parsed.env, ...parsed.problems]) {
      assert.ok(range.startLine <= range.endLine && range.endLine < lines, text);
    }
  }
});
