/** What `attn-diag explain` prints about a model and about flipping the flag. */
import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { runCli } from '../../../extension/node/cli/main';

async function explain(...args: readonly string[]): Promise<string> {
  let out = '';
  await runCli(['explain', '--sm', '9.0', ...args], {
    input: Readable.from([]),
    out: (text) => (out += text),
    err: (text) => assert.fail(text),
    outIsTerminal: false,
    errIsTerminal: false,
    columns: 300,
    rootDir: process.cwd(),
    helperPath: '',
    env: {},
    signal: new AbortController().signal,
    confirm: null,
  });
  return out;
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
