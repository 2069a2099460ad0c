/** The C++ unit tests, built with the address and undefined-behaviour sanitizers. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { buildProgram } from './support/compile';

const SANITIZERS = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all', '-fno-omit-frame-pointer'];

test('C++ unit tests under AddressSanitizer and UndefinedBehaviorSanitizer', () => {
  const result = spawnSync(buildProgram('unit_tests', SANITIZERS), { encoding: 'utf8', timeout: 300_000 });
  assert.equal(result.status, 0, `${result.stdout}${result.stderr}`);
  const checks = /^(\d+) checks, 0 failed$/m.exec(result.stdout);
  assert.ok(Number(checks?.[1]) > 150, result.stdout);
});
