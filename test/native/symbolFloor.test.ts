/**
 * The addon loads wherever the VS Code server does: glibc 2.28, GLIBCXX 3.4.25. A newer symbol version sneaks in with
 * one call of a function that moved, and shows only on somebody else's machine.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import { test } from 'node:test';
import { ADDON_PATH } from './support/addon';

/** Highest version allowed of each library's symbols; CXXABI 1.3.11 is the one of GLIBCXX 3.4.25 (GCC 8). */
const FLOOR: Readonly<Record<string, readonly number[]>> = {
  GLIBC: [2, 28],
  GLIBCXX: [3, 4, 25],
  CXXABI: [1, 3, 11],
  GCC: [8, 0, 0],
};

function isNewer(version: readonly number[], floor: readonly number[]): boolean {
  for (let i = 0; i < Math.max(version.length, floor.length); i++) {
    const difference = (version[i] ?? 0) - (floor[i] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return false;
}

/** `[library, version, symbol]` of every versioned symbol the table of `objdump -T` names. */
function versionedSymbols(table: string): (readonly [library: string, version: number[], symbol: string])[] {
  return [...table.matchAll(/\*UND\*\s+\S+\s+\(?([A-Z]+)_([\d.]+)\)?\s+(\S+)/g)].map(
    ([, library = '', version = '', symbol = '']) => [library, version.split('.').map(Number), symbol] as const,
  );
}

function tooNew(table: string): string[] {
  return versionedSymbols(table)
    .filter(([library, version]) => {
      const floor = FLOOR[library];
      return floor === undefined || isNewer(version, floor);
    })
    .map(([library, version, symbol]) => `${symbol} needs ${library}_${version.join('.')}`);
}

test('the check sees what is above the floor', () => {
  const line = (version: string, symbol: string): string => `0000 DF *UND*  0000 (${version}) ${symbol}\n`;
  const table = line('GLIBC_2.34', 'dlopen') + line('GLIBC_2.2.5', 'dlsym') + line('GLIBCXX_3.4.29', 'x');
  assert.deepEqual(tooNew(table), ['dlopen needs GLIBC_2.34', 'x needs GLIBCXX_3.4.29']);
});

test('no symbol of the addon is newer than the floor', () => {
  const result = spawnSync('objdump', ['-T', ADDON_PATH], { encoding: 'utf8' });
  assert.equal(result.status, 0, result.stderr);
  assert.ok(versionedSymbols(result.stdout).length > 20, 'objdump wrote something else than expected');
  assert.deepEqual(tooNew(result.stdout), []);
});

test('the addon links the system libraries only, and exports nothing but its registration', () => {
  const dynamic = spawnSync('objdump', ['-p', ADDON_PATH], { encoding: 'utf8' }).stdout;
  const needed = [...dynamic.matchAll(/NEEDED\s+(\S+)/g)].map(([, name = '']) => name);
  const allowed = /^(libc|libm|libdl|libpthread|libstdc\+\+|libgcc_s|ld-linux-x86-64)\.so\.\d+$/;
  assert.deepEqual(
    needed.filter((name) => !allowed.test(name)),
    [],
  );
  const symbols = spawnSync('objdump', ['-T', ADDON_PATH], { encoding: 'utf8' }).stdout;
  const exported = symbols.split('\n').filter((line) => / g\s+DF \.text/.test(line));
  assert.deepEqual(
    exported.map((line) => line.trim().split(/\s+/).at(-1)).filter((name) => name?.includes('attn') === true),
    [],
  );
});

test('the addon is stripped and small', () => {
  assert.ok(fs.statSync(ADDON_PATH).size < 600 * 1024, `${String(fs.statSync(ADDON_PATH).size)} bytes`);
  assert.ok(!spawnSync('objdump', ['-h', ADDON_PATH], { encoding: 'utf8' }).stdout.includes('.debug_info'));
});
