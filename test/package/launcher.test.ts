/** What `npm start` opens: the browser VS Code for a person, the desktop one, the window of a remote terminal. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { ensureVscodeServer, startVscodeServer, workbenchUrl } from '../../extension/dev/vscodeServer.mjs';

const run = promisify(execFile);

/** Command lines of all processes that mention `text`. */
async function processesNaming(text: string): Promise<string[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
  const lines = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')));
  return lines.filter((line) => line.includes(text)).map((line) => line.replaceAll('\0', ' '));
}

test('the browser VS Code lets in who has the token, listens on 127.0.0.1 alone, and leaves nothing behind', async () => {
  const dataDir = await mkdtemp(path.join(os.tmpdir(), 'abd-l-'));
  const server = await startVscodeServer(await ensureVscodeServer(console.log), { dataDir, forTests: false });
  try {
    assert.ok(server.token !== null && server.token.length >= 32);
    assert.equal((await stat(path.join(dataDir, 'connection-token'))).mode & 0o777, 0o600);
    assert.equal((await stat(dataDir)).mode & 0o777, 0o700);
    assert.equal((await fetch(server.origin)).status, 403);
    const opened = await fetch(workbenchUrl(server, dataDir), { redirect: 'manual' });
    assert.equal(opened.status, 302, 'the token is taken and turned into a cookie');
    // The token is in a file of its owner's, not where every user of the machine can read it.
    const own = await processesNaming(dataDir);
    assert.ok(own.length > 0);
    assert.deepEqual(
      own.filter((line) => line.includes(server.token ?? '-') || line.includes('--enable-smoke-test-driver')),
      [],
    );
    const hexPort = server.port.toString(16).toUpperCase().padStart(4, '0');
    const listening = (await readFile('/proc/net/tcp', 'utf8'))
      .split('\n')
      .filter((line) => line.includes(`:${hexPort} `));
    assert.ok(listening.some((line) => line.includes(`0100007F:${hexPort} 00000000:0000 0A`)));
    assert.ok(!listening.some((line) => line.includes(` 00000000:${hexPort} `)));
  } finally {
    await server.stop();
  }
  assert.deepEqual(await processesNaming(dataDir), []);
  await rm(dataDir, { recursive: true });
});

/** Runs `npm start`'s script with a `code` on PATH that only writes down what it was called with. */
async function startWithCode(env: Readonly<Record<string, string>>): Promise<{ code: string[]; stdout: string }> {
  const bin = await mkdtemp(path.join(os.tmpdir(), 'abd-c-'));
  const record = path.join(bin, 'called.txt');
  await writeFile(path.join(bin, 'code'), `#!/bin/sh\nprintf '%s\\n' "$@" > '${record}'\n`);
  await chmod(path.join(bin, 'code'), 0o755);
  const inherited = Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) => !['DISPLAY', 'WAYLAND_DISPLAY', 'VSCODE_IPC_HOOK_CLI'].includes(name),
    ),
  );
  try {
    const { stdout } = await run(process.execPath, ['extension/dev/start.mjs', '/tmp'], {
      env: { ...inherited, PATH: `${bin}${path.delimiter}${process.env.PATH ?? ''}`, ...env },
      maxBuffer: 2 ** 24,
    });
    return { code: (await readFile(record, 'utf8')).trim().split('\n'), stdout };
  } finally {
    await rm(bin, { recursive: true });
  }
}

test('with a display, npm start prints the diagnosis and opens the desktop VS Code on this checkout', async () => {
  const { code, stdout } = await startWithCode({ DISPLAY: ':99' });
  assert.deepEqual(code, ['--new-window', `--extensionDevelopmentPath=${process.cwd()}`, '/tmp']);
  for (const part of ['attn-diag devices', 'attn-diag explain', 'attn-diag run', 'Declared matrix']) {
    assert.ok(stdout.includes(part), `${part} is missing in:\n${stdout}`);
  }
});

test('in a remote terminal, npm start packages the extension and installs it into the window', async () => {
  const { code } = await startWithCode({ VSCODE_IPC_HOOK_CLI: '/tmp/vscode-ipc.sock' });
  assert.equal(code[0], '--install-extension');
  assert.match(code[1] ?? '', /attention-backend-diagnostics-linux-x64\.vsix$/);
  assert.ok((await stat(code[1] ?? '')).size > 100_000);
});
