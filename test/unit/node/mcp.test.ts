/** The bundled command line as an agent's host starts it: a child process spoken to over its pipes. */
import assert from 'node:assert/strict';
import { execFileSync, spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { AGENT_TOOLS } from '../../../extension/core/agentTools';
import { MAX_LINE_CHARACTERS } from '../../../extension/node/mcpServer';
import type { FakeBehaviour } from './fakeBehaviour';

const folder = await mkdtemp(path.join(os.tmpdir(), 'mcp-'));
after(() => rm(folder, { recursive: true, force: true }));

// An installation: the bundle beside its package.json, with a helper that does as it is told.
await mkdir(path.join(folder, 'app', 'dist'), { recursive: true });
await copyFile('package.json', path.join(folder, 'app', 'package.json'));
const CLI = path.join(folder, 'app', 'dist', 'cli.js');
await build({
  entryPoints: ['extension/node/cli.ts'],
  outfile: CLI,
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'cjs',
  mainFields: ['module', 'main'],
  logLevel: 'error',
});
const fakeHelper = pathToFileURL(path.join(__dirname, 'fakeHelper.child.mjs')).href;
await writeFile(path.join(folder, 'app', 'dist', 'helperMain.js'), `import(${JSON.stringify(fakeHelper)});`);

const root = path.join(folder, 'models');
await mkdir(path.join(root, 'gemma'), { recursive: true });
await copyFile('test/fixtures/models/gemma-4-31b.json', path.join(root, 'gemma', 'config.json'));
const secret = path.join(folder, 'secret.json');
await writeFile(secret, '{"secret":"never to be seen"}');
await symlink(secret, path.join(root, 'link.json'));
await symlink(folder, path.join(root, 'up'));
await writeFile(path.join(root, 'huge.json'), '');
await truncate(path.join(root, 'huge.json'), 100 * 1024 * 1024);
execFileSync('mkfifo', [path.join(root, 'pipe.json')]);

const DEADLINE_MS = 20_000;
const MODERN = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientCapabilities': {},
};

interface Message {
  readonly id?: unknown;
  readonly method?: string;
  readonly params?: { readonly progress: number; readonly total: number; readonly progressToken: unknown };
  readonly result?: Record<string, unknown>;
  readonly error?: { readonly code: number; readonly message: string; readonly data?: unknown };
}

/** What a tool answers. */
interface ToolResult {
  readonly content: readonly { readonly type: string; readonly text: string }[];
  readonly structuredContent?: Record<string, unknown>;
  readonly isError: boolean;
}

let made = 0;

class Client {
  readonly child: ChildProcessWithoutNullStreams;
  readonly messages: Message[] = [];
  readonly exited: Promise<number | null>;
  #waiting: (() => void)[] = [];
  #rest = '';
  #lastId = 0;

  constructor(args: readonly string[] = [], behaviour: Omit<FakeBehaviour, 'counterFile'> = {}) {
    made += 1;
    const counterFile = path.join(folder, `starts-${made}`);
    this.child = spawn(process.execPath, [CLI, 'mcp', ...args], {
      env: { ...process.env, FAKE_HELPER: JSON.stringify({ ...behaviour, counterFile }) },
    });
    this.child.stdin.on('error', () => undefined);
    this.exited = new Promise((resolve) => this.child.on('exit', (code) => resolve(code)));
    this.child.stdout.setEncoding('utf8').on('data', (text: string) => {
      const lines = (this.#rest + text).split('\n');
      this.#rest = lines.pop() ?? '';
      // Every line is a message: anything else on stdout fails the test here.
      for (const line of lines) this.messages.push(JSON.parse(line) as Message);
      for (const wake of this.#waiting.splice(0)) wake();
    });
    void this.exited.then(() => this.#waiting.splice(0).forEach((wake) => wake()));
  }

  send(message: object): void {
    this.child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
  }

  async until(look: (message: Message) => boolean): Promise<Message> {
    const deadline = Date.now() + DEADLINE_MS;
    for (;;) {
      const found = this.messages.find(look);
      if (found !== undefined) return found;
      assert.ok(Date.now() < deadline, `no such message among ${JSON.stringify(this.messages).slice(0, 2000)}`);
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
        setTimeout(resolve, 100);
      });
    }
  }

  async ask(method: string, params: object = {}): Promise<Message> {
    this.#lastId += 1;
    const id = this.#lastId;
    this.send({ id, method, params });
    return this.until((message) => message.id === id);
  }

  async call(name: string, args: object = {}): Promise<ToolResult> {
    const { result, error } = await this.ask('tools/call', { name, arguments: args, _meta: MODERN });
    assert.equal(error, undefined, JSON.stringify(error));
    return result as unknown as ToolResult;
  }

  async close(): Promise<number | null> {
    this.child.stdin.end();
    return this.exited;
  }
}

async function withClient(
  args: readonly string[],
  behaviour: Omit<FakeBehaviour, 'counterFile'>,
  use: (client: Client) => Promise<void>,
): Promise<void> {
  const client = new Client(args, behaviour);
  try {
    await use(client);
    assert.equal(await client.close(), 0);
  } finally {
    client.child.kill('SIGKILL');
  }
}

function childrenOf(pid: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((each) => {
      try {
        return readFileSync(`/proc/${each}/status`, 'utf8').includes(`\nPPid:\t${pid}\n`);
      } catch {
        // It ended while we looked.
        return false;
      }
    });
}

test('the handshake of earlier revisions: version agreed on, then tools', async () => {
  await withClient([], {}, async (client) => {
    assert.equal((await client.ask('tools/list')).error?.code, -32602);
    for (const [asked, agreed] of [
      ['2025-06-18', '2025-06-18'],
      ['2024-11-05', '2024-11-05'],
      ['1999-01-01', '2025-11-25'],
    ]) {
      const { result } = await client.ask('initialize', { protocolVersion: asked, capabilities: {}, clientInfo: {} });
      assert.equal(result?.['protocolVersion'], agreed);
      assert.deepEqual(result?.['capabilities'], { tools: {} });
    }
    client.send({ method: 'notifications/initialized' });
    assert.deepEqual((await client.ask('ping')).result, {});
    const listed = (await client.ask('tools/list')).result?.['tools'] as { name: string; inputSchema: unknown }[];
    assert.deepEqual(
      listed.map(({ name, inputSchema }) => ({ name, inputSchema })),
      AGENT_TOOLS.map(({ name, inputSchema }) => ({ name, inputSchema })),
    );
    assert.equal((await client.ask('resources/list')).error?.code, -32601);
    assert.equal((await client.ask('tools/call', { name: 'rm', arguments: {} })).error?.code, -32602);
    assert.equal((await client.ask('tools/call', { arguments: {} })).error?.code, -32602);
  });
});

test('the current revision: every request stands for itself', async () => {
  await withClient([], {}, async (client) => {
    const discovered = (await client.ask('server/discover', { _meta: MODERN })).result;
    assert.ok((discovered?.['supportedVersions'] as string[]).includes('2026-07-28'));
    assert.equal(discovered?.['resultType'], 'complete');
    const listed = (await client.ask('tools/list', { _meta: MODERN })).result;
    assert.equal((listed?.['tools'] as unknown[]).length, 3);
    assert.equal(typeof listed?.['ttlMs'], 'number');
    const unknownVersion = { ...MODERN, 'io.modelcontextprotocol/protocolVersion': '2099-01-01' };
    const { error } = await client.ask('tools/list', { _meta: unknownVersion });
    assert.equal(error?.code, -32022);
    assert.equal((error.data as { requested: string }).requested, '2099-01-01');
    const bare = { 'io.modelcontextprotocol/protocolVersion': '2026-07-28' };
    assert.equal((await client.ask('tools/list', { _meta: bare })).error?.code, -32602);
    assert.equal((await client.ask('ping', { _meta: MODERN })).error?.code, -32601);
  });
});

test('explain answers with what the command line writes for the same question', async () => {
  const config = path.join(folder, 'serve.yaml');
  await writeFile(config, 'attention-backend: FLASH_ATTN\nkv-cache-dtype: fp8\n');
  const cli = JSON.parse(
    execFileSync(
      process.execPath,
      [CLI, 'explain', '--sm', '9.0', '--vllm', '0.20.2', '--model', path.join(root, 'gemma'), '--page', '16'].concat([
        '--system-fa4',
        'diff',
        '--json',
      ]),
      { encoding: 'utf8' },
    ),
  ) as Record<string, unknown>;
  await withClient(['--root', root], {}, async (client) => {
    const answer = await client.call('explain_attention_backend', {
      sm: '9.0',
      vllmVersion: '0.20.2',
      modelPath: 'gemma',
      useSystemFlashAttn: 'diff',
    });
    assert.equal(answer.isError, false);
    assert.deepEqual({ ...answer.structuredContent, createdAtMs: 0 }, { ...cli, createdAtMs: 0 });
    assert.deepEqual(JSON.parse(answer.content[0]?.text ?? ''), answer.structuredContent);

    const forced = await client.call('explain_attention_backend', {
      sm: '8.0',
      headDims: [128],
      serveSettings: { attention_backend: 'FLASH_ATTN', kv_cache_dtype: 'fp8' },
    });
    const explanation = forced.structuredContent?.['explanation'] as { findings: { severity: string }[] };
    assert.ok(explanation.findings.some((finding) => finding.severity === 'error'));
  });
});

test('files are read below the roots only', async () => {
  await withClient(['--root', root], {}, async (client) => {
    const refused = async (modelPath: string, why: RegExp): Promise<void> => {
      const { isError, content, structuredContent } = await client.call('explain_attention_backend', {
        sm: '9.0',
        modelPath,
      });
      const text = content.map((part) => part.text).join('\n');
      assert.equal(isError, true, modelPath);
      assert.match(text, why, modelPath);
      assert.equal(structuredContent, undefined);
      assert.ok(!text.includes('never to be seen'));
    };
    for (const outside of [
      '../secret.json',
      secret,
      '/etc/passwd',
      'gemma/../../secret.json',
      'link.json',
      'up/secret.json',
      'up',
      `${root}-other/config.json`,
    ]) {
      await refused(outside, /is outside the folders that may be read/);
    }
    await refused('pipe.json', /not a file/);
    await refused('huge.json', /more than/);
    await refused('nothing.json', /no such file/);
    await refused('gemma\0', /NUL/);
    assert.equal((await client.call('explain_attention_backend', { sm: '9.0', modelPath: 'gemma' })).isError, false);
    const absolute = path.join(root, 'gemma', 'config.json');
    assert.equal((await client.call('explain_attention_backend', { sm: '9.0', modelPath: absolute })).isError, false);
  });
  await withClient([], {}, async (client) => {
    const { isError, content } = await client.call('explain_attention_backend', { sm: '9.0', modelPath: 'gemma' });
    assert.equal(isError, true);
    assert.match(content[0]?.text ?? '', /--root/);
  });
});

test('arguments that no schema knows are refused, and name what was wrong', async () => {
  await withClient([], {}, async (client) => {
    for (const [name, args, why] of [
      ['explain_attention_backend', { python: '/bin/sh' }, /python/],
      ['explain_attention_backend', { sm: 'hopper' }, /SM family/],
      ['explain_attention_backend', { headDims: [] }, /headDims/],
      ['run_attention_kernels', { output: '/tmp/x' }, /output/],
      ['run_attention_kernels', { preset: 'nope' }, /preset/],
      ['run_attention_kernels', { qLen: 100_000, kvLen: 100_000 }, /too large for the CPU/],
      ['get_gpu_facts', { level: 'driver' }, /level/],
    ] as const) {
      const { isError, content } = await client.call(name, args);
      assert.equal(isError, true, name);
      assert.match(content[0]?.text ?? '', why);
    }
  });
});

test('a GPU is used only when the server was started for it', async () => {
  await withClient([], {}, async (client) => {
    const { isError, content } = await client.call('run_attention_kernels', { device: 'cuda:0' });
    assert.equal(isError, true);
    assert.match(content[0]?.text ?? '', /without --allow-gpu/);
    const facts = await client.call('get_gpu_facts');
    assert.equal(facts.structuredContent?.['command'], 'devices');
  });
  await withClient(['--allow-gpu'], {}, async (client) => {
    const { isError, content } = await client.call('run_attention_kernels', { device: 'cuda:0' });
    assert.equal(isError, true);
    assert.match(content[0]?.text ?? '', /no device "cuda:0".*get_gpu_facts/);
  });
});

test('a run reports progress and answers with the report', async () => {
  await withClient([], {}, async (client) => {
    client.send({
      id: 'run',
      method: 'tools/call',
      params: {
        name: 'run_attention_kernels',
        arguments: { headDims: [64], pageSizes: [0, 16] },
        _meta: { ...MODERN, progressToken: 'token' },
      },
    });
    const { result } = await client.until((message) => message.id === 'run');
    const report = (result as unknown as ToolResult).structuredContent as { command: string; rows: unknown[] };
    assert.equal(report.command, 'run');
    assert.equal(report.rows.length, 2);
    const progress = client.messages.filter((message) => message.method === 'notifications/progress');
    assert.deepEqual(
      progress.map(({ params }) => [params?.progressToken, params?.progress, params?.total]),
      [
        ['token', 0, 2],
        ['token', 1, 2],
        ['token', 2, 2],
      ],
    );
  });
});

test('a cancelled run is not answered any more, and the next one works', async () => {
  await withClient([], { cases: { 1: 'untilCancelled' } }, async (client) => {
    const run = (id: string): void =>
      client.send({
        id,
        method: 'tools/call',
        params: {
          name: 'run_attention_kernels',
          arguments: { headDims: [64], pageSizes: [0] },
          _meta: { ...MODERN, progressToken: id },
        },
      });
    run('first');
    await client.until((message) => message.params?.progressToken === 'first');
    // The run holds its device: a second one is refused in words, not queued.
    const second = await client.call('run_attention_kernels', { headDims: [64], pageSizes: [0] });
    assert.match(second.content[0]?.text ?? '', /Another run/);
    client.send({ method: 'notifications/cancelled', params: { requestId: 'first' } });
    // Until the first one has let go of the device, the next one is refused; accepted, it begins to report.
    const accepted = async (attempt: number): Promise<boolean> => {
      run(`next-${attempt}`);
      const sign = await client.until(
        ({ id, params }) => id === `next-${attempt}` || params?.progressToken === `next-${attempt}`,
      );
      if (sign.method !== 'notifications/progress') return false;
      await new Promise((resolve) => setTimeout(resolve, 300));
      if (client.messages.some(({ id }) => id === `next-${attempt}`)) return false;
      client.send({ method: 'notifications/cancelled', params: { requestId: `next-${attempt}` } });
      return true;
    };
    let attempt = 1;
    while (!(await accepted(attempt))) {
      attempt += 1;
      assert.ok(attempt < 50, 'the cancelled run still holds the device');
    }
    assert.equal(
      client.messages.find((message) => message.id === 'first'),
      undefined,
    );
  });
});

test('malformed and oversized lines are errors of their own, and the server goes on', async () => {
  await withClient([], {}, async (client) => {
    client.child.stdin.write('{"jsonrpc":"2.0","id":1,\n');
    await client.until((message) => message.error?.code === -32700);
    client.child.stdin.write('[]\n17\n{"id":9,"method":"ping"}\n{"jsonrpc":"2.0","id":null,"method":"ping"}\n');
    await client.until((message) => message.error?.code === -32600 && message.id === 9);
    await client.until(() => client.messages.filter((message) => message.error?.code === -32600).length === 4);
    client.child.stdin.write(`"${'x'.repeat(MAX_LINE_CHARACTERS + 10)}"\n`);
    await client.until((message) => message.error?.message.includes('characters at most') === true);
    client.child.stdin.write('{"jsonrpc":"2.0","id":5,"result":{}}\n\n');
    assert.deepEqual((await client.ask('ping')).result, {});
  });
});

test('the process ends when stdin closes, in the middle of a run, and takes its helper along', async () => {
  const client = new Client([], { cases: { 1: 'untilCancelled' } });
  try {
    client.send({
      id: 1,
      method: 'tools/call',
      params: { name: 'run_attention_kernels', arguments: { headDims: [64] }, _meta: { ...MODERN, progressToken: 1 } },
    });
    await client.until((message) => message.method === 'notifications/progress');
    const { pid } = client.child;
    assert.ok(pid !== undefined);
    const [helper] = childrenOf(pid);
    assert.ok(helper !== undefined, 'no helper was running');
    assert.equal(await client.close(), 0);
    assert.ok(!existsSync(`/proc/${helper}`), 'the helper is still there');
  } finally {
    client.child.kill('SIGKILL');
  }
});

test('a root that is no folder is a mistake of the command line', () => {
  assert.throws(
    () => execFileSync(process.execPath, [CLI, 'mcp', '--root', secret], { stdio: 'pipe' }),
    (error: { status: number; stderr: Buffer }) =>
      error.status === 2 && /--root takes a folder/.test(error.stderr.toString()),
  );
});
