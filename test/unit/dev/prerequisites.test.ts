import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { mayInstall, nodeTooOld } from '../../../extension/dev/prerequisites.mjs';

test('a Node below the floor is one line that names the floor; the floor itself and newer are fine', () => {
  for (const old of ['18.20.4', '20.19.9', '16.0.0']) {
    const line = nodeTooOld(old);
    assert.match(line ?? '', /^Node [\d.]+ is too old: this needs Node 20\.20 or newer/);
    assert.doesNotMatch(line ?? '', /\n/);
  }
  for (const fine of ['20.20.0', '20.20.2', '22.0.0', '24.21.0']) assert.equal(nodeTooOld(fine), null);
});

test('on a machine with nothing, each missing thing is one line with how to get it, and nothing is installed', () => {
  const { status, stdout } = spawnSync(process.execPath, ['extension/dev/prerequisites.mjs'], {
    encoding: 'utf8',
    env: { PATH: '/nonexistent', HOME: '/nonexistent' },
  });
  assert.equal(status, 1);
  const lines = stdout.trim().split('\n');
  for (const name of ['g++', 'make', 'python3', 'pip for python3', 'Chromium']) {
    const own = lines.filter((line) => line.startsWith(`${name} is missing`));
    assert.equal(own.length, 1, `${name}: ${stdout}`);
    assert.match(own[0] ?? '', /\): (install it|sudo apt-get install|apt-get install|npx )/);
  }
  assert.equal(lines.length, 5);
});

test('installing is asked for by --install or a build machine, never assumed', () => {
  const { CI } = process.env;
  try {
    delete process.env.CI;
    assert.equal(mayInstall(['node', 'start.mjs']), false);
    assert.equal(mayInstall(['node', 'start.mjs', '--install']), true);
    process.env.CI = 'true';
    assert.equal(mayInstall(['node', 'start.mjs']), true);
  } finally {
    if (CI === undefined) delete process.env.CI;
    else process.env.CI = CI;
  }
});
