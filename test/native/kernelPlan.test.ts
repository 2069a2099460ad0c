/** The host side of the kernels, choice and work plan, built with the address and undefined-behaviour sanitizers. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { buildProgram } from './support/compile';

const SANITIZERS = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all', '-fno-omit-frame-pointer'];
const SOURCES = ['causal_order', 'decode_plan', 'kernel_choice_text', 'kernel_registry', 'mla_plan'].map(
  (name) => `native/src/${name}.cc`,
);

test('every key is planned exactly once, and every GPU family finds a kernel that fits', () => {
  const program = buildProgram('kernel_plan_tests', [...SANITIZERS, ...SOURCES]);
  const result = spawnSync(program, { encoding: 'utf8', timeout: 300_000 });
  assert.equal(result.status, 0, `${result.stdout}${result.stderr}`);
  const checks = /^(\d+) checks, 0 failed$/m.exec(result.stdout);
  assert.ok(Number(checks?.[1]) > 5000, result.stdout);
});
