/** `attn-diag explain --validate` end to end, against a stand-in vLLM that answers other than the release it claims to be. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import { after, test } from 'node:test';
import { parseReport } from '../../../extension/core/report/report';
import type { CliIo } from '../../../extension/node/cli/io';
import { runCli } from '../../../extension/node/cli/main';
import { EnvironmentTree } from '../python/environmentTree';

const tree = new EnvironmentTree('validate');
tree.add('askable').dist('vllm', '0.33.0').dist('torch', '2.99.0');
const broken = new EnvironmentTree('broken');
broken
  .dist('vllm', '0.33.0')
  .write('vllm/__init__.py', 'raise OSError("libcudart.so.13: cannot open shared object file")\n');
const bare = new EnvironmentTree('bare');
bare.dist('torch', '2.99.0');
broken.write('torch/__init__.py', '__version__ = "2"\n');
for (const each of [tree, broken]) {
  for (const name of ['_vllm_fa2_C.abi3.so', '_vllm_fa3_C.abi3.so']) each.write(`vllm/vllm_flash_attn/${name}`, '');
}
after(() => {
  tree.remove();
  broken.remove();
  bare.remove();
});

async function explain(
  args: readonly string[],
  changes: Partial<CliIo> = {},
): Promise<{ code: number; out: string; err: string }> {
  let out = '';
  let err = '';
  const code = await runCli(['explain', ...args], {
    input: Readable.from([]),
    out: (text) => (out += text),
    err: (text) => (err += text),
    outIsTerminal: false,
    errIsTerminal: false,
    errColumns: () => 100,
    columns: 100,
    rootDir: process.cwd(),
    helperPath: path.join(__dirname, 'no-helper.mjs'),
    env: { ...process.env },
    signal: new AbortController().signal,
    confirm: null,
    ...changes,
  });
  return { code, out, err };
}

const ASK = ['--python', tree.interpreter, '--validate', '--sm', '9.0', '--head-dim', '128', '--page', '16'];

test('the installed vLLM overrules the catalog, with both answers, in text', async () => {
  const { code, out, err } = await explain(ASK);
  assert.equal(code, 0, 'a defect of the catalog is no error of the user');
  assert.match(err, /Asking the installed vLLM: importing torch/);
  assert.match(out, /The installed vLLM 0\.33\.0 itself \(compute capability 9\.0, stated/);
  assert.match(out, /d128 +FLASH_ATTN +3 +contradicts: refused/);
  assert.match(out, /warning: d128: the installed vLLM 0\.33\.0 contradicts the catalog \(refused\)/);
  assert.match(out.replace(/\s+/g, ' '), /says about priority order: FLASH_ATTN,FLASHINFER,TRITON_ATTN\./);
  assert.match(out.replace(/\s+/g, ' '), /was asked with stand-ins/);
});

test('and as JSON, with a bug report that replay fails on', async () => {
  const file = path.join(tree.root, 'bug report.json');
  const { code, out } = await explain([...ASK, '--json', '--bug-report', file]);
  assert.equal(code, 0);
  const { explanation } = parseReport(out, 'stdout');
  const found = explanation as {
    validation: { kind: string };
    evaluation: { selections: { level?: string }[] };
    findings: { code: string; level: string; fixes: { id: string }[] }[];
  };
  assert.equal(found.validation.kind, 'answered');
  assert.equal(found.evaluation.selections[0]?.level, 'validated');
  const contradiction = found.findings.find((each) => each.code === 'catalogContradiction');
  assert.deepEqual([contradiction?.level, contradiction?.fixes[0]?.id], ['validated', 'export-bug-report']);
  const text = await readFile(file, 'utf8');
  assert.match(text, /"schema": "attn-oracle\/1"/);
  let replayed = '';
  const io = { out: (part: string) => (replayed += part) };
  assert.equal(await runReplay(file, io), 1);
  assert.match(replayed, /priority order: recorded FLASH_ATTN,FLASHINFER,TRITON_ATTN computed/);
});

async function runReplay(file: string, io: Pick<CliIo, 'out'>): Promise<number> {
  return runCli(['replay', file], {
    input: Readable.from([]),
    err: () => undefined,
    outIsTerminal: false,
    errIsTerminal: false,
    errColumns: () => 100,
    columns: 200,
    rootDir: process.cwd(),
    helperPath: '',
    env: {},
    signal: new AbortController().signal,
    confirm: null,
    ...io,
  });
}

test('a vLLM that cannot be imported is a reason, exit code 1, and the declared answer stays', async () => {
  const { code, out } = await explain([
    '--python',
    broken.interpreter,
    '--validate',
    '--sm',
    '9.0',
    '--head-dim',
    '128',
  ]);
  assert.equal(code, 1);
  assert.match(out, /error: The installed vLLM could not be asked/);
  assert.match(out.replace(/\s+/g, ' '), /vllm cannot be imported \(OSError: libcudart\.so\.13/);
  assert.match(out, /d128 +FLASH_ATTN \(FA3\)/);
});

test('an environment without vLLM cannot be asked: exit code 1, and what to choose instead', async () => {
  const { code, out, err } = await explain(['--python', bare.interpreter, '--validate', '--sm', '9.0']);
  assert.equal(code, 1);
  assert.equal(out, '');
  assert.match(
    err,
    /cannot be used: there is no vLLM in .+ to ask\.\nChoose the Python of the environment that has vLLM/,
  );
});

test('without an answer there is no bug report, which is told; exit code and report are those without it', async () => {
  const file = path.join(broken.root, 'none.md');
  const ask = ['--python', broken.interpreter, '--validate', '--sm', '9.0', '--bug-report', file, '--json'];
  const { code, out, err } = await explain(ask);
  assert.equal(code, 1);
  assert.equal(parseReport(out, 'stdout').command, 'explain');
  assert.match(err, /No bug report was written: the installed vLLM gave no answer\.$/m);
  await assert.rejects(readFile(file), { code: 'ENOENT' });
});

test('usage: there must be somebody to ask, about itself, one family', async () => {
  const cases: readonly [readonly string[], RegExp][] = [
    [['--validate', '--sm', '9.0'], /name it with --python/],
    [[...ASK, '--vllm', '0.20.2'], /installed vLLM 0\.33\.0, and --vllm names 0\.20\.2/],
    [['--python', tree.interpreter, '--validate', '--sm', '9.0,10.0'], /one SM family/],
    [['--sm', '9.0', '--bug-report', 'x.md'], /--bug-report needs --validate/],
  ];
  for (const [args, sentence] of cases) {
    const { code, err } = await explain(args);
    assert.equal(code, 2, args.join(' '));
    assert.match(err, sentence);
  }
});
