/** What `attn-diag explain` prints about a model and about flipping the flag. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';
import { after, test } from 'node:test';
import { runCli } from '../../../extension/node/cli/main';

const folder = await mkdtemp(path.join(os.tmpdir(), 'explain-'));
after(() => rm(folder, { recursive: true, force: true }));

async function explain(...args: readonly string[]): Promise<string> {
  return (await answer(300, '--sm', '9.0', ...args)).out;
}

async function answer(columns: number, ...args: readonly string[]): Promise<{ out: string; code: number }> {
  let out = '';
  const code = await runCli(['explain', ...args], {
    input: Readable.from([]),
    out: (text) => (out += text),
    err: (text) => assert.fail(text),
    outIsTerminal: false,
    errIsTerminal: false,
    errColumns: () => 100,
    columns,
    rootDir: process.cwd(),
    helperPath: '',
    env: {},
    signal: new AbortController().signal,
    confirm: null,
  });
  return { out, code };
}

async function serveFile(name: string, text: string): Promise<string> {
  const file = path.join(folder, name);
  await writeFile(file, text);
  return file;
}

test('an MLA model gets MLA backends in the matrix, and the text says what was asked', async () => {
  const out = await explain('--model', 'test/fixtures/models/deepseek-v3.json');
  assert.match(out, /^FLASH_ATTN_MLA +yes \/ yes$/m);
  assert.doesNotMatch(out, /^(TRITON_ATTN|FLEX_ATTENTION) /m);
  assert.match(out, /Asked about the model's layers .*: mla_attention d576\./);
});

test('a change that the flag makes in every layout is one line', async () => {
  const model = ['--model', 'test/fixtures/models/gemma-4-31b.json', '--system-fa4', 'diff'];
  const out = await explain(...model);
  const lines = out.split('\n').filter((line) => line.includes('→'));
  assert.equal(new Set(lines.map((line) => line.slice(0, 60))).size, lines.length);
  assert.match(out, /^TRITON_FLASH_ATTN +d512 +every layout +works +yes → no /m);
  assert.doesNotMatch(out, /The flag changes nothing/);
  assert.match(out, /system FA4 is called for full_attention d512 and refuses it/);
});

test('the JSON keeps every cell of every layout', async () => {
  const out = await explain('--head-dim', '72', '--page', 'contiguous,16,64', '--system-fa4', 'diff', '--json', '-');
  const { explanation } = JSON.parse(out) as { explanation: { cells: readonly { pageSize: number | null }[] } };
  assert.equal(new Set(explanation.cells.map((cell) => cell.pageSize)).size, 3);
});

const GEMMA4 = ['--model', 'test/fixtures/models/gemma-4-31b.json'];

test('families stand side by side where they fit, and below each other where they do not', async () => {
  const wide = await answer(300, '--sm', '8.0,9.0,sm_100', ...GEMMA4);
  assert.match(wide.out, /^layer group +SM80 Ampere +SM90 Hopper +SM100 Blackwell$/m);
  assert.match(wide.out, /^full_attention d512 +TRITON_ATTN, block 16 +TRITON_FLASH_ATTN \(FA4\), block 16 +TRITON_/m);
  assert.match(wide.out, /^warning: SM80: vLLM 0\.33\.0 sets TRITON_ATTN itself/m);
  assert.equal(wide.code, 0);
  const narrow = await answer(60, '--sm', '8.0,9.0,sm_100', ...GEMMA4);
  assert.match(narrow.out, /^full_attention d512 +SM80 Ampere +TRITON_ATTN, block 16$/m);
});

test('a family without a backend is an error of the comparison, with vLLM’s own words', async () => {
  const file = await serveFile('sinks.yaml', 'attention-backend: FLASH_ATTN\n');
  const { out, code } = await answer(
    200,
    ...['--sm', '8.0,9.0', '--vllm', '0.24.0', '--config', file, '--model', 'test/fixtures/models/gpt-oss-20b.json'],
  );
  assert.equal(code, 1);
  assert.match(out, /^full_attention d64 +none \[1\] +FLASH_ATTN \(FA3\), block 16$/m);
  assert.match(out, /^\[1\] .*sink not supported on compute capability < 9\.0/m);
});

test('an upgrade says what changes, why, and what it brings and solves', async () => {
  const { out, code } = await answer(200, '--sm', '9.0', '--vllm', '0.19.0', '--upgrade-to', '0.33.0', ...GEMMA4);
  assert.equal(code, 0);
  assert.match(out, /^From vLLM 0\.19\.0 to 0\.33\.0 on SM90 Hopper, model gemma-4-31b/);
  assert.match(out, /^full_attention d512 +TRITON_ATTN.* TRITON_FLASH_ATTN \(FA4\), block 16 +changed: /m);
  assert.match(out, /^Is gone with 0\.33\.0:\n- warning: .*TRITON_ATTN/m);
  const same = await answer(200, '--sm', '9.0', '--vllm', '0.32.0', '--upgrade-to', 'newest', '--head-dim', '128');
  assert.match(same.out, /^d128 .* same$/m);
});

test('the release upgraded to decides the exit code', async () => {
  const file = await serveFile('flag.yaml', 'attention-config.use_system_flash_attn: true\n');
  const up = ['--sm', '9.0', '--head-dim', '128', '--config', file];
  assert.equal((await answer(200, ...up, '--vllm', '0.14.0', '--upgrade-to', '0.33.0')).code, 1);
  assert.equal((await answer(200, ...up, '--vllm', '0.33.0', '--upgrade-to', '0.14.0')).code, 0);
});

test('the JSON of a comparison has every column whole, and why each cell differs from the first', async () => {
  const { out } = await answer(100, '--sm', '8.0,9.0', ...GEMMA4, '--json', '-');
  const { explanation } = JSON.parse(out) as {
    explanation: {
      comparison: {
        columns: readonly { capability: readonly number[]; evaluation: { verdicts: readonly unknown[] } }[];
        rows: readonly { cells: readonly { differs: boolean; why: readonly { text: string }[] }[] }[];
      };
    };
  };
  const { columns, rows } = explanation.comparison;
  assert.deepEqual(
    columns.map((column) => column.capability),
    [
      [8, 0],
      [9, 0],
    ],
  );
  assert.ok(columns.every((column) => column.evaluation.verdicts.length > 0));
  assert.deepEqual(
    rows[0]?.cells.map((cell) => cell.differs),
    [false, true],
  );
  assert.ok((rows[0]?.cells[1]?.why.length ?? 0) > 0);
});

test('findings end with what to do: edits with their line, and text to copy', async () => {
  const file = await serveFile('run.sh', 'export VLLM_ATTENTION_BACKEND=FLASHINFER\nvllm serve m\n');
  const { out } = await answer(200, '--sm', '9.0', '--head-dim', '128', '--config', file);
  assert.match(out, /^ {2}→ Remove VLLM_ATTENTION_BACKEND \(run\.sh:1\)$/m);
  assert.match(out, /^ {2}→ --attention-config\.backend=FLASHINFER$/m);
  assert.match(out, /^ {2}at .*run\.sh:1:8$/m);
});
