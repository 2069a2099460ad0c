/** validate.py through its runner, against small trees with vLLM's shape. */
import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import type { Validation, ValidationCase, ValidationProgress } from '../../../extension/core/rules/validation';
import { DiagError } from '../../../extension/core/errors';
import { askInstalledVllm, validateScript, type VllmValidationOptions } from '../../../extension/node/vllmValidation';
import { QUERY } from '../core/catalog/selectorFixtures';
import { EnvironmentTree } from './environmentTree';

const PLAIN: ValidationCase = {
  id: 0,
  config: { backend: null, flashAttnVersion: null, backendPerKind: null, useTrtllmAttention: null, useNonCausal: null },
  model: null,
  request: { ...QUERY },
  faArgs: {
    headSize: 128,
    headSizeV: null,
    hasSinks: false,
    requiresSoftcap: false,
    kvCacheBlockSize: null,
    supportsFa4Hd256: false,
    requiresLocalAttention: false,
  },
};

/** A question: changes of the plain layer, of its settings, of the resolver's arguments. */
function layer(
  id: number,
  request: Partial<ValidationCase['request']> = {},
  config: Partial<ValidationCase['config']> = {},
  faArgs: Partial<ValidationCase['faArgs']> = {},
): ValidationCase {
  return {
    ...PLAIN,
    id,
    request: { ...PLAIN.request, ...request },
    config: { ...PLAIN.config, ...config },
    faArgs: { ...PLAIN.faArgs, headSize: request.headSize ?? 128, ...faArgs },
  };
}

function askTree(
  tree: Pick<EnvironmentTree, 'interpreter'>,
  cases: readonly ValidationCase[],
  changes: Partial<VllmValidationOptions> & { readonly capability?: readonly [number, number] | null } = {},
): Promise<Validation> {
  const { capability = [9, 0], ...options } = changes;
  return askInstalledVllm({
    interpreter: tree.interpreter,
    scriptPath: validateScript(process.cwd()),
    env: { ...process.env, PYTHONPATH: '/nonexistent', VLLM_ATTENTION_BACKEND: 'TRITON_ATTN' },
    question: { capability, env: {}, cases },
    key: 'k',
    deadlineMs: 60_000,
    ...options,
  });
}

async function asked(
  build: (tree: EnvironmentTree) => void,
  cases: readonly ValidationCase[],
  changes: Parameters<typeof askTree>[2] = {},
  name?: string,
): Promise<Validation> {
  const tree = new EnvironmentTree(name);
  try {
    build(tree);
    return await askTree(tree, cases, changes);
  } finally {
    tree.remove();
  }
}

const standIn = (tree: EnvironmentTree): EnvironmentTree =>
  tree.add('askable').dist('vllm', '0.33.0').dist('torch', '2.99.0');

function answerOf(validation: Validation): Extract<Validation, { kind: 'answered' }>['answer'] {
  assert.equal(
    validation.kind,
    'answered',
    validation.kind === 'failed' ? `${validation.stage}: ${validation.text}` : '',
  );
  return validation.answer;
}

async function failsWith(build: (tree: EnvironmentTree) => void, stage: string, text: RegExp): Promise<void> {
  const validation = await asked(build, [PLAIN]);
  assert.ok(validation.kind === 'failed');
  assert.equal(validation.stage, stage);
  assert.match(validation.text, text);
  assert.doesNotMatch(validation.text, /Traceback|\n/);
}

test('priority list, validators with their reasons, selection and resolver, for a stated capability', async () => {
  const steps: ValidationProgress[] = [];
  const answer = answerOf(
    await asked(
      standIn,
      [
        layer(0),
        layer(1, { headSize: 512 }),
        layer(2, { headSize: 512 }, { backend: 'flash_attn' }),
        layer(3, { headSize: 576, useMla: true }),
        layer(4, {}, { backend: 'NOPE' }),
        layer(5, {}, { flashAttnVersion: 2 }),
        layer(6, { headSize: 2048 }),
      ],
      { onProgress: (step) => steps.push(step) },
    ),
  );
  const [plain, large, explicit, mla, bad, pinned, none] = answer.cases.map((each) => each.answer);
  assert.deepEqual(plain?.priority, ['FLASH_ATTN', 'FLASHINFER', 'TRITON_ATTN']);
  assert.equal(plain.selected, 'FLASH_ATTN');
  assert.deepEqual(plain.perBackend, {
    FLASH_ATTN: [],
    // The text that the selection itself gives for a backend that does not import.
    FLASHINFER: ['ImportError: libstandin.so.13: cannot open shared object file'],
    TRITON_ATTN: [],
  });
  assert.deepEqual([plain.faVersion, plain.faVersionBare], [3, 3]);
  assert.deepEqual([large?.selected, large?.faVersion, large?.faVersionBare], ['TRITON_ATTN', 4, 3]);
  assert.deepEqual(large?.perBackend['FLASH_ATTN'], ['head_size not supported']);
  assert.equal(explicit?.selected, null);
  assert.match(explicit.error ?? '', /^Selected backend AttentionBackendEnum\.FLASH_ATTN is not valid .*head_size/);
  assert.deepEqual([mla?.selected, mla?.priority], ['FLASH_ATTN_MLA', ['FLASH_ATTN_MLA', 'TRITON_MLA']]);
  assert.deepEqual([bad?.errorType, bad?.perBackend], ['config:ValueError', {}]);
  // The resolver caches; the next question has its own configuration all the same.
  assert.deepEqual([pinned?.faVersion, none?.faVersion], [2, 4]);
  assert.match(none?.error ?? '', /No valid attention backend found/);
  assert.deepEqual(answer.device, { capability: [9, 0], stated: true, real: null, platform: 'NonNvmlCudaPlatform' });
  assert.ok(answer.standIns.some((each) => each.includes('9.0, stated')));
  assert.ok(answer.standIns.some((each) => each.includes('current_platform')));
  assert.deepEqual(answer.networkRefused, []);
  assert.deepEqual([answer.vllm, answer.torch], ['0.33.0', '2.99.0']);
  assert.ok(answer.importErrors['FLASHINFER']?.includes('libstandin.so.13'));
  assert.deepEqual([answer.availability.fa3, answer.availability.fa4], [true, false]);
  const stages = steps.map((step) => step.stage);
  assert.deepEqual([...new Set(stages)].slice(0, 3), ['torch', 'vllm', 'platform']);
  assert.deepEqual(steps.filter((step) => step.stage === 'asking').at(-1), { stage: 'asking', done: 6, total: 7 });
});

test('what a release does not know is said, what it does not say by itself is not', async () => {
  const answer = answerOf(
    await asked(standIn, [
      layer(0),
      layer(
        1,
        { useRswa: true, useDcp: true, hasSink: true },
        { backendPerKind: { full_attention: 'TRITON_ATTN' } },
        { hasSinks: true },
      ),
    ]),
  );
  assert.deepEqual(answer.cases[0]?.unsupported, []);
  assert.deepEqual(answer.cases[1]?.unsupported.slice().sort(), [
    'config.backendPerKind',
    'faArgs.hasSinks',
    'request.useDcp',
    'request.useRswa',
  ]);
  assert.deepEqual(answer.faResolverArgs, ['headSize']);
});

test('a validator that raises is an answer about it, not the end', async () => {
  const answer = answerOf(await asked(standIn, [layer(0, {}, { backend: 'RAISES' }), layer(1)]));
  assert.match(String(answer.cases[0]?.answer.raised['RAISES']), /^AttributeError: .*HfTextConfig/);
  assert.equal(answer.cases[0]?.answer.errorType, 'AttributeError');
  assert.equal(answer.cases[1]?.answer.selected, 'FLASH_ATTN');
});

test('no connection is opened; an answer that hangs on one is given both ways', async () => {
  const answer = answerOf(await asked(standIn, [layer(1), layer(0, {}, { backend: 'DRIVER' })]));
  assert.deepEqual(answer.networkRefused, ['kernels.example.com']);
  // vLLM remembers what it found; what was only supposed must not be left.
  assert.deepEqual([answer.availability.flashinferCubins, answer.availability.flashinferCompiler], [false, false]);
  const [plain, download] = answer.cases;
  assert.equal(download?.answer.selected, null);
  assert.equal(download.withCubins?.selected, 'DRIVER');
  assert.equal(plain?.withCubins, undefined);
});

test('the device that is there is asked about unless another is stated', async () => {
  const withGpu = (tree: EnvironmentTree): void => {
    standIn(tree).write('vllm/platforms/device.py', 'CAPABILITY = (8, 6)\n');
  };
  const own = answerOf(await asked(withGpu, [layer(0, { hasSink: true })], { capability: null }));
  assert.deepEqual([own.device.capability, own.device.stated, own.standIns], [[8, 6], false, []]);
  assert.deepEqual(own.cases[0]?.answer.perBackend['FLASH_ATTN'], ['attention sinks not supported']);
  const other = answerOf(await asked(withGpu, [layer(0, { hasSink: true })], { capability: [9, 0] }));
  assert.deepEqual(
    [other.device.capability, other.device.real],
    [
      [9, 0],
      [8, 6],
    ],
  );
  assert.deepEqual(other.cases[0]?.answer.perBackend['FLASH_ATTN'], []);
});

test('without a GPU and without a stated capability it says what to do', async () => {
  const validation = await asked(standIn, [PLAIN], { capability: null });
  assert.ok(validation.kind === 'failed');
  assert.match(validation.text, /no CUDA device here \(UnspecifiedPlatform\); state a compute capability/);
});

test('what cannot be imported is a plain reason', async () => {
  await failsWith(() => undefined, 'torch', /^torch is not installed$/);
  await failsWith(
    (tree) => void tree.write('torch/__init__.py', '__version__ = "2"\n'),
    'vllm',
    /^vllm is not installed$/,
  );
  await failsWith(
    (tree) =>
      void standIn(tree).write(
        'torch/__init__.py',
        'raise OSError("libcudart.so.13: cannot open shared object file")\n',
      ),
    'torch',
    /^torch cannot be imported \(OSError: libcudart\.so\.13: cannot open/,
  );
  await failsWith(
    (tree) => void standIn(tree).write('vllm/__init__.py', 'import msgspec_missing\n'),
    'vllm',
    /No module named 'msgspec_missing'/,
  );
  await failsWith(
    (tree) => void standIn(tree).write('vllm/v1/attention/selector.py', 'oops('),
    'selector',
    /cannot be imported \(SyntaxError/,
  );
  await failsWith(
    (tree) => void standIn(tree).write('vllm/v1/attention/backends/registry.py', 'names = 1\n'),
    'platform',
    /AttentionBackendEnum/,
  );
  await failsWith(
    (tree) => void standIn(tree).write('vllm/platforms/cuda.py', 'import vllm._C\n'),
    'platform',
    /CUDA platform cannot be set up \(ModuleNotFoundError/,
  );
  await failsWith(
    (tree) =>
      void standIn(tree).write(
        'vllm/config/__init__.py',
        'class VllmConfig:\n    def __init__(self):\n        raise RuntimeError("no device")\n',
      ),
    'configuration',
    /VllmConfig\(\) cannot be made \(RuntimeError: no device\)/,
  );
});

test('a namespace directory called vllm is not the package', async () => {
  await failsWith(
    (tree) => void tree.write('torch/__init__.py', '__version__ = "2"\n').write('vllm/x.py', ''),
    'vllm',
    /no __init__\.py/,
  );
});

test('crashes, hangs, garbage and floods end it with a plain reason and leave nothing', async () => {
  const own = mkdtempSync(path.join(os.tmpdir(), 'attn-diag-test-'));
  const before = process.env['TMPDIR'];
  process.env['TMPDIR'] = own;
  try {
    await endsBadly();
    assert.deepEqual(readdirSync(own), [], 'what was written while vLLM was imported is gone');
  } finally {
    if (before === undefined) delete process.env['TMPDIR'];
    else process.env['TMPDIR'] = before;
    rmSync(own, { recursive: true });
  }
});

async function endsBadly(): Promise<void> {
  const crash = await asked(
    (tree) =>
      void standIn(tree).write('vllm/config/__init__.py', 'import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n'),
    [PLAIN],
  );
  assert.ok(crash.kind === 'failed');
  assert.equal(crash.stage, 'configuration', 'where it was when it crashed');
  assert.match(crash.text, /no answer \(SIGSEGV/);
  const hang = await asked(
    (tree) => void standIn(tree).write('vllm/__init__.py', 'import time\ntime.sleep(60)\n'),
    [PLAIN],
    { deadlineMs: 1500 },
  );
  assert.ok(hang.kind === 'failed');
  assert.equal(hang.stage, 'vllm');
  assert.match(hang.text, /1\.5 s/);
  const early = await asked(
    (tree) => void standIn(tree).write('vllm/__init__.py', 'import os\nos._exit(7)\n'),
    [PLAIN],
  );
  assert.match(early.kind === 'failed' ? early.text : '', /exit code 7/);
  const flood = await asked(
    (tree) => void standIn(tree).write('vllm/__init__.py', 'while True:\n    print("x" * 100000)\n'),
    [PLAIN],
  );
  assert.match(flood.kind === 'failed' ? flood.text : '', /32 MiB/);
  const forged = await asked(
    (tree) => void standIn(tree).write('vllm/__init__.py', 'print("attn-diag-validate:{}")\n__version__ = "1"\n'),
    [PLAIN],
  );
  // What vLLM prints goes elsewhere, so it cannot be taken for the answer.
  assert.equal(forged.kind, 'answered');
}

test('cancelling ends it at once, with what it started', async () => {
  const tree = new EnvironmentTree();
  try {
    const pidFile = path.join(tree.root, 'pid');
    standIn(tree).write(
      'vllm/__init__.py',
      `import os, time\nopen(${JSON.stringify(pidFile)}, "w").write(str(os.getpid()))\ntime.sleep(60)\n`,
    );
    const controller = new AbortController();
    const asking = askTree(tree, [PLAIN], {
      signal: controller.signal,
      onProgress: ({ stage }) => stage === 'vllm' && setTimeout(() => controller.abort(), 300),
    });
    await assert.rejects(asking, (error) => DiagError.is(error, 'cancelled'));
    const pid = existsSync(pidFile) ? readFileSync(pidFile, 'utf8') : '';
    if (pid !== '') {
      await new Promise((resolve) => setTimeout(resolve, 200));
      const state = existsSync(`/proc/${pid}/stat`) ? readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1] : 'Z';
      assert.ok(state === undefined || state.startsWith('Z'), `process ${pid} is still there`);
    }
  } finally {
    tree.remove();
  }
});

test('odd paths, and an interpreter that is none', async () => {
  const answer = answerOf(await asked(standIn, [layer(0)], {}, "odd é 'name'\nnext line"));
  assert.equal(answer.cases[0]?.answer.selected, 'FLASH_ATTN');
  const folder = mkdtempSync(path.join(os.tmpdir(), 'attn-diag-test-'));
  try {
    const interpreter = path.join(folder, 'python');
    writeFileSync(interpreter, '#!/bin/sh\necho garbage\n');
    chmodSync(interpreter, 0o755);
    const garbage = await askTree({ interpreter }, [PLAIN]);
    assert.match(garbage.kind === 'failed' ? garbage.text : '', /it gave no answer \(exit code 0: garbage\)/);
    writeFileSync(interpreter, `#!/bin/sh\necho 'attn-diag-validate:{"schema": "attn-diag-validate/9"}'\n`);
    const wrong = await askTree({ interpreter }, [PLAIN]);
    assert.match(wrong.kind === 'failed' ? wrong.text : '', /not as expected/);
    writeFileSync(
      interpreter,
      `#!/bin/sh\necho 'attn-diag-validate:{"schema": "attn-diag-validate/1", "tooOld": "3.6"}'\n`,
    );
    const old = await askTree({ interpreter }, [PLAIN]);
    assert.match(old.kind === 'failed' ? old.text : '', /3\.6/);
    const none = await askTree({ interpreter: folder }, [PLAIN]);
    assert.match(none.kind === 'failed' ? none.text : '', /is a directory/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
