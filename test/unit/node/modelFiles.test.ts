import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { modelName } from '../../../extension/core/state/loadedFiles';
import { findCachedModel, hubCacheFolder, listCachedModels } from '../../../extension/node/modelFiles';

const COMMIT = '0123456789abcdef0123456789abcdef01234567';

async function withHub(body: (hub: string, env: NodeJS.ProcessEnv) => Promise<void>): Promise<void> {
  const hub = mkdtempSync(path.join(os.tmpdir(), 'attn-diag hub é-'));
  try {
    await body(hub, { HF_HUB_CACHE: hub });
  } finally {
    rmSync(hub, { recursive: true });
  }
}

/** A cached model as huggingface_hub lays it out: blobs, and a snapshot of links to them. */
function add(hub: string, folder: string, commit: string, ref: string | null): string {
  const root = path.join(hub, folder);
  const snapshot = path.join(root, 'snapshots', commit);
  mkdirSync(snapshot, { recursive: true });
  mkdirSync(path.join(root, 'blobs'), { recursive: true });
  writeFileSync(path.join(root, 'blobs', 'abc'), '{}');
  symlinkSync('../../blobs/abc', path.join(snapshot, 'config.json'));
  if (ref !== null) {
    mkdirSync(path.join(root, 'refs'), { recursive: true });
    writeFileSync(path.join(root, 'refs', 'main'), ref);
  }
  return path.join(snapshot, 'config.json');
}

test('models of the cache are listed by name, with the snapshot of main', () =>
  withHub(async (hub, env) => {
    const gemma = add(hub, 'models--google--gemma-3-4b-it', COMMIT, COMMIT);
    add(hub, 'models--google--gemma-3-4b-it', 'f'.repeat(40), null);
    const gpt2 = add(hub, 'models--gpt2', 'e'.repeat(40), null);
    add(hub, 'datasets--x--y', COMMIT, COMMIT);
    assert.deepEqual(await listCachedModels(env), [
      { id: 'google/gemma-3-4b-it', configPath: gemma },
      { id: 'gpt2', configPath: gpt2 },
    ]);
    assert.equal(await findCachedModel('google/gemma-3-4b-it', env), gemma);
    assert.equal(modelName(gemma), 'google/gemma-3-4b-it');
  }));

test('half a download, a ref that points out of the cache, and loops are left out', () =>
  withHub(async (hub, env) => {
    mkdirSync(path.join(hub, 'models--a--b', 'snapshots', COMMIT), { recursive: true });
    add(hub, 'models--c--d', COMMIT, '../../../../etc');
    add(hub, 'models--c--d', 'f'.repeat(40), null);
    symlinkSync('models--loop--x', path.join(hub, 'models--loop--x'));
    assert.deepEqual(await listCachedModels(env), []);
    for (const id of ['../../etc', 'a/b/c', '/etc', 'a/..', '']) assert.equal(await findCachedModel(id, env), null);
  }));

test('no cache is an empty one; the folder follows huggingface_hub’s variables', async () => {
  assert.deepEqual(await listCachedModels({ HF_HUB_CACHE: '/nonexistent' }), []);
  assert.equal(hubCacheFolder({ HF_HOME: '/hf' }), '/hf/hub');
  assert.equal(hubCacheFolder({ XDG_CACHE_HOME: '/c' }), '/c/huggingface/hub');
  assert.equal(hubCacheFolder({}), path.join(os.homedir(), '.cache/huggingface/hub'));
});
