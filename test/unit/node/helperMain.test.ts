import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { DiagError } from '../../../extension/core/errors';
import { errorText } from '../../../extension/core/errorText';
import { HelperClient } from '../../../extension/node/helperClient';
import { parseDriverVersion } from '../../../extension/node/systemFacts';
import { DEFAULT_RUN_OPTIONS } from '../../../extension/protocol/helperApi';
import { sampleCase } from './sampleCase';

const folder = await mkdtemp(path.join(os.tmpdir(), 'helper-main-'));
after(() => rm(folder, { recursive: true, force: true }));
const helperPath = path.join(__dirname, 'helperMain.child.mjs');

async function withHelper<T>(addonPaths: readonly string[], use: (client: HelperClient) => Promise<T>): Promise<T> {
  const client = new HelperClient({ helperPath, addonPaths, kernelDir: null });
  try {
    return await use(client);
  } finally {
    await client.dispose();
  }
}

test('without an addon the helper still answers, keeps every attempt, and refuses to run in words', async () => {
  const corrupt = path.join(folder, 'corrupt.node');
  await writeFile(corrupt, 'not a shared object');
  const missing = path.join(folder, 'missing.node');
  await withHelper([missing, corrupt], async (client) => {
    const facts = await client.probe('driver');
    assert.deepEqual(
      facts.devices.map((device) => device.kind),
      ['cpu'],
    );
    assert.equal(facts.kernelBuild, null);
    assert.equal(client.hello?.addonVersion, null);
    assert.deepEqual(
      client.hello?.addonAttempts.map((attempt) => [attempt.path, attempt.ok]),
      [
        [missing, false],
        [corrupt, false],
      ],
    );
    assert.match(client.hello?.addonAttempts[1]?.error ?? '', /corrupt\.node/);
    const error = await client
      .run({ deviceId: 'cpu', cases: [sampleCase(1)], options: DEFAULT_RUN_OPTIONS }, { onProgress: () => undefined })
      .catch((caught: unknown) => caught);
    assert.ok(DiagError.is(error, 'addonMissing'));
    assert.match(errorText(error).what, /missing\.node: no such file; .*corrupt\.node: /);
    // The next question is answered by the same helper.
    assert.equal((await client.probe('nvml')).level, 'nvml');
  });
});

test('a helper whose parent dies without a word leaves by itself', async () => {
  // A parent of its own, which starts the helper the way the client does and is then killed.
  const parentScript = path.join(folder, 'parent.cjs');
  await writeFile(
    parentScript,
    `const { spawn } = require('node:child_process');
     const child = spawn(process.execPath, [process.argv[2]], { stdio: ['pipe', 'inherit', 'inherit', 'pipe'] });
     child.stdio[3].once('data', () => console.log(child.pid));
     setInterval(() => undefined, 1000);`,
  );
  const parent = spawn(process.execPath, [parentScript, helperPath], { stdio: ['ignore', 'pipe', 'inherit'] });
  const helperPid = await new Promise<number>((resolve) =>
    parent.stdout.once('data', (chunk: Buffer) => resolve(Number(chunk.toString()))),
  );
  process.kill(helperPid, 0);
  parent.kill('SIGKILL');
  const endMs = Date.now() + 60_000;
  for (;;) {
    try {
      process.kill(helperPid, 0);
    } catch {
      break;
    }
    assert.ok(Date.now() < endMs, 'the helper outlived its parent');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
});

test('the driver version is read from both forms of the kernel module file', () => {
  assert.equal(
    parseDriverVersion('NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\n'),
    '535.183.01',
  );
  assert.equal(
    parseDriverVersion('NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.03  Release Build\n'),
    '580.159.03',
  );
  assert.equal(parseDriverVersion(''), null);
});
