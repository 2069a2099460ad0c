import assert from 'node:assert/strict';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';
import { after, test } from 'node:test';
import { parseReport } from '../../../extension/core/report/report';
import { runCli } from '../../../extension/node/cli/main';

const root = await mkdtemp(path.join(os.tmpdir(), 'cli-backends-'));
after(() => rm(root, { recursive: true, force: true }));
// An installation whose runner is the stand-in.
await mkdir(path.join(root, 'extension', 'python'), { recursive: true });
await copyFile('test/unit/node/fake_bench.py', path.join(root, 'extension', 'python', 'bench_backends.py'));
await copyFile('package.json', path.join(root, 'package.json'));

const PYTHON = ['--python', '/usr/bin/python3'];
const SMALL = ['--cpu', '--head-dim', '64', '--page', 'contiguous,16', '--no-ceilings'];

async function attnDiag(
  args: readonly string[],
  engines: Readonly<Record<string, object>> = {},
  env: NodeJS.ProcessEnv = {},
  gpu: { readonly cancelAt: RegExp } | null = null,
): Promise<{ code: number; out: string; err: string }> {
  await writeFile(path.join(root, 'behaviour.json'), JSON.stringify({ engines }));
  let out = '';
  let err = '';
  const counterFile = path.join(root, 'starts');
  const interrupt = new AbortController();
  const code = await runCli(args, {
    input: Readable.from([]),
    out: (text) => (out += text),
    err: (text) => {
      err += text;
      if (gpu?.cancelAt.test(err) === true) interrupt.abort();
    },
    outIsTerminal: false,
    errIsTerminal: false,
    errColumns: () => 100,
    columns: 140,
    rootDir: root,
    helperPath: path.join(__dirname, 'fakeHelper.child.mjs'),
    env: {
      PATH: process.env['PATH'],
      HOME: root,
      FAKE_HELPER: JSON.stringify({ counterFile, gpu: gpu !== null }),
      ...env,
    },
    signal: interrupt.signal,
    confirm: null,
  });
  return { code, out, err };
}

const mistakes: readonly [string[], RegExp][] = [
  [['--backends', 'fa5', ...PYTHON], /no backend "fa5".*torch\.sdpa\.flash/s],
  [['--backends', 'all'], /--backends needs --python PATH/],
  [PYTHON, /--python needs --backends/],
  [['--rounds', '7'], /--rounds needs --backends/],
  [['--backends', 'all', ...PYTHON, '--rounds', '0'], /--rounds takes a whole number/],
  [['--backends', 'all', '--python', root], /holds no virtual environment/],
  [['--backends', 'all', ...PYTHON, ...PYTHON], /--python PATH without names is given twice/],
  [['--backends', 'fa2.vllm', ...PYTHON, '--python', 'ffpa=/usr/bin/python3'], /ffpa, which is not among --backends/],
  [['--backends', 'fa2.vllm', ...PYTHON, '--python', 'fa5=/usr/bin/python3'], /no backend "fa5"/],
  [['--backends', 'fa2.vllm,ffpa', '--python', 'ffpa=/usr/bin/python3'], /--backends needs --python PATH/],
];
for (const [args, sentence] of mistakes) {
  test(`usage: run ${args.join(' ').replace(root, 'FOLDER')}`, async () => {
    const { code, err } = await attnDiag(['run', ...SMALL, ...args]);
    assert.equal(code, 2);
    assert.match(err, sentence);
  });
}

test('libraries are rows below each case with host and first-call time; a missing one is listed and nothing fails', async () => {
  const file = path.join(root, 'report.json');
  const { code, out, err } = await attnDiag(
    ['run', ...SMALL, '--backends', 'torch.sdpa.math,fa3.vllm,fa2.vllm', ...PYTHON, '--json', file],
    { 'fa3.vllm': { describe: 'missing' }, 'fa2.vllm': { cases: { 1: 'refuse' } } },
  );
  assert.equal(code, 0, err);
  assert.match(out, /fa3\.vllm +not there: fa3\.vllm is not installed/);
  assert.match(out, /torch\.sdpa\.math +1\.2\.3, torch 2\.11\.0\+cpu/);
  assert.match(out, /prefill d64.* contig +bundled/);
  assert.match(out, /\n +torch\.sdpa\.math +1\.00 ms .* 12\.0 µs .* ok/);
  assert.match(out, /\n +fa2\.vllm .*unsupported: only head\s+size 64/);
  const report = parseReport(await readFile(file, 'utf8'), file);
  assert.deepEqual(
    report.rows.map((row) => [row.case.pageSize, row.engine]),
    [null, 16].flatMap((page) => ['bundled', 'torch.sdpa.math', 'fa2.vllm'].map((engine) => [page, engine])),
  );
  assert.deepEqual(
    report.libraries?.map((library) => [library.engine, library.available]),
    [
      ['torch.sdpa.math', true],
      ['fa3.vllm', false],
      ['fa2.vllm', true],
    ],
  );
});

// On a GPU, where findings follow: looking into the environment for them is what a cancelled command no longer does.
test('a cancelled run writes the report of what it has', async () => {
  const file = path.join(root, 'cancelled.json');
  const { code, err } = await attnDiag(
    ['run', ...SMALL.filter((word) => word !== '--cpu'), '--backends', 'fa2.vllm', ...PYTHON, '--json', file],
    {},
    {},
    { cancelAt: /1\/2 fa2\.vllm/ },
  );
  assert.equal(code, 130, err);
  const { rows } = parseReport(await readFile(file, 'utf8'), file);
  assert.ok(rows.some((row) => row.engine === 'fa2.vllm' && row.result.status === 'ok'));
});

test('--json alone is the report and nothing else; a crash is a row and exit code 1', async () => {
  const { code, out } = await attnDiag(['run', ...SMALL, '--backends', 'fa2.vllm', ...PYTHON, '--json'], {
    'fa2.vllm': { cases: { 1: 'segv' } },
  });
  assert.equal(code, 1);
  const crashed = parseReport(out, 'stdout').rows.filter((row) => row.engine === 'fa2.vllm');
  assert.deepEqual(
    crashed.map((row) => row.result.status),
    ['crashed', 'crashed'],
  );
});

test('both FlashAttention 4: one command shows per case which works, how fast, at what host cost', async () => {
  const { code, out } = await attnDiag(['run', ...SMALL, '--backends', 'fa4.system,fa4.vllm', ...PYTHON], {
    'fa4.system': { ms: 1 },
    'fa4.vllm': { ms: 1.5 },
  });
  assert.equal(code, 0);
  assert.match(out, /What use_system_flash_attn exchanges/);
  assert.match(
    out,
    /prefill d64 2\/1 q128 kv256 causal contig +1\.00 ms +100 TFLOP\/s +12\.0 µs +1\.50 ms +100 TFLOP\/s +12\.0 µs +×1\.50/,
  );
});

test('libraries that exclude each other come from environments of their own, in one run', async () => {
  const other = path.join(root, 'other', 'bin', 'python');
  await mkdir(path.dirname(other), { recursive: true });
  await writeFile(other, `#!/bin/sh\necho "$@" >> ${path.join(root, 'asked')}\nexec /usr/bin/python3 "$@"\n`, {
    mode: 0o755,
  });
  const run = ['run', ...SMALL, '--backends', 'fa2.vllm,ffpa,fa4.vllm'];
  const mixed = await attnDiag([...run, ...PYTHON, '--python', `ffpa,fa4.vllm=${path.join(root, 'other')}`]);
  assert.equal(mixed.code, 0, mixed.err);
  for (const engine of ['fa2.vllm', 'ffpa', 'fa4.vllm']) assert.match(mixed.out, new RegExp(`${engine} +1\\.2\\.3`));
  // Two engines describe themselves, compile and run there; the third was never started there.
  assert.equal((await readFile(path.join(root, 'asked'), 'utf8')).trim().split('\n').length, 6);
  const alone = await attnDiag([...run.slice(0, -1), 'ffpa', '--python', `ffpa=${other}`]);
  assert.equal(alone.code, 0, alone.err);
});

test('--cases names whole cases in a file, and nothing else may shape them', async () => {
  const file = path.join(root, 'cases.json');
  const shape = { op: 'prefill', qHeads: 2, kvHeads: 1, batch: 1, qLens: 32, kvLens: 32, causal: true };
  await writeFile(file, JSON.stringify([192, 64].map((headDim) => ({ ...shape, headDim, headDimV: 64 }))));
  const right = await attnDiag(['run', '--cpu', '--no-ceilings', '--cases', file, '--backends', 'fa2.vllm', ...PYTHON]);
  assert.equal(right.code, 0, right.err);
  assert.match(right.out, /prefill d192\/64 2\/1 q32 causal [^]*prefill d64 /);
  for (const more of [['--preset', 'quick'], ['--head-dim', '64'], ['--full']]) {
    const both = await attnDiag(['run', '--cpu', '--cases', file, ...more]);
    assert.equal(both.code, 2);
    assert.match(both.err, /--preset and the options of the shape do not go with it/);
  }
  await writeFile(file, '{"op": "prefill"}');
  const broken = await attnDiag(['run', '--cpu', '--cases', file]);
  assert.equal(broken.code, 1);
  assert.match(broken.err, /cases\.json is not a list of cases: it is not a list/);
  assert.match((await attnDiag(['run', '--cpu', '--cases', `${file}.not`])).err, /no such file/);
});

test('the active virtual environment is the interpreter when none is named', async () => {
  const venv = path.join(root, 'env');
  await mkdir(path.join(venv, 'bin'), { recursive: true });
  await writeFile(path.join(venv, 'bin', 'python'), '#!/bin/sh\nexec /usr/bin/python3 "$@"\n', { mode: 0o755 });
  const { code, out, err } = await attnDiag(['run', ...SMALL, '--backends', 'fa2.vllm'], {}, { VIRTUAL_ENV: venv });
  assert.equal(code, 0, err);
  assert.match(out, /fa2\.vllm +1\.2\.3/);
});

test('an interpreter that does not exist is told in words, with the next step', async () => {
  const { code, err } = await attnDiag(['run', ...SMALL, '--backends', 'all', '--python', '/no/such/python']);
  assert.equal(code, 1);
  assert.match(err, /\/no\/such\/python cannot be used: there is no such file/);
});
