/** Several servers in one file are kept apart, and what is not vLLM's does not count. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { applyTextEdits } from '../../../../extension/core/serve/configEdits';
import { configFixes } from '../../../../extension/core/serve/configEditsFixes';
import { parseServeFile, serveFileKind, type ParsedServe } from '../../../../extension/core/serve/serveConfig';

function read(path: string, text: string): ParsedServe {
  const kind = serveFileKind(path, text);
  assert.ok(kind !== null);
  return parseServeFile(path, text, kind);
}

/** Settings and variables, `name=value`. */
function says(path: string, text: string): string {
  const { located, env } = read(path, text);
  return [...located, ...env].map(({ name, value }) => `${name}=${String(value)}`).join(' ');
}

/** The remark on several servers, empty without one. */
function remark(path: string, text: string): string {
  return read(path, text).problems.find((problem) => problem.code === 'severalServers')?.text ?? '';
}

const pod = (containers: string): string => `apiVersion: v1\nkind: Pod\nspec:\n  containers:\n${containers}`;

describe('the first of several servers is answered for, and the file says so', () => {
  const rows: readonly [what: string, path: string, text: string, expected: string, places: string][] = [
    [
      'commands of a script',
      'a.sh',
      'vllm serve A --kv-cache-dtype fp8_e5m2 --port 1 &\n\nvllm serve B --attention-backend FLASH_ATTN --port 2\n',
      'kv_cache_dtype=fp8_e5m2',
      '2 vLLM servers with different settings (line 1, line 3)',
    ],
    [
      'commands of one line',
      'a.sh',
      'vllm serve A -tp 2 & vllm serve B -tp 4\n',
      'tensor_parallel_size=2',
      '(line 1 column 1, line 1 column 22)',
    ],
    [
      'branches',
      'a.sh',
      'case "$1" in\n  a) vllm serve m --block-size 32 ;;\n  b) vllm serve m -tp 2 ;;\nesac\n',
      'block_size=32',
      '(line 2, line 3)',
    ],
    [
      'an inner shell and a here-document',
      'a.sh',
      "bash -c 'export VLLM_MLA_DISABLE=1; vllm serve m -tp 2'\nssh box bash <<E\nvllm serve m -tp 4\nE\n",
      'tensor_parallel_size=2 VLLM_MLA_DISABLE=1',
      '(line 1, line 3)',
    ],
    [
      'variables that differ',
      'a.sh',
      'VLLM_MLA_DISABLE=1 vllm serve m\nvllm serve m\n',
      'VLLM_MLA_DISABLE=1',
      '(line 1, line 2)',
    ],
    [
      'services',
      'compose.yaml',
      'services:\n  a:\n    image: vllm/vllm-openai\n  b:\n    image: vllm/vllm-openai\n    command: --block-size 32\n',
      '',
      '(a in line 2, b in line 4)',
    ],
    [
      'containers, one of another kind in front',
      'pod.yaml',
      pod(
        [
          '    - name: fetch',
          '      image: vllm/vllm-openai:v0.33.0',
          '      command: ["huggingface-cli", "download", "m"]',
          '    - name: a',
          '      image: vllm/vllm-openai:v0.33.0',
          '      args: ["--model", "m", "-tp", "2"]',
          '    - name: b',
          '      image: vllm/vllm-openai:v0.33.0',
          '      args: ["--model", "m", "-tp", "4"]',
          '      env: [{name: VLLM_MLA_DISABLE, value: "1"}]',
          '',
        ].join('\n'),
      ),
      'model=m tensor_parallel_size=2',
      '(a in line 8, b in line 11)',
    ],
    [
      'configurations of the editor',
      'launch.json',
      `{"configurations": [
        {"name": "one", "module": "vllm.entrypoints.openai.api_server", "args": ["--block-size", "32"]},
        {"name": "two", "program": "/x/bin/vllm", "args": ["serve", "m", "-tp", "2"], "env": {"VLLM_MLA_DISABLE": "1"}}]}`,
      'block_size=32',
      '(one in line 2, two in line 3)',
    ],
    [
      'programs that only have variables of vLLM',
      'a.sh',
      'VLLM_BATCH_INVARIANT=1 python a.py\nVLLM_BATCH_INVARIANT=0 python b.py\n',
      'VLLM_BATCH_INVARIANT=1',
      '2 programs with different variables of vLLM (line 1, line 2)',
    ],
  ];
  for (const [what, path, text, expected, places] of rows) {
    test(what, () => {
      assert.equal(says(path, text), expected);
      assert.ok(remark(path, text).includes(places), remark(path, text));
      assert.match(remark(path, text), /about the first of them only/);
    });
  }

  test('what is exported holds for all that follow, what is given to one command for that one', () => {
    const text = [
      'export VLLM_KV_CACHE_LAYOUT=HND',
      'VLLM_USE_PRECOMPILED=1 pip install vllm',
      'VLLM_BATCH_INVARIANT=1 vllm serve m',
      'export VLLM_MLA_DISABLE=1',
      'vllm serve m',
    ];
    assert.equal(says('a.sh', text.join('\n')), 'VLLM_KV_CACHE_LAYOUT=HND VLLM_BATCH_INVARIANT=1');
    assert.equal(
      says('a.sh', text.filter((line) => !line.includes('INVARIANT')).join('\n')),
      'VLLM_KV_CACHE_LAYOUT=HND VLLM_MLA_DISABLE=1',
    );
  });

  test('no remark for servers with equal settings, nor for clients and tools of vLLM', () => {
    for (const text of [
      'vllm serve A -tp 2 --port 1 &\nvllm serve B -tp 2 --port 2\n',
      'vllm serve A -tp 2 &\nvllm bench serve --model A\nvllm chat\n',
      'pip install vllm flashinfer\necho vllm serve A -tp 4\nvllm serve A -tp 2\n',
    ]) {
      assert.equal(remark('a.sh', text), '');
      assert.equal(read('a.sh', text).settings.tensorParallelSize, 2);
    }
  });

  test('a problem of another server is not told', () => {
    const text = 'vllm serve A -tp 2\nvllm serve B -tp $TP\n';
    assert.deepEqual(
      read('a.sh', text).problems.map((problem) => problem.code),
      ['severalServers'],
    );
  });
});

describe('options of something that is not vLLM', () => {
  const foreign: readonly [what: string, path: string, text: string][] = [
    ['another server', 'a.sh', 'python -m sglang.launch_server --kv-cache-dtype fp8_e5m2\nvllm serve m\n'],
    [
      'a comment ends a command that would go on',
      'a.sh',
      'vllm serve m \\\n  # --attention-backend FLASH_ATTN \\\n  --kv-cache-dtype fp8\n',
    ],
    [
      'an array that is not known to be used',
      'a.sh',
      'if [ -n "$X" ]; then ARGS=(--kv-cache-dtype fp8); fi\nvllm serve m "${ARGS[@]}"\n',
    ],
    [
      'a service of another image',
      'compose.yaml',
      'services:\n  a:\n    image: lmsysorg/sglang\n    command: python3 -m sglang.launch_server --kv-cache-dtype fp8_e5m2\n',
    ],
    [
      'another module in the editor',
      'launch.json',
      '{"configurations": [{"module": "sglang.launch_server", "args": ["--kv-cache-dtype", "fp8"]}]}',
    ],
  ];
  for (const [what, path, text] of foreign) {
    test(what, () => {
      const parsed = read(path, text);
      assert.deepEqual(parsed.settings, {});
      const [problem] = parsed.problems;
      assert.equal(problem?.code, 'notVllm');
      assert.match(problem.text, /^--kv-cache-dtype: not taken into account/);
    });
  }

  const own: readonly [what: string, path: string, text: string][] = [
    ['an image with vLLM in its name', 'a.sh', 'docker run --gpus all my/vllm-plus:1 --kv-cache-dtype fp8\n'],
    ['an image in a variable', 'a.sh', 'docker run "$VLLM_IMAGE" --kv-cache-dtype fp8\n'],
    ['a script with vLLM in its name', 'a.sh', './start_vllm.sh --kv-cache-dtype fp8\n'],
    [
      'bare options for an image',
      'compose.yaml',
      'services:\n  a:\n    image: my/llm\n    command: --kv-cache-dtype fp8\n',
    ],
    [
      'a model and options for an image of vLLM',
      'compose.yaml',
      'services:\n  a:\n    image: vllm/vllm-openai\n    command: m --kv-cache-dtype fp8\n',
    ],
    [
      'a task',
      'tasks.json',
      '{"tasks": [{"label": "t", "command": "cd x && vllm serve m", "args": ["--kv-cache-dtype", "fp8"]}]}',
    ],
  ];
  for (const [what, path, text] of own) {
    test(`vLLM's all the same: ${what}`, () => {
      assert.deepEqual(read(path, text).settings, { kvCacheDtype: 'fp8' });
    });
  }
});

describe('edits touch one server only', () => {
  const fixes = (text: string): readonly string[] =>
    configFixes({ id: 'kv-cache-dtype-refused', code: 'kv-cache-dtype-refused' }, 'a.sh', text, '0.33.0').map((fix) =>
      applyTextEdits(text, fix.edits),
    );
  test('the place of the first server', () => {
    assert.deepEqual(fixes('vllm serve A --kv-cache-dtype fp8 -tp 2\nvllm serve B --kv-cache-dtype fp8\n'), [
      'vllm serve A -tp 2\nvllm serve B --kv-cache-dtype fp8\n',
    ]);
  });
  test('none where both read one variable', () => {
    const one = 'O="--block-size 32 --kv-cache-dtype fp8"\nvllm serve A $O -tp 2\n';
    assert.deepEqual(fixes(one), [one.replace(' --kv-cache-dtype fp8', '')]);
    assert.deepEqual(fixes(`${one}vllm serve B $O\n`), []);
  });
});

describe('a file without a setting of vLLM', () => {
  test('is said, with its name', () => {
    for (const [path, text] of [
      ['/w/values.yaml', 'servingEngineSpec:\n  extraArgs: ["--attention-backend", "TRITON_ATTN"]\n'],
      ['/w/values.yaml', 'port: 80\n'],
      ['/w/a.sh', 'echo hello\n'],
      ['/w/.env', 'A=1\n'],
    ] as const) {
      const name = path.split('/').at(-1);
      assert.deepEqual(
        read(path, text).problems.map((problem) => `${problem.severity} ${problem.text}`),
        [`warning No setting of vLLM was found in ${name}, so the answer is that of vLLM's defaults.`],
      );
    }
  });
  test('is not said of a server that is started with defaults, nor of a model alone', () => {
    assert.deepEqual(read('a.sh', 'vllm serve m\n').problems, []);
    assert.deepEqual(read('a.yaml', 'model: m\n').problems, []);
  });
  test('does not keep the last setting from being removed', () => {
    const text = 'VLLM_FLASH_ATTN_VERSION=3\n';
    const [fix] = configFixes(
      { id: 'dead-env-variable:VLLM_FLASH_ATTN_VERSION', code: 'dead-env-variable' },
      '.env',
      text,
      '0.33.0',
    );
    assert.equal(applyTextEdits(text, fix?.edits ?? []), '');
  });
});
