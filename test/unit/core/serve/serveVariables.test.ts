/** Variables, here-documents, inner shells, interpolation and image tags: what the text alone tells, and its place. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseServeFile, serveFileKind, type ParsedServe } from '../../../../extension/core/serve/serveConfig';
import type { SourceRange } from '../../../../extension/core/verdict';

function textAt(text: string, range: SourceRange): string {
  const lines = text.split('\n');
  const from = lines[range.startLine] ?? '';
  if (range.startLine === range.endLine) return from.slice(range.startColumn, range.endColumn);
  const between = lines.slice(range.startLine + 1, range.endLine);
  return [from.slice(range.startColumn), ...between, (lines[range.endLine] ?? '').slice(0, range.endColumn)].join('\n');
}

function read(name: string, text: string): ParsedServe {
  const kind = serveFileKind(name, text);
  assert.ok(kind !== null);
  return parseServeFile(name, text, kind);
}

/** `name = value @ line:text at its place`, for settings and variables. */
function places(name: string, text: string): readonly string[] {
  const parsed = read(name, text);
  return [
    ...parsed.located.map(
      (each) => `${each.name} = ${JSON.stringify(each.value)} @ ${each.range.startLine}:${textAt(text, each.range)}`,
    ),
    ...parsed.env.map(
      (each) => `${each.name} = ${String(each.value)} @ ${each.range.startLine}:${textAt(text, each.range)}`,
    ),
  ];
}

function codes(name: string, text: string): readonly string[] {
  return read(name, text).problems.map(
    (problem) => `${problem.severity} ${problem.code} ${textAt(text, problem.range)}`,
  );
}

describe('shell variables with a literal value in the same file', () => {
  const rows: readonly [what: string, text: string, expected: readonly string[], problems: readonly string[]][] = [
    [
      'assigned before the use: the place is the assignment, and it is said at the use',
      'TP=4\nvllm serve m -tp $TP\n',
      ['tensor_parallel_size = "4" @ 0:4'],
      ['info variable $TP'],
    ],
    [
      'quotes, braces and export',
      'export KV="fp8"\nvllm serve m --kv-cache-dtype="${KV}"\n',
      ['kv_cache_dtype = "fp8" @ 0:fp8'],
      ['info variable --kv-cache-dtype="${KV}"'],
    ],
    [
      'the last assignment before the use counts',
      'TP=2\nTP=4\nvllm serve m -tp $TP\nTP=8',
      ['tensor_parallel_size = "4" @ 1:4'],
      ['info variable $TP'],
    ],
    [
      'assigned from another variable: the place is where the literal stands',
      'A=2\nB=$A\nvllm serve m -tp $B\n',
      ['tensor_parallel_size = "2" @ 0:2'],
      ['info variable $B'],
    ],
    [
      'a value put together has the place of the whole word',
      'X=ATTN\nvllm serve m --attention-backend FLASH_$X\n',
      ['attention_backend = "FLASH_ATTN" @ 1:FLASH_$X'],
      ['info variable FLASH_$X'],
    ],
    [
      'a default counts where the file assigns nothing',
      'vllm serve m -tp ${TP:-4}\n',
      ['tensor_parallel_size = "4" @ 0:4'],
      ['info variable ${TP:-4}'],
    ],
    [
      'an assignment comes before the default',
      'TP=2\nvllm serve m -tp ${TP:-4}\n',
      ['tensor_parallel_size = "2" @ 0:2'],
      ['info variable ${TP:-4}'],
    ],
    [
      'the idiom that keeps what the environment says',
      'TP=${TP:-4}\n: "${KV:=fp8}"\nvllm serve m -tp "$TP" --kv-cache-dtype $KV\n',
      ['tensor_parallel_size = "4" @ 0:4', 'kv_cache_dtype = "fp8" @ 1:fp8'],
      ['info variable "$TP"', 'info variable $KV'],
    ],
    [
      'options kept in one variable are split where it is not quoted',
      "OPTS='-tp 4 --block-size 32'\nvllm serve m $OPTS\n",
      ['tensor_parallel_size = "4" @ 0:4', 'block_size = "32" @ 0:32'],
      ['info variable $OPTS', 'info variable $OPTS'],
    ],
    [
      'an array of arguments, added to',
      'ARGS=(-tp 4)\nARGS+=(--block-size 32)\nvllm serve m "${ARGS[@]}"\n',
      ['tensor_parallel_size = "4" @ 0:4', 'block_size = "32" @ 1:32'],
      ['info variable "${ARGS[@]}', 'info variable "${ARGS[@]}"'],
    ],
    [
      'an assignment in front of the command does not reach its arguments',
      'TP=4 vllm serve m -tp $TP\n',
      [],
      ['warning dynamicValue $TP'],
    ],
    ['not assigned, no default', 'vllm serve m -tp $TP\n', [], ['warning dynamicValue $TP']],
    ['assigned behind the use', 'vllm serve m -tp $TP\nTP=4\n', [], ['warning dynamicValue $TP']],
    [
      'assigned under a condition',
      'TP=4\nif [ -n "$X" ]; then\n  TP=2\nfi\nvllm serve m -tp $TP\n',
      [],
      ['warning dynamicValue $TP'],
    ],
    ['assigned behind &&', 'TP=4\n[ -z "$X" ] && TP=2\nvllm serve m -tp $TP\n', [], ['warning dynamicValue $TP']],
    ['set by a loop', 'for TP in 1 2; do vllm serve m -tp $TP; done\n', [], ['warning dynamicValue $TP']],
    ['from a command', 'TP=$(nvidia-smi -L | wc -l)\nvllm serve m -tp $TP\n', [], ['warning dynamicValue $TP']],
    ['from the outside', 'TP=$1\nvllm serve m -tp $TP\n', [], ['warning dynamicValue $TP']],
    ['read', 'TP=1\nread -r TP\nvllm serve m -tp $TP\n', [], ['warning dynamicValue $TP']],
    [
      'another file is read in between',
      'TP=1\nsource settings.sh\nvllm serve m -tp $TP\n',
      [],
      ['warning dynamicValue $TP'],
    ],
    [
      'activating an environment changes no setting',
      'TP=1\nsource .venv/bin/activate\nvllm serve m -tp $TP\n',
      ['tensor_parallel_size = "1" @ 0:1'],
      ['info variable $TP'],
    ],
    [
      'environment variables too',
      'V=1\nexport VLLM_BATCH_INVARIANT=$V\n',
      ['VLLM_BATCH_INVARIANT = 1 @ 1:VLLM_BATCH_INVARIANT=$V'],
      ['info variable VLLM_BATCH_INVARIANT=$V'],
    ],
  ];
  for (const [what, text, expected, problems] of rows) {
    test(what, () => {
      assert.deepEqual(places('a.sh', text), expected);
      assert.deepEqual(codes('a.sh', text), problems);
    });
  }
});

describe('ways to start vLLM in a shell', () => {
  const rows: readonly [what: string, text: string, expected: readonly string[]][] = [
    ['exec', 'exec vllm serve m --block-size 32', ['block_size = "32" @ 0:32']],
    [
      'env',
      'env VLLM_MLA_DISABLE=1 vllm serve m -tp 2',
      ['tensor_parallel_size = "2" @ 0:2', 'VLLM_MLA_DISABLE = 1 @ 0:VLLM_MLA_DISABLE=1'],
    ],
    [
      'python -m',
      'python -m vllm.entrypoints.openai.api_server --model m -tp 2',
      ['model = "m" @ 0:m', 'tensor_parallel_size = "2" @ 0:2'],
    ],
    [
      'torchrun',
      'torchrun --nproc-per-node 2 -m vllm.entrypoints.openai.api_server -tp 2',
      ['tensor_parallel_size = "2" @ 0:2'],
    ],
    [
      'lines that go on',
      'vllm serve m \\\n  -tp 2 \\\n  --block-size=32\n',
      ['tensor_parallel_size = "2" @ 1:2', 'block_size = "32" @ 2:32'],
    ],
    ['bash -c', `bash -lc 'cd /x && vllm serve m -tp 2'`, ['tensor_parallel_size = "2" @ 0:2']],
    [
      'a here-document for a shell',
      'ssh box bash <<EOF\nvllm serve m -tp 2\nEOF\n',
      ['tensor_parallel_size = "2" @ 1:2'],
    ],
    ['a here-document for a file is no command', 'cat > x.sh <<EOF\nvllm serve m -tp 2\nEOF\n', []],
    ['a function', 'run() {\n  vllm serve m -tp 2\n}\nrun\n', ['tensor_parallel_size = "2" @ 1:2']],
    ['a condition', 'if true; then\n  vllm serve m -tp 2\nfi\n', ['tensor_parallel_size = "2" @ 1:2']],
  ];
  for (const [what, text, expected] of rows) {
    test(what, () => {
      assert.deepEqual(places('a.sh', text), expected);
    });
  }
});

describe('images', () => {
  const rows: readonly [what: string, name: string, text: string, expected: readonly string[]][] = [
    ['docker run', 'a.sh', 'docker run --gpus all vllm/vllm-openai:v0.33.0 --model m -tp 2', ['0.33.0 @ v0.33.0']],
    [
      'a registry and a variant',
      'a.sh',
      'docker run r.io:5000/x/vllm-openai:v0.31.0-cu129 -tp 2',
      ['0.31.0 @ v0.31.0-cu129'],
    ],
    ['latest', 'a.sh', 'docker run vllm/vllm-openai:latest -tp 2', ['null @ latest']],
    ['a variable', 'a.sh', 'V=v0.30.0\ndocker run vllm/vllm-openai:$V -tp 2', ['0.30.0 @ v0.30.0']],
    [
      'Dockerfile',
      'Dockerfile',
      'ARG V=v0.29.0\nFROM vllm/vllm-openai:${V}\nCMD ["--model", "m"]\n',
      ['0.29.0 @ v0.29.0'],
    ],
    ['compose', 'compose.yaml', 'services:\n  a:\n    image: vllm/vllm-openai:${V:-v0.28.0}\n', ['0.28.0 @ v0.28.0']],
    ['another image', 'a.sh', 'docker run nvidia/cuda:12.8.0', []],
  ];
  for (const [what, name, text, expected] of rows) {
    test(what, () => {
      assert.deepEqual(
        read(name, text).images.map((each) => `${String(each.release)} @ ${textAt(text, each.range)}`),
        expected,
      );
    });
  }
});

describe('compose interpolation', () => {
  const file = (body: string): string => `services:\n  a:\n    image: vllm/vllm-openai\n${body}`;
  test('defaults in a string, a list and the environment; without a default the value is not known', () => {
    const text = file(
      [
        '    command: --model m -tp ${TP:-4} --kv-cache-dtype ${KV}',
        '    environment:',
        '      VLLM_BATCH_INVARIANT: ${BI:-1}',
        '      VLLM_MLA_DISABLE: ${NO_MLA}',
        '',
      ].join('\n'),
    );
    assert.deepEqual(places('compose.yaml', text), [
      'model = "m" @ 3:m',
      'tensor_parallel_size = "4" @ 3:4',
      'VLLM_BATCH_INVARIANT = 1 @ 5:${BI:-1}',
      'VLLM_MLA_DISABLE = null @ 6:${NO_MLA}',
    ]);
    assert.deepEqual(
      codes('compose.yaml', text).map((code) => code.split(' ').slice(0, 2).join(' ')),
      ['info variable', 'warning dynamicValue', 'info variable'],
    );
  });
  test('a list, and a shell inside it', () => {
    const text = file(
      [
        '    entrypoint: ["bash", "-c"]',
        '    command:',
        '      - |',
        '        vllm serve m \\',
        '          --attention-backend ${B-TRITON_ATTN}',
        '',
      ].join('\n'),
    );
    assert.deepEqual(places('compose.yaml', text), ['attention_backend = "TRITON_ATTN" @ 7:TRITON_ATTN']);
  });
  test('a folded command', () => {
    const text = file(['    command: >', '      --model m', '      -tp 2', ''].join('\n'));
    assert.deepEqual(places('compose.yaml', text), ['model = "m" @ 4:m', 'tensor_parallel_size = "2" @ 5:2']);
  });
});

describe('Dockerfile variables', () => {
  test('ENV and ARG reach the shell form, not the exec form', () => {
    const head = 'FROM vllm/vllm-openai:v0.33.0\nARG KV=fp8\nENV TP=4 KV_DTYPE=$KV\n';
    assert.deepEqual(places('Dockerfile', `${head}CMD vllm serve m -tp $TP --kv-cache-dtype $KV_DTYPE\n`), [
      'tensor_parallel_size = "4" @ 2:4',
      'kv_cache_dtype = "fp8" @ 1:fp8',
    ]);
    assert.deepEqual(read('Dockerfile', `${head}CMD ["vllm", "serve", "m", "-tp", "\${TP}"]\n`).located, []);
  });
});

describe('Kubernetes manifests', () => {
  const manifest = [
    'apiVersion: v1',
    'kind: Service',
    'metadata: {name: s}',
    '---',
    'apiVersion: apps/v1',
    'kind: Deployment',
    'spec:',
    '  template:',
    '    spec:',
    '      containers:',
    '        - name: vllm',
    '          image: vllm/vllm-openai:v0.32.0',
    '          args: ["--model", "m", "--tensor-parallel-size=$(TP)", "--kv-cache-dtype", "$(KV)"]',
    '          env:',
    '            - name: TP',
    '              value: "4"',
    '            - name: KV',
    '              valueFrom: {configMapKeyRef: {name: c, key: kv}}',
    '            - name: VLLM_ATTENTION_BACKEND',
    '              value: FLASHINFER',
    '',
  ].join('\n');
  test('several documents, args with $(NAME), env with literal values', () => {
    assert.deepEqual(places('deploy.yaml', manifest), [
      'model = "m" @ 12:"m"',
      'tensor_parallel_size = "4" @ 15:4',
      'VLLM_ATTENTION_BACKEND = FLASHINFER @ 19:FLASHINFER',
    ]);
    assert.deepEqual(codes('deploy.yaml', manifest), [
      'info variable "--tensor-parallel-size=$(TP)"',
      'warning dynamicValue "$(KV)"',
    ]);
    assert.deepEqual(
      read('deploy.yaml', manifest).images.map((each) => each.release),
      ['0.32.0'],
    );
  });
  test('a shell script as an argument', () => {
    const text = [
      'apiVersion: v1',
      'kind: Pod',
      'spec:',
      '  containers:',
      '    - name: a',
      '      command: ["/bin/sh", "-c"]',
      '      args:',
      '        - |',
      '          export VLLM_BATCH_INVARIANT=1',
      '          vllm serve m -tp 2',
      '',
    ].join('\n');
    assert.deepEqual(places('pod.yml', text), [
      'tensor_parallel_size = "2" @ 9:2',
      'VLLM_BATCH_INVARIANT = 1 @ 8:VLLM_BATCH_INVARIANT=1',
    ]);
  });
  test('tabs, anchors and broken YAML are errors as elsewhere', () => {
    for (const [text, code] of [
      ['apiVersion: v1\nkind: Pod\nspec:\n\tx: 1\n', 'tabs'],
      ['apiVersion: v1\nkind: Pod\na: &x 1\n', 'anchors'],
      ['apiVersion: v1\nkind: Pod\nspec: [1, 2\n', 'syntax'],
    ] as const) {
      assert.equal(read('p.yaml', text).problems[0]?.code, code);
    }
  });
});
