/** `explain` and `replay` with files that are not what they are taken for: one sentence, the next step, exit code 1, nothing written. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, open, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';
import { after, before, test } from 'node:test';
import { runCli } from '../../../extension/node/cli/main';

const ODD = 'it\'s "odd"\nünï 名';

let folder = '';

before(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'cli-bad-'));
  const at = (name: string): string => path.join(folder, name);
  const llama = {
    model_type: 'llama',
    hidden_size: 4096,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    num_hidden_layers: 32,
  };
  await writeFile(at('malformed.json'), '{"model_type": ');
  await writeFile(at('deep.json'), '{"a":'.repeat(100_000));
  const big = await open(at('big.json'), 'w');
  await big.truncate(100_000_000);
  await big.close();
  await symlink('b.json', at('a.json'));
  await symlink('a.json', at('b.json'));
  await symlink('loop', at('loop'));
  execFileSync('mkfifo', [at('pipe.json')]);
  await mkdir(at('empty'));
  await mkdir(at('nested/config.json'), { recursive: true });
  await mkdir(at(ODD));
  await writeFile(at(`${ODD}/config.json`), JSON.stringify(llama));
  await writeFile(at(`${ODD}/serve ${ODD}.yaml`), 'attention-backend: FLASH_ATTN\n');
  await writeFile(at('tabs.yaml'), 'attention-config:\n\tbackend: FLASH_ATTN\n');
  await writeFile(at('anchors.yaml'), 'x: &a\n  backend: FLASH_ATTN\nattention-config: *a\n');
  await writeFile(at('twice.yaml'), 'block-size: 16\nblock-size: 32\n');
  await writeFile(at('several.yaml'), 'block-size: 16\n---\nblock-size: 32\n');
  await writeFile(at('garbage'), '#!/bin/sh\nhead -c 100000 /dev/urandom\n');
  await chmod(at('garbage'), 0o755);
});
after(() => rm(folder, { recursive: true, force: true }));

function explain(...args: readonly string[]): Promise<{ code: number; out: string; err: string }> {
  return attnDiag('explain', '--vllm', '0.33.0', '--sm', '9.0', ...args);
}

async function attnDiag(...args: readonly string[]): Promise<{ code: number; out: string; err: string }> {
  let out = '';
  let err = '';
  const code = await runCli(args, {
    input: Readable.from([]),
    out: (text) => (out += text),
    err: (text) => (err += text),
    outIsTerminal: false,
    errIsTerminal: false,
    errColumns: () => 100,
    columns: 400,
    rootDir: process.cwd(),
    helperPath: path.join(folder, 'no-helper'),
    env: { PATH: process.env['PATH'], HOME: folder },
    signal: new AbortController().signal,
    confirm: null,
  });
  return { code, out, err };
}

const REFUSED: readonly (readonly [option: string, file: string, sentence: RegExp])[] = [
  ['--model', 'malformed.json', /cannot be used as a model config: The file is not JSON/],
  ['--model', 'deep.json', /The file is not JSON/],
  ['--model', 'big.json', /is 95\.4 MiB, more than the 4\.0 MiB that are read/],
  ['--model', 'a.json', /too many symbolic links/],
  ['--model', 'loop', /too many symbolic links/],
  ['--model', 'pipe.json', /it is not a file/],
  ['--model', 'empty', /config\.json could not be read: there is no such file/],
  ['--model', 'nested', /config\.json could not be read: it is not a file/],
  ['--model', `${ODD}/none.json`, /there is no such file/],
  ['--config', 'big.json', /more than the 1\.0 MiB that are read/],
  ['--config', 'a.json', /too many symbolic links/],
  ['--config', 'pipe.json', /it is not a file/],
  ['--config', 'empty', /it is not a file/],
  ['--python', 'empty', /is a directory|holds no virtual environment/],
  ['--python', 'loop', /form a loop/],
  ['--python', 'tabs.yaml', /not executable/],
  ['--python', 'garbage', /it gave no answer/],
];

for (const [option, file, sentence] of REFUSED) {
  test(`refused in words: ${option} ${JSON.stringify(file)}`, async () => {
    const report = path.join(folder, 'report.json');
    const there = await readdir(folder);
    const { code, out, err } = await explain(option, path.join(folder, file), '--json', report);
    assert.equal(code, 1);
    assert.match(err, sentence);
    assert.match(err.trimEnd(), /\.\n.+\.$/, 'a sentence, then the next step');
    // eslint-disable-next-line no-control-regex -- what a terminal would take as a command must not come through
    assert.doesNotMatch(err, /[\u0000-\u0008\u000b-\u001f\u007f]|\n\s+at /);
    assert.equal(out, '');
    assert.deepEqual(await readdir(folder), there, 'nothing half-written');
  });
}

const NO_RECORDING: readonly (readonly [file: string, code: number, sentence: RegExp])[] = [
  ['pipe.json', 2, /pipe\.json cannot be read: it is not a file\./],
  ['empty', 2, /cannot be read: it is not a file\./],
  ['loop', 2, /cannot be read: .*too many symbolic links/],
  ['big.json', 1, /is 95\.4 MiB, more than the 64\.0 MiB that are read/],
  ['malformed.json', 2, /is no recording/],
];

for (const [file, code, sentence] of NO_RECORDING) {
  test(`replay of a file that is none ends in words: ${file}`, { timeout: 20_000 }, async () => {
    const refused = await attnDiag('replay', path.join(folder, file));
    assert.equal(refused.code, code);
    assert.match(refused.err, sentence);
  });
}

test('replay of a device that never ends, ends', { timeout: 20_000 }, async () => {
  const { code, err } = await attnDiag('replay', '/dev/zero');
  assert.equal(code, 2);
  assert.match(err, /\/dev\/zero cannot be read: it is not a file\./);
});

const UNDERSTOOD_IN_PART: readonly (readonly [file: string, sentence: RegExp])[] = [
  ['tabs.yaml', /A tab is used for indentation[\s\S]*tabs\.yaml:2:1/],
  ['anchors.yaml', /Anchors and aliases are not followed here; write the value out\.[\s\S]*anchors\.yaml:2/],
  ['twice.yaml', /This key stands twice[\s\S]*twice\.yaml:2:1/],
  ['several.yaml', /The file holds several YAML documents[\s\S]*several\.yaml:2:1/],
];

for (const [file, sentence] of UNDERSTOOD_IN_PART) {
  test(`an error at its place: ${file}`, async () => {
    const { code, out } = await explain('--config', path.join(folder, file));
    assert.equal(code, 1);
    assert.match(out, sentence);
  });
}

test('spaces, quotes, a line break and other letters in the names of files are only names', async () => {
  const model = path.join(folder, ODD);
  const { code, out, err } = await explain('--model', model, '--config', path.join(model, `serve ${ODD}.yaml`));
  assert.deepEqual([code, err], [0, '']);
  assert.match(out, /FLASH_ATTN/);
});
