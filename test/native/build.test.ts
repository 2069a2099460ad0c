/** The build script: idle when nothing changed, plain words when a tool is missing, the same addon in any environment. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { withBuildLock } from '../../native/buildLock.mjs';
import { nodeGypEnvironment } from '../../native/nodeGypEnvironment.mjs';

/** Runs native/build.mjs with a PATH of its own. */
function runBuild(pathVariable: string | undefined): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, ['native/build.mjs'], {
    encoding: 'utf8',
    env: { ...process.env, PATH: pathVariable },
  });
}

test('a build without changes runs no compiler and leaves the addon alone', () => {
  assert.equal(runBuild(process.env['PATH']).status, 0);
  const before = fs.statSync('native/build/attention_addon.node').mtimeMs;
  const again = runBuild(process.env['PATH']);
  assert.deepEqual([again.status, again.stdout], [0, 'native addon: up to date\n']);
  assert.equal(fs.statSync('native/build/attention_addon.node').mtimeMs, before);
});

test('missing tools are named in one line with the command that brings them', () => {
  const empty = fs.mkdtempSync(path.join(os.tmpdir(), 'attn-path-'));
  try {
    const result = runBuild(empty);
    assert.equal(result.status, 3);
    assert.equal(
      result.stderr,
      'Missing to build the native addon: g++, make, python3. Get it with: sudo apt-get install -y g++ make python3\n',
    );
  } finally {
    fs.rmdirSync(empty);
  }
});

test('what npm was told about other builds does not reach ours', () => {
  const kept = { PATH: '/usr/bin', npm_config_python: '/usr/bin/python3', npm_command: 'test', TMPDIR: '/tmp/x y' };
  const dropped = {
    npm_config_nodedir: '/usr',
    NPM_CONFIG_TARGET: '24.0.0',
    npm_package_config_node_gyp_nodedir: '/usr',
    CXX: 'clang++',
    CXXFLAGS: '-fno-rtti',
    LDFLAGS: '-static-libstdc++',
    CPLUS_INCLUDE_PATH: '/opt/include',
    GYP_DEFINES: 'openssl_fips=1',
    MAKEFLAGS: '-n',
    PYTHONHOME: '/nowhere',
    NODE_OPTIONS: '--require=/nowhere.cjs',
  };
  assert.deepEqual(nodeGypEnvironment({ ...kept, ...dropped }), kept);
});

/** What `withBuildLock` leaves in its folder. */
function lockFolder(use: (lock: string) => void): string[] {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'attn-lock-'));
  try {
    use(path.join(folder, 'lock'));
    return fs.readdirSync(folder);
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

test('builds of one checkout take turns', async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'attn-lock-'));
  const script = `
    import { withBuildLock } from ${JSON.stringify(pathToFileURL(path.resolve('native/buildLock.mjs')).href)};
    import { appendFileSync } from 'node:fs';
    withBuildLock('lock', () => {
      appendFileSync('order', 'in ');
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
      appendFileSync('order', 'out ');
    });`;
  const ends = await Promise.all(
    [1, 2, 3].map(
      () =>
        new Promise((resolve) => {
          spawn(process.execPath, ['--input-type=module', '-e', script], { cwd: folder, stdio: 'inherit' }).once(
            'exit',
            resolve,
          );
        }),
    ),
  );
  assert.deepEqual(ends, [0, 0, 0]);
  assert.equal(fs.readFileSync(path.join(folder, 'order'), 'utf8'), 'in out in out in out ');
  assert.deepEqual(fs.readdirSync(folder), ['order']);
  fs.rmSync(folder, { recursive: true });
});

test('a lock left by a build that was killed is taken over, and a failed build gives its own back', () => {
  const gone = spawnSync(process.execPath, ['-e', '']).pid;
  const left = lockFolder((lock) => {
    fs.writeFileSync(lock, String(gone));
    assert.equal(
      withBuildLock(lock, () => fs.readFileSync(lock, 'utf8')),
      String(process.pid),
    );
    fs.writeFileSync(lock, '');
    assert.throws(
      () =>
        withBuildLock(lock, () => {
          throw new Error('no');
        }),
      /^Error: no$/,
    );
  });
  assert.deepEqual(left, []);
});
