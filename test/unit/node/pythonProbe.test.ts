import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { DiagError, type DiagErrorCode } from '../../../extension/core/errors';
import { errorText } from '../../../extension/core/errorText';
import { findVenvInterpreter, namedInterpreter, probePythonEnvironment } from '../../../extension/node/pythonProbe';

/** A folder with a stand-in interpreter: a shell script that gets the probe's arguments. */
function fake(script: string): { folder: string; interpreter: string } {
  const folder = mkdtempSync(path.join(os.tmpdir(), "attn-diag fake 'python' é-"));
  const interpreter = path.join(folder, 'python');
  writeFileSync(interpreter, `#!/bin/sh\n${script}\n`);
  chmodSync(interpreter, 0o755);
  return { folder, interpreter };
}

async function failure(
  interpreter: string,
  extra: { deadlineMs?: number; signal?: AbortSignal; env?: NodeJS.ProcessEnv } = {},
): Promise<DiagError> {
  const options = {
    interpreter,
    scriptPath: path.resolve('extension/python/probe.py'),
    env: { ...process.env },
    ...extra,
  };
  try {
    await probePythonEnvironment(options);
  } catch (error) {
    assert.ok(error instanceof DiagError, String(error));
    return error;
  }
  return assert.fail('must be refused');
}

async function failsAs(script: string, code: DiagErrorCode, pattern: RegExp, deadlineMs?: number): Promise<void> {
  const { folder, interpreter } = fake(script);
  try {
    const error = await failure(interpreter, deadlineMs === undefined ? {} : { deadlineMs });
    assert.equal(error.code, code);
    const { what, next } = errorText(error);
    assert.match(what, pattern);
    assert.match(next, /\.$/);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('paths that cannot be an interpreter are refused before anything is started', async () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'attn-diag-'));
  try {
    symlinkSync('loop', path.join(folder, 'loop'));
    writeFileSync(path.join(folder, 'plain'), '');
    const problems = await Promise.all(
      ['python3', path.join(folder, 'missing'), folder, path.join(folder, 'loop'), path.join(folder, 'plain')].map(
        async (candidate) => errorText(await failure(candidate)).what,
      ),
    );
    const expected = [/must be absolute/, /no such file/, /a directory/, /form a loop/, /not executable/];
    expected.forEach((pattern, index) => assert.match(problems[index] ?? '', pattern));
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('garbage, silence, a cut-off or wrong answer, an old Python: each is told apart', async () => {
  await failsAs('echo nonsense; echo oops >&2; exit 7', 'interpreterUnusable', /exit code 7: oops/);
  await failsAs('kill -SEGV $$', 'interpreterUnusable', /SIGSEGV/);
  await failsAs(`echo 'attn-diag-probe:{"schema": "attn'`, 'interpreterUnusable', /cut off/);
  await failsAs(`echo 'attn-diag-probe:{"schema": "attn-diag-probe/9"}'`, 'interpreterUnusable', /not as expected/);
  await failsAs(`echo 'attn-diag-probe:{"schema": "attn-diag-probe/1", "tooOld": "3.6"}'`, 'interpreterTooOld', /3\.6/);
  await failsAs('yes attn | head -c 9000000', 'interpreterUnusable', /4 MiB/);
});

test('one that hangs is killed with everything it started', async () => {
  const { folder, interpreter } = fake('sleep 600 & echo $! > "$(dirname "$0")/child.pid"; wait');
  try {
    const error = await failure(interpreter, { deadlineMs: 2000 });
    assert.equal(error.code, 'interpreterTimeout');
    const pid = readFileSync(path.join(folder, 'child.pid'), 'utf8').trim();
    assert.match(pid, /^\d+$/);
    // It sleeps for ten minutes unless it was killed, which the system may take a moment for.
    const deadline = Date.now() + 60_000;
    for (;;) {
      const state = existsSync(`/proc/${pid}/stat`) ? readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1] : 'Z';
      if (state === undefined || state.startsWith('Z')) break;
      assert.ok(Date.now() < deadline, `child ${pid} is still there: ${state}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('a grandchild that keeps the pipes open does not keep us', async () => {
  // Waiting for it would end at the deadline, which is told as something else.
  await failsAs('sleep 600 & exit 0', 'interpreterUnusable', /no answer/, 60_000);
});

test('cancelling ends it at once', async () => {
  const { folder, interpreter } = fake('sleep 60');
  try {
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 200);
    assert.equal((await failure(interpreter, { signal: controller.signal })).code, 'cancelled');
    assert.equal((await failure(interpreter, { signal: AbortSignal.abort() })).code, 'cancelled');
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('it runs with a clean environment, in a neutral folder, and no shell sees its arguments', async () => {
  const { folder, interpreter } = fake(
    'here="$(dirname "$0")"; env > "$here/env"; pwd > "$here/cwd"; printf "%s\\n" "$@" > "$here/args"',
  );
  try {
    await failure(interpreter, {
      env: { PATH: process.env['PATH'], PYTHONPATH: '/evil', LD_PRELOAD: '/evil.so', SECRET: '1' },
    });
    const env = readFileSync(path.join(folder, 'env'), 'utf8');
    assert.doesNotMatch(env, /PYTHON|LD_PRELOAD|SECRET/);
    assert.equal(readFileSync(path.join(folder, 'cwd'), 'utf8').trim(), os.tmpdir());
    assert.deepEqual(readFileSync(path.join(folder, 'args'), 'utf8').trim().split('\n'), [
      '-E',
      '-B',
      path.resolve('extension/python/probe.py'),
    ]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('who names a Python may name the interpreter, its environment or the folder around it', async () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'attn-diag-'));
  try {
    const python = path.join(folder, '.venv', 'bin', 'python');
    mkdirSync(path.dirname(python), { recursive: true });
    writeFileSync(python, '');
    assert.deepEqual(await Promise.all([python, path.join(folder, '.venv'), folder].map(namedInterpreter)), [
      python,
      python,
      python,
    ]);
    assert.equal(await namedInterpreter(path.dirname(python)), null);
    const nothing = path.join(folder, 'nothing');
    assert.equal(await namedInterpreter(nothing), nothing, 'what is wrong with it is said where it is started');
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('the virtual environment of a folder is found by looking', async () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'attn-diag-'));
  try {
    assert.equal(await findVenvInterpreter(folder), null);
    mkdirSync(path.join(folder, '.venv', 'bin', 'python'), { recursive: true });
    assert.equal(await findVenvInterpreter(folder), null, 'a directory is no interpreter');
    mkdirSync(path.join(folder, 'venv', 'bin'), { recursive: true });
    writeFileSync(path.join(folder, 'venv', 'bin', 'python'), '');
    assert.equal(await findVenvInterpreter(folder), path.join(folder, 'venv', 'bin', 'python'));
  } finally {
    rmSync(folder, { recursive: true });
  }
});
