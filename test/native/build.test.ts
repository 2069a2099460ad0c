/** The build script: idle when nothing changed, plain words when a tool is missing. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { test } from 'node:test';
import { nodeGypEnvironment } from '../../native/nodeGypEnvironment.mjs';

/** Runs native/build.mjs with a PATH of its own. */
function runBuild(pathVariable: string | undefined): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, ['native/build.mjs'], {
    encoding: 'utf8',
    env: { ...process.env, PATH: pathVariable },
  });
}

test('a build without changes takes less than two seconds and builds nothing', () => {
  assert.equal(runBuild(process.env['PATH']).status, 0);
  const startMs = performance.now();
  const again = runBuild(process.env['PATH']);
  assert.ok(performance.now() - startMs < 2000);
  assert.deepEqual([again.status, again.stdout], [0, 'native addon: up to date\n']);
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
  const kept = { PATH: '/usr/bin', npm_config_python: '/usr/bin/python3', npm_command: 'test' };
  const dropped = {
    npm_config_nodedir: '/usr',
    NPM_CONFIG_TARGET: '24.0.0',
    npm_package_config_node_gyp_nodedir: '/usr',
  };
  assert.deepEqual(nodeGypEnvironment({ ...kept, ...dropped }), kept);
});
