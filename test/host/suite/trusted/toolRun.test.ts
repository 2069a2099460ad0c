/** A run that a language model's tool drives: shown, and ended by the same Cancel as the panel's own. */
import assert from 'node:assert/strict';
import path from 'node:path';
import * as vscode from 'vscode';
import { silentLogger } from '../../../../extension/core/logger';
import { initialState, type AppState } from '../../../../extension/core/state/appState';
import { Store } from '../../../../extension/core/state/store';
import { addonPaths } from '../../../../extension/node/addonLocator';
import { HelperClient } from '../../../../extension/node/helperClient';
import { registerLmTools } from '../../../../extension/vscode/lmTools';
import { Running } from '../../../../extension/vscode/running';
import { patch, restorePatches } from '../patched';
import { EXTENSION_ID, until } from '../support';

const PREFERENCES = { targetMs: 5, warmupMs: 0, maxMemoryFraction: 0.5 };

describe('a run of a tool', () => {
  const rootDir = vscode.extensions.getExtension(EXTENSION_ID)?.extensionPath ?? '';
  const tools = new Map<string, vscode.LanguageModelTool<object>>();
  let store: Store<AppState>;
  let running: Running;
  let client: HelperClient;

  beforeEach(() => {
    // Called directly, because the editor asks a person before it lets this tool run.
    patch(vscode.lm, 'registerTool', <T>(name: string, tool: vscode.LanguageModelTool<T>) => {
      tools.set(name, tool as vscode.LanguageModelTool<object>);
      return { dispose: () => undefined };
    });
    store = new Store<AppState>(
      initialState({
        flag: { value: false, setIn: 'default' },
        vllmVersion: { value: 'newest', setIn: 'default' },
        hasFolder: true,
        selectedDeviceId: null,
        trusted: true,
        capabilities: { platform: 'linux-x64', virtualWorkspace: false, measureBlocked: null },
      }),
      (error) => assert.fail(String(error)),
    );
    client = new HelperClient({
      helperPath: path.join(rootDir, 'dist', 'helperMain.js'),
      addonPaths: addonPaths(rootDir),
      kernelDir: null,
    });
    running = new Running({
      store,
      log: silentLogger,
      client: () => client,
      preferences: () => PREFERENCES,
      probe: () => Promise.resolve(),
      acceptFacts: () => undefined,
      interpreter: () => Promise.resolve(null),
      benchScript: '',
    });
    registerLmTools({
      store,
      log: silentLogger,
      client: () => client,
      running,
      preferences: () => PREFERENCES,
      checkAddon: () => undefined,
      toolVersion: '0',
    });
  });
  afterEach(async () => {
    restorePatches();
    await client.dispose();
  });

  async function invoke(input: object): Promise<{ rows: { result: { status: string } }[] }> {
    const token = new vscode.CancellationTokenSource().token;
    const result = await tools.get('run_attention_kernels')?.invoke({ input, toolInvocationToken: undefined }, token);
    const [part] = result?.content ?? [];
    assert.ok(part instanceof vscode.LanguageModelTextPart);
    return JSON.parse(part.value) as { rows: { result: { status: string } }[] };
  }

  it('is shown while it goes on, and the panel’s Cancel ends it with the finished rows kept', async () => {
    const ended = invoke({ device: 'cpu', headDims: [64, 512, 504], qLen: 512, kvLen: 1024, qHeads: 8, kvHeads: 8 });
    await until('the first row', () => {
      const { run } = store.state;
      return run.kind === 'running' && (run.counts.ok ?? 0) > 0;
    });
    assert.throws(() => running.show('cpu', [], new AbortController()), { code: 'usage' });
    running.cancel();
    const { rows } = await ended;
    const { run } = store.state;
    assert.ok(run.kind === 'finished' && run.ended === 'cancelled', JSON.stringify(run));
    assert.equal(rows[0]?.result.status, 'ok');
    assert.equal(rows.at(-1)?.result.status, 'cancelled');
    assert.equal(store.state.rows.length, rows.length);
  });

  it('that ends by itself is finished on every surface', async () => {
    const { rows } = await invoke({ device: 'cpu', headDims: [64], pageSizes: [0], qLen: 16, kvLen: 32 });
    assert.deepEqual(
      rows.map(({ result }) => result.status),
      ['ok'],
    );
    const { run } = store.state;
    assert.ok(run.kind === 'finished' && run.ended === 'complete', JSON.stringify(run));
  });
});
