import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import type { EnvironmentFacts } from '../../../extension/core/environment';
import {
  declaresAttentionField,
  environmentTraps,
  installedVllmVersion,
  libraryAvailability,
} from '../../../extension/core/environment';
import { EnvironmentTree } from './environmentTree';

/** Builds an environment, probes it, removes it. */
async function probed(build: (tree: EnvironmentTree) => void, name?: string): Promise<EnvironmentFacts> {
  const tree = new EnvironmentTree(name);
  try {
    build(tree);
    return await tree.probe();
  } finally {
    tree.remove();
  }
}

const trapCodes = (facts: EnvironmentFacts): string[] => environmentTraps(facts).map((trap) => trap.code);

test('a modern vLLM: fields, enum, priorities, vendored FlashAttention', async () => {
  const facts = await probed((tree) => {
    tree.add('modern').dist('vllm', '0.33.0');
    for (const name of ['_vllm_fa2_C.abi3.so', '_vllm_fa3_C.abi3.so']) tree.write(`vllm/vllm_flash_attn/${name}`, '');
    tree.write('vllm/_flashmla_C.abi3.so', '');
  });
  assert.deepEqual(facts.problems, []);
  assert.equal(installedVllmVersion(facts), '0.33.0');
  assert.deepEqual(
    facts.vllm?.attentionConfig?.fields.map((field) => [field.name, field.literals, field.default]),
    [
      ['backend', [], 'None'],
      ['flash_attn_version', [2, 3, 4], 'None'],
      ['backend_per_kind', [], 'Field( default_factory=dict, )'],
      ['use_trtllm_attention', [], 'None'],
    ],
  );
  assert.equal(facts.vllm.attentionConfig.forbidsUnknown, true);
  assert.deepEqual(facts.vllm.backends?.members, ['FLASH_ATTN', 'FLASHINFER', 'TRITON_ATTN', 'CUSTOM']);
  const priorities = facts.vllm.priorities ?? {};
  assert.deepEqual(priorities['standard']?.['9'], ['FLASH_ATTN', 'FLASHINFER']);
  assert.deepEqual(priorities['standardMmPrefix']?.['9'], ['TRITON_FLASH_ATTN', 'FLASH_ATTN', 'FLASHINFER']);
  assert.deepEqual(priorities['standardMmPrefix']?.['10'], ['TRITON_FLASHINFER', 'FLASHINFER', 'FLASH_ATTN']);
  assert.deepEqual(priorities['standardNonCausal']?.['10'], ['FLASH_ATTN', 'FLASHINFER']);
  assert.deepEqual(priorities['mla']?.['9'], ['FLASH_ATTN_MLA', 'FLASHMLA_SPARSE', 'FLASHINFER_MLA_SPARSE_SM90']);
  assert.deepEqual(priorities['mlaFewHeads']?.['10'], ['FLASHINFER_MLA', 'FLASH_ATTN_MLA_SPARSE_FA4']);
  assert.deepEqual(priorities['mlaFp8']?.['10'], ['FLASHINFER_MLA', 'FLASHINFER_MLA_SPARSE']);
  assert.equal(facts.vllm.fa4?.sm90HeadDimMax, 512, 'from the comparison, not from the message that says 256');
  assert.deepEqual([facts.vllm.fa4.forwardReturns, facts.vllm.fa4.forwardParameters.at(-1)], [4, 'fp8_kv_dequant']);
  assert.deepEqual([facts.vllm.rotaryImport, facts.vllm.probesSystemFa4], ['guarded', false]);
  assert.deepEqual(libraryAvailability(facts), {
    fa2: true,
    fa3: true,
    fa4: true,
    flashinfer: false,
    flashinferCompiler: facts.nvcc !== null && facts.ninja !== null,
    flashinferCubins: null,
    flashmla: true,
    tokenspeedMla: false,
    systemFa4: false,
  });
  assert.equal(declaresAttentionField(facts, 'use_system_flash_attn'), false);
  assert.equal(declaresAttentionField(facts, 'backend_per_kind'), true);
});

test('an older vLLM: enum elsewhere, two-argument priorities, no FA4, unknown fields ignored', async () => {
  const facts = await probed((tree) => void tree.add('middle').dist('vllm', '0.13.0'));
  assert.deepEqual(facts.problems, []);
  assert.equal(facts.vllm?.attentionConfig?.forbidsUnknown, false);
  assert.deepEqual(facts.vllm.backends?.members, ['FLASH_ATTN', 'TRITON_ATTN']);
  assert.deepEqual(Object.keys(facts.vllm.priorities ?? {}), ['mla', 'standard']);
  assert.deepEqual([facts.vllm.fa4, facts.vllm.fa4Exists, facts.vllm.probesSystemFa4], [null, false, true]);
  assert.deepEqual(trapCodes(facts), []);
});

test('flash-attn-4 alone breaks rotary models of an older vLLM, and not of a newer one', async () => {
  const older = await probed((tree) => void tree.add('middle', 'flashAttn4').dist('vllm', '0.19.1'));
  assert.ok(trapCodes(older).includes('rotaryImportBreaks'));
  const newer = await probed((tree) => void tree.add('modern', 'flashAttn4').dist('vllm', '0.33.0'));
  assert.ok(!trapCodes(newer).includes('rotaryImportBreaks'));
  const withFa2 = await probed((tree) => {
    tree.add('middle', 'flashAttn4').dist('vllm', '0.19.1').write('flash_attn/__init__.py', '');
    tree.write('flash_attn/ops/triton/rotary.py', '').dist('flash-attn', '2.8.3');
  });
  assert.ok(!trapCodes(withFa2).includes('rotaryImportBreaks'));
});

test('the system FA4: version from the distribution, limits and arity from its own file', async () => {
  const facts = await probed((tree) => void tree.add('flashAttn4'));
  const fa4 = facts.systemFa4;
  assert.deepEqual([fa4?.version, fa4?.importedIsOwn, fa4?.owners], ['4.0.0b36', true, ['flash-attn-4']]);
  assert.deepEqual(
    [fa4?.cute?.sm90HeadDimMax, fa4?.cute?.forwardReturns, fa4?.cute?.refusesSplitKvOnSm90],
    [256, 5, true],
  );
  assert.equal(libraryAvailability(facts).systemFa4, '4.0.0b36');
  assert.equal(facts.vllm, null);
  assert.equal(libraryAvailability(facts).fa4, null);
});

test('stale copies: files gone, shadowed by flash-attn, directories left over', async () => {
  const gone = await probed((tree) => void tree.dist('flash-attn-4', '4.0.0b36'));
  assert.deepEqual(trapCodes(gone), ['systemFa4FilesMissing']);
  const elsewhere = new EnvironmentTree();
  try {
    elsewhere.add('flashAttn4').write('zz.pth', `${path.join(elsewhere.root, 'extra')}\n`);
    mkdirSync(path.join(elsewhere.root, 'extra', 'flash_attn', 'cute'), { recursive: true });
    for (const file of ['__init__.py', 'cute/interface.py']) {
      writeFileSync(path.join(elsewhere.root, 'extra', 'flash_attn', file), '');
    }
    const facts = await elsewhere.probe();
    // A regular package hides every namespace directory, also one that stands earlier on the path.
    assert.ok(trapCodes(facts).includes('systemFa4Shadowed'));
  } finally {
    elsewhere.remove();
  }
  const leftover = await probed((tree) => void tree.write('flash_attn/cute/readme.txt', ''));
  assert.deepEqual(trapCodes(leftover), ['flashAttnLeftover']);
});

test('requirements: ranges, wildcards, exact local builds, markers, extras, missing distributions', async () => {
  const conflictsOf = async (requirement: string, version: string): Promise<boolean> => {
    const facts = await probed((tree) => void tree.dist('vllm', '0.33.0', [requirement]).dist('torch', version));
    return facts.conflicts.length > 0;
  };
  const table: ReadonlyArray<readonly [string, string, boolean]> = [
    ['torch==2.14.0', '2.14.0+cu130', false],
    ['torch==2.14.0', '2.14.1', true],
    ['torch<3,>=2.9', '2.14.0', false],
    ['torch!=2.14.*', '2.14.0', true],
    ['torch~=2.14.0', '2.15.0', true],
    ['torch>=2.14.0', '2.14.0.dev20260101', true],
    ['torch>=2.14.0', '2.14.0rc1', true],
    ['torch>=2.14.0', '2.14.0.post1', false],
    ['torch==1.0; extra == "rocm"', '2.14.0', false],
    ['torch==1.0; python_version < "3.0"', '2.14.0', false],
    ['torch==1.0; platform_system == "Linux" or sys_platform != "linux"', '2.14.0', true],
    ['torch==1.0; this is not a marker', '2.14.0', false],
  ];
  for (const [requirement, version, conflict] of table) {
    assert.equal(await conflictsOf(requirement, version), conflict, `${requirement} with ${version}`);
  }
  const missing = await probed((tree) => void tree.add('flashAttn4'));
  assert.deepEqual(
    missing.conflicts.map((conflict) => [conflict.by, conflict.name, conflict.installed]),
    [
      ['flash-attn-4', 'nvidia-cutlass-dsl', null],
      ['flash-attn-4', 'apache-tvm-ffi', null],
    ],
  );
});

test('FlashInfer counts when its kernels are prebuilt; cubins of another version are a trap', async () => {
  const facts = await probed((tree) => {
    tree.add('modern').dist('vllm', '0.33.0').write('flashinfer/__init__.py', 'raise SystemExit(3)\n');
    tree
      .write('flashinfer_cubin/__init__.py', '')
      .dist('flashinfer-python', '0.7.2.post1')
      .dist('flashinfer-cubin', '0.7.0');
  });
  assert.deepEqual([libraryAvailability(facts).flashinfer, libraryAvailability(facts).flashinferCubins], [true, true]);
  assert.deepEqual(trapCodes(facts), ['cubinVersionDiffers']);
});

test('garbage around it: broken metadata, files that are no Python, loops, missing parts, odd paths', async () => {
  const facts = await probed((tree) => {
    tree.add('modern').dist('vllm', '0.33.0');
    tree.write('torch-1.dist-info/METADATA', '\u0000\u0001 not metadata');
    tree.write('garbage.dist-info/RECORD', 'x');
    mkdirSync(path.join(tree.sitePackages, 'triton-3.0.dist-info'));
    tree.write('vllm/config/attention.py', 'class AttentionConfig(:\n');
    tree.write(
      'vllm/platforms/cuda.py',
      'def _get_backend_priorities(use_mla, device_capability):\n    while True: pass\n',
    );
    tree.write('vllm/vllm_flash_attn/cute/interface.py', `x = ${'('.repeat(5000)}`);
    symlinkSync('loop.py', path.join(tree.sitePackages, 'loop.py'));
    symlinkSync(path.join(tree.sitePackages, 'flash_attn'), path.join(tree.sitePackages, 'flash_attn'));
  }, 'it\'s a "quoted" ünï\ncode');
  assert.equal(facts.vllm?.version, '0.33.0');
  assert.deepEqual([facts.vllm.attentionConfig, facts.vllm.priorities, facts.vllm.fa4], [null, null, null]);
  assert.equal(facts.problems.length, 3);
  assert.equal(declaresAttentionField(facts, 'backend'), null, 'unreadable is unknown, not absent');
  assert.deepEqual(facts.vllm.backends?.members.length, 4);
});

test('a vllm directory without __init__.py, and the same distribution twice', async () => {
  const facts = await probed((tree) => {
    tree.write('vllm/readme.txt', '').write('zz.pth', `${path.join(tree.root, 'extra')}\n`);
    tree.dist('torch', '2.14.0');
    mkdirSync(path.join(tree.root, 'extra', 'torch-2.9.0.dist-info'), { recursive: true });
    const metadata = path.join(tree.root, 'extra', 'torch-2.9.0.dist-info', 'METADATA');
    writeFileSync(metadata, 'Metadata-Version: 2.1\nName: torch\nVersion: 2.9.0\n');
  });
  assert.deepEqual(trapCodes(facts), ['vllmIsNamespace', 'duplicateDist']);
  assert.equal(facts.dists['torch']?.version, '2.14.0');
});

test('the probe says how long it took and leaves nothing behind', async (t) => {
  const tree = new EnvironmentTree();
  try {
    tree.add('modern', 'flashAttn4').dist('vllm', '0.33.0');
    const facts = await tree.probe();
    assert.ok(facts.durationMs > 0);
    t.diagnostic(`${facts.durationMs} ms`);
    assert.equal(readdirSync(tree.sitePackages).filter((name) => name.includes('pycache')).length, 0);
    assert.ok(!existsSync(path.resolve('extension/python/__pycache__')));
  } finally {
    tree.remove();
  }
});
