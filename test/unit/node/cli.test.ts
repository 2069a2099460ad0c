import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';
import { after, test } from 'node:test';
import { emptyResult } from '../../../extension/core/measure/emptyResult';
import { createReport, parseReport, printReport } from '../../../extension/core/report/report';
import type { CliIo } from '../../../extension/node/cli/io';
import { runCli } from '../../../extension/node/cli/main';
import type { FakeBehaviour } from './fakeBehaviour';
import { sampleCase } from './sampleCase';

const folder = await mkdtemp(path.join(os.tmpdir(), 'cli-'));
after(() => rm(folder, { recursive: true, force: true }));

let made = 0;

async function attnDiag(
  args: readonly string[],
  behaviour: Omit<FakeBehaviour, 'counterFile'> = {},
  changes: Partial<CliIo> = {},
): Promise<{ code: number; out: string; err: string }> {
  let out = '';
  let err = '';
  made += 1;
  const counterFile = path.join(folder, `starts-${made}`);
  const code = await runCli(args, {
    input: Readable.from([]),
    out: (text) => (out += text),
    err: (text) => (err += text),
    outIsTerminal: false,
    errIsTerminal: false,
    errColumns: () => 100,
    columns: 100,
    rootDir: process.cwd(),
    helperPath: path.join(__dirname, 'fakeHelper.child.mjs'),
    env: { ...process.env, FAKE_HELPER: JSON.stringify({ ...behaviour, counterFile }) },
    signal: new AbortController().signal,
    confirm: null,
    ...changes,
  });
  return { code, out, err };
}

test('help: the overview and each command, on stdout with exit code 0; nothing at all is usage', async () => {
  const overview = await attnDiag(['--help']);
  assert.equal(overview.code, 0);
  const commands = [...overview.out.matchAll(/^ {2}([a-z]+) {2,}/gm)].map((match) => match[1] ?? '');
  assert.ok(commands.includes('devices') && commands.includes('run') && commands.includes('compare'));
  for (const command of commands) {
    const help = await attnDiag([command, '--help']);
    assert.equal(help.code, 0, command);
    assert.match(help.out, /^usage: attn-diag /, command);
    assert.match(help.out, /Exit codes: 0/, command);
    for (const line of help.out.split('\n')) assert.ok(line.length <= 120, `${command}: ${line}`);
  }
  assert.equal((await attnDiag([])).code, 2);
});

test('a report that could not be written is told before a device is touched', async () => {
  const file = path.join(folder, 'no', 'such', 'report.json');
  const { code, out, err } = await attnDiag(['run', '--cpu', '--json', file]);
  assert.notEqual(code, 0);
  assert.equal(out, '');
  assert.match(err, /no such file or folder/);
  assert.doesNotMatch(err, /cases on/);
});

test('the report is there before anything is printed, whose reader may be gone', async () => {
  const file = path.join(folder, 'early.json');
  const seen: boolean[] = [];
  const { code } = await attnDiag(['run', '--cpu', '--json', file], {}, { out: () => seen.push(existsSync(file)) });
  assert.equal(code, 0);
  assert.ok(seen.length > 0 && seen.every((each) => each));
});

test('the version is that of the package', async () => {
  const manifest = JSON.parse(await readFile('package.json', 'utf8')) as { version: string };
  assert.deepEqual(await attnDiag(['--version']), { code: 0, out: `${manifest.version}\n`, err: '' });
});

const mistakes: readonly [string[], RegExp][] = [
  [['fly'], /no command "fly"/],
  [['devices', '--verbose'], /--verbose/],
  [['devices', 'extra'], /extra|arguments/],
  [['run', '--preset', 'nope'], /no preset "nope".*quick/s],
  [['run', '--head-dim', 'big'], /--head-dim takes a whole number from 0 to 100000, not "big"/],
  [['run', '--head-dim', '-1'], /head-dim/],
  [['run', '--head-dim', '100001'], /--head-dim/],
  [['run', '--heads', '32'], /--heads takes query and KV heads/],
  [['run', '--page', '16,none'], /--page/],
  [['run', '--op', 'train'], /--op is one of prefill, decode/],
  [['run', '--cpu', '--device', '0'], /exclude each other/],
  [['run', '--causal', '--full'], /exclude each other/],
  [['run', '--check-rows', '0'], /--check-rows/],
  [['compare', 'one.json'], /2 arguments/],
  [['replay'], /recording file is needed/],
  [['replay', 'no/such.json.gz'], /cannot be read/],
  [['replay', 'LICENSE'], /is no recording/],
  [['replay', 'package.json'], /is no recording/],
  [['compare', 'a', 'b', '--noise', 'x'], /--noise/],
];
for (const [args, sentence] of mistakes) {
  test(`usage: ${args.join(' ')}`, async () => {
    const { code, out, err } = await attnDiag(args);
    assert.equal(code, 2);
    assert.equal(out, '');
    assert.match(err, sentence);
  });
}

test('devices lists the CPU device and says why there is nothing else', async () => {
  const { code, out } = await attnDiag(['devices']);
  assert.equal(code, 0);
  assert.match(out, /^cpu /m);
  assert.match(out, /CPU reference device/);
});

test('devices --json is one report on stdout and nothing else', async () => {
  const { code, out, err } = await attnDiag(['devices', '--json']);
  assert.equal(code, 0);
  assert.equal(err, '');
  const report = parseReport(out, 'stdout');
  assert.equal(report.command, 'devices');
  assert.equal(report.redacted, true);
  assert.equal(report.machine.hostName, '<host>');
  const open = await attnDiag(['devices', '--json', '-', '--no-redact']);
  assert.equal(parseReport(open.out, 'stdout').machine.hostName, os.hostname());
});

test('run: unsupported rows are answers, exit code 0; the report goes to a file, the table to stdout', async () => {
  const file = path.join(folder, 'run.json');
  const { code, out, err } = await attnDiag([
    'run',
    '--cpu',
    '--head-dim',
    '64,7',
    '--page',
    'contiguous,24',
    '--json',
    file,
  ]);
  assert.equal(code, 0);
  assert.match(out, /4 unsupported/);
  assert.match(err, /4\/4 prefill/);
  const report = parseReport(await readFile(file, 'utf8'), file);
  assert.deepEqual(
    report.rows.map((row) => [row.case.headDim, row.case.pageSize]),
    [
      [64, null],
      [64, 24],
      [7, null],
      [7, 24],
    ],
  );
});

test('run: overlapping presets run each case once', async () => {
  const { out } = await attnDiag(['run', '--cpu', '--preset', 'decode-head-sizes,paged-decode', '--json']);
  const { rows } = parseReport(out, 'stdout');
  assert.equal(rows.length, 26);
  assert.equal(new Set(rows.map((row) => JSON.stringify(row.case))).size, rows.length);
});

test('run: more cases than one run takes are usage, told before any helper starts', async () => {
  const numbers = (count: number): string => Array.from({ length: count }, (_, index) => index).join(',');
  for (const shape of [
    ['--head-dim', numbers(4097), '--page', '16'],
    ['--head-dim', numbers(64), '--page', numbers(65)],
    // Each preset alone would do.
    ['--preset', 'quick,decode-head-sizes', '--head-dim', numbers(3000), '--page', '16'],
    // Far more than could be written out.
    ['--head-dim', numbers(30_000), '--page', numbers(30_000)],
  ]) {
    const { code, out, err } = await attnDiag(['run', ...shape], { dieAtStart: 'always' });
    assert.deepEqual([code, out], [2, '']);
    assert.match(err, /^\d+ cases are more than the 4096 of one run\./);
    await assert.rejects(readFile(path.join(folder, `starts-${made}`)), { code: 'ENOENT' });
  }
});

test('run: a case that crashes the helper is a row and exit code 1', async () => {
  const { code, out } = await attnDiag(['run', '--cpu', '--head-dim', '64', '--page', '16'], { cases: { 1: 'segv' } });
  assert.equal(code, 1);
  assert.match(out, /crashed: The helper\s+crashed with a\s+memory\s+fault/);
});

test('run: a device that is not there is exit code 3, also in the report', async () => {
  for (const name of ['0', 'cuda:3', 'nvml:0', 'GPU-12345678']) {
    const { code, err } = await attnDiag(['run', '--device', name]);
    assert.equal(code, 3);
    assert.match(err, /There is no device/);
    assert.match(err, /Choose one of: cpu/);
  }
  const { code, out } = await attnDiag(['run', '--device', '0', '--json', '-']);
  assert.equal(code, 3);
  assert.equal(parseReport(out, 'stdout').failure?.code, 'deviceNotFound');
});

test('run: Ctrl-C keeps the finished rows and exits with 130', async () => {
  const abort = new AbortController();
  const file = path.join(folder, 'interrupted.json');
  const { code, out } = await attnDiag(
    ['run', '--cpu', '--head-dim', '64', '--page', '16', '--json', file],
    { cases: { 1: 'untilCancelled' } },
    { signal: abort.signal, err: (text) => void (text.includes('1 cases') && setTimeout(() => abort.abort(), 300)) },
  );
  assert.equal(code, 130);
  assert.match(out, /1 cancelled/);
  assert.equal(parseReport(await readFile(file, 'utf8'), file).rows.length, 1);
});

test('a report that cannot be written is told, with the reason', async () => {
  const { code, err } = await attnDiag(['devices', '--json', path.join(folder, 'no', 'folder.json')]);
  assert.equal(code, 1);
  assert.match(err, /could not be written: there is no such file or folder/);
});

test('cases of one run have names of their own in every table', async () => {
  const report = 'test/fixtures/reports/h200-libraries-contenders.json';
  const { code, out } = await attnDiag(['compare', report, report]);
  assert.equal(code, 0);
  const bundled = out.split('\n').filter((line) => line.startsWith('bundled '));
  const names = bundled.map((line) => /^bundled +(.+?) {2,}(contiguous|page \d+) /.exec(line)?.slice(1).join(' '));
  assert.equal(names.filter((name) => name !== undefined).length, 97);
  assert.equal(new Set(names).size, bundled.length, 'a name stands for two cases');
  for (const name of ['prefill d192/128 32/32 q16k full contiguous', 'decode d64 32/8 b128 kv4k page 16']) {
    assert.ok(names.includes(name), name);
  }
});

test('compare: exit code 1 on a regression, 0 without, 1 for a file that is no report', async () => {
  const report = (status: 'ok' | 'wrong'): string =>
    printReport(
      createReport({
        command: 'run',
        toolVersion: '0',
        createdAtMs: 0,
        machine: { platform: 'p', nodeVersion: 'n', hostName: 'h' },
        facts: null,
        rows: [{ engine: 'bundled', deviceId: 'cpu', case: sampleCase(1), result: emptyResult(status, 'r', 'r') }],
        privateWords: null,
      }),
    );
  const good = path.join(folder, 'good.json');
  const bad = path.join(folder, 'bad.json');
  await writeFile(good, report('ok'));
  await writeFile(bad, report('wrong'));
  const regressed = await attnDiag(['compare', good, bad]);
  assert.equal(regressed.code, 1);
  assert.match(regressed.out, /broken/);
  assert.equal((await attnDiag(['compare', bad, good])).code, 0);
  const json = await attnDiag(['compare', good, bad, '--json']);
  assert.equal((JSON.parse(json.out) as { regressions: number }).regressions, 1);
  assert.match((await attnDiag(['compare', good, good])).out, /^No regression in 1 compared row\.$/m);
  const rowless = path.join(folder, 'rowless.json');
  await writeFile(
    rowless,
    printReport({
      ...parseReport(report('ok'), ''),
      rows: [],
      failure: { code: 'x', text: 'The GPU helper crashed.' },
    }),
  );
  const nothing = await attnDiag(['compare', good, rowless]);
  assert.equal(nothing.code, 1);
  assert.match(nothing.out, /ended early: The GPU helper crashed\. Nothing could be compared\. 1 row is missing/);
  const nothingJson = await attnDiag(['compare', good, rowless, '--json']);
  assert.equal(nothingJson.code, 1);
  const { passed, compared, missing: gone } = JSON.parse(nothingJson.out) as Record<string, unknown>;
  assert.deepEqual([passed, compared, gone], [false, 0, 1]);
  const missing = await attnDiag(['compare', good, path.join(folder, 'nothing.json')]);
  assert.equal(missing.code, 1);
  assert.match(missing.err, /no such file/);
});

test('colour only on a terminal, and not with NO_COLOR', async () => {
  const escape = String.fromCharCode(27);
  assert.ok(!(await attnDiag(['devices'])).out.includes(escape));
  const env = { ...process.env, FAKE_HELPER: JSON.stringify({ counterFile: path.join(folder, 'colour') }) };
  assert.ok(
    (await attnDiag(['devices'], {}, { outIsTerminal: true, env: { ...env, NO_COLOR: '' } })).out.includes(escape),
  );
  assert.ok(
    !(await attnDiag(['devices'], {}, { outIsTerminal: true, env: { ...env, NO_COLOR: '1' } })).out.includes(escape),
  );
});

test('control characters from a file reach neither stream as such; colours of ours and the document of JSON stay', async () => {
  const hostile = '\u001b[32mFOO\u001b[2J\u001b]0;pwned\u0007\r\u009b2J\u007f';
  const config = path.join(folder, 'hostile.yaml');
  await writeFile(config, `attention-backend: ${JSON.stringify(hostile).replace('\u007f', '\\x7f')}\n`);
  const args = ['explain', '--sm', '9.0', '--vllm', '0.33.0', '--config', config];
  const plain = await attnDiag(args);
  assert.match(plain.out, /FOO\\u001b\[2J\\u001b\]0;pwned\\u0007\\u000d\\u009b2J\\u007f/i);
  assert.deepEqual(controls(plain.out), []);
  // Colours stand in pairs around words of ours; the green of the file is text.
  const env = { ...process.env, NO_COLOR: '' };
  const coloured = await attnDiag(args, {}, { outIsTerminal: true, env });
  const escape = String.fromCharCode(27);
  assert.deepEqual(new Set(controls(coloured.out)), new Set([escape]));
  assert.ok(coloured.out.includes(`${escape}[31merror: `));
  assert.ok(!coloured.out.includes(`${escape}[32m`));
  const json = await attnDiag([...args, '--json']);
  assert.deepEqual(controls(json.out), []);
  // vLLM looks the name up in upper case.
  const explanation = JSON.stringify(parseReport(json.out, 'stdout').explanation).toLowerCase();
  assert.ok(explanation.includes(JSON.stringify(hostile).slice(1, -1).toLowerCase()));
  const refused = await attnDiag(['run', '--preset', hostile]);
  assert.match(refused.err, /no preset "\\u001b\[32mFOO/);
  assert.deepEqual(controls(refused.err), []);
});

/** Control characters in it, but for line breaks and tabs. */
function controls(text: string): string[] {
  return text.match(/(?![\n\t])\p{Cc}/gu) ?? [];
}

test('the progress line of a terminal is rewritten in place, and no wider than that of stderr', async () => {
  const progress = async (errColumns: number): Promise<string[]> => {
    const io = { errIsTerminal: true, errColumns: () => errColumns, columns: 100 };
    const { err } = await attnDiag(['run', '--cpu', '--head-dim', '64', '--page', '16'], {}, io);
    return err.slice(err.indexOf('\n') + 1).split('\r');
  };
  for (const columns of [12, 50, 200]) {
    const lines = await progress(columns);
    assert.deepEqual([lines[0], lines.at(-1)], ['', '']);
    assert.ok(lines.some((line) => line.startsWith('1/1 prefill')));
    const longest = Math.max(...lines.map((line) => line.length));
    assert.ok(columns === 200 ? longest < 120 : longest === columns - 1, `${longest} of ${columns}`);
    // Written out in full where there is room.
    assert.equal(
      lines.some((line) => line.endsWith(': unsupported')),
      columns === 200,
    );
  }
});

const GEMMA4 = 'test/fixtures/models/gemma-4-31b.json';

test('explain: without a GPU it says which family it speaks of, and names every layer group of the model', async () => {
  const { code, out } = await attnDiag(['explain', '--model', GEMMA4, '--vllm', '0.20.2']);
  assert.equal(code, 0);
  assert.match(out, /vLLM 0\.20\.2 on SM90 Hopper \(no GPU here/);
  assert.match(out, /sliding_window d256 +TRITON_ATTN/);
  assert.match(out, /full_attention d512 +TRITON_ATTN/);
  // The matrix is about the model's head sizes.
  assert.match(out, /backend +d256 +d512$/m);
});

test('explain --sm needs no helper at all', async () => {
  const { code, out } = await attnDiag(['explain', '--sm', 'sm_120', '--head-dim', '128'], { dieAtStart: 'always' });
  assert.equal(code, 0);
  assert.match(out, /on SM120 Blackwell \(asked for\)/);
});

test('explain: a forced backend that will be refused is a finding and exit code 1', async () => {
  const file = path.join(folder, 'serve.yaml');
  await writeFile(file, 'attention-backend: FLASH_ATTN\nkv-cache-dtype: fp8\n');
  const { code, out } = await attnDiag(['explain', '--sm', '8.0', '--config', file, '--head-dim', '128']);
  assert.match(out, /^error: /m);
  assert.equal(code, 1);
});

test('explain --system-fa4: on is judged, diff only tells, off says nothing of it', async () => {
  const on = await attnDiag(['explain', '--sm', '9.0', '--system-fa4', 'on']);
  assert.equal(on.code, 1);
  const diff = await attnDiag(['explain', '--sm', '9.0', '--system-fa4', 'diff']);
  assert.equal(diff.code, 0);
  assert.match(diff.out, /FLASH_ATTN \(FA3\).*works +yes → no/);
  const off = await attnDiag(['explain', '--sm', '9.0']);
  assert.equal(off.code, 0);
  assert.ok(!off.out.includes('use_system_flash_attn'));
});

test('explain --json holds request, evaluation and matrix', async () => {
  const { out } = await attnDiag(['explain', '--sm', '9.0', '--head-dim', '64', '--page', '16', '--json']);
  const explanation = parseReport(out, 'stdout').explanation as Record<string, unknown>;
  assert.deepEqual(explanation['capability'], [9, 0]);
  assert.ok(Array.isArray(explanation['cells']) && explanation['cells'].length > 4);
});

const badQuestions: readonly [string[], number, RegExp][] = [
  [['--sm', 'hopper'], 2, /--sm takes SM families/],
  [['--vllm', 'latest'], 2, /--vllm takes a version/],
  [['--system-fa4', 'maybe'], 2, /--system-fa4 is one of off, on, diff/],
  [['--head-dim', '0'], 2, /--head-dim/],
  [['--sm', '9.0', '--model', 'no/such/config.json'], 1, /no such file/],
  [['--sm', '9.0', '--model', 'README.md'], 1, /cannot be used as a model config: The file is not JSON/],
  [['--sm', '9.0', '--model', 'package.json'], 1, /package\.json/],
  [['--sm', '9.0', '--config', 'LICENSE'], 1, /no kind of serve file/],
];
for (const [args, code, sentence] of badQuestions) {
  test(`explain ${args.join(' ')} is exit code ${code}`, async () => {
    const result = await attnDiag(['explain', ...args]);
    assert.equal(result.code, code);
    assert.match(result.err, sentence);
  });
}

test('selftest prints only rows that are not ok and asks for every row to be checked', async () => {
  const { code, out, err } = await attnDiag(['selftest', '--cpu'], { cases: { 1: 'segv' } });
  assert.equal(code, 1);
  assert.match(out, /crashed: /);
  assert.match(out, /1 crashed, \d+ unsupported|\d+ unsupported, 1 crashed/);
  assert.match(err, /cases on cpu/);
});

test('replay counts agreement with a recording and passes on it', async () => {
  const recording = 'test/fixtures/oracle/vllm-0.14.1.json.gz';
  const { code, out } = await attnDiag(['replay', recording]);
  assert.equal(code, 0);
  assert.match(out, /^0\.14\.1 +2652 /m);
  const json = JSON.parse((await attnDiag(['replay', recording, '--json'])).out) as { passed: boolean };
  assert.equal(json.passed, true);
});

test('replay fails on a recording that says something else, and prints the disagreement', async () => {
  const { gunzipSync } = await import('node:zlib');
  const recorded = JSON.parse(
    gunzipSync(await readFile('test/fixtures/oracle/vllm-0.33.0.json.gz')).toString('utf8'),
  ) as { cases: { answer: { selected: string | null } }[] };
  const falsified = recorded.cases.filter((each) => each.answer.selected === 'FLASH_ATTN').slice(0, 3);
  for (const each of falsified) each.answer.selected = 'FLEX_ATTENTION';
  const file = path.join(folder, 'falsified.json');
  await writeFile(file, JSON.stringify({ ...recorded, cases: falsified }));
  const { code, out } = await attnDiag(['replay', file]);
  assert.equal(code, 1);
  assert.match(out, /FLEX_ATTENTION/);
  await writeFile(file, JSON.stringify({ ...recorded, cases: [] }));
  assert.equal((await attnDiag(['replay', file])).code, 2);
});
