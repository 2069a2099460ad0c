/** Models in the local Hugging Face cache: which are there, and where their config.json is. Reads folders only. */
import { readFile, readdir, stat } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';

/** A cached model. */
export interface CachedModel {
  /** `google/gemma-3-4b-it`. */
  readonly id: string;
  /** Absolute path of its config.json, in the snapshot that `main` stands for. */
  readonly configPath: string;
}

/** A cache can hold hundreds; a list to choose from need not. */
const MODEL_LIMIT = 500;

/** The hub's cache folder, by the variables huggingface_hub reads, in its order. */
export function hubCacheFolder(env: NodeJS.ProcessEnv): string {
  const explicit = env['HF_HUB_CACHE'] ?? env['HUGGINGFACE_HUB_CACHE'];
  if (explicit !== undefined && explicit !== '') return explicit;
  const home = env['HF_HOME'];
  if (home !== undefined && home !== '') return path.join(home, 'hub');
  const cache = env['XDG_CACHE_HOME'];
  return path.join(
    cache === undefined || cache === '' ? path.join(os.homedir(), '.cache') : cache,
    'huggingface',
    'hub',
  );
}

async function isFile(file: string): Promise<boolean> {
  return stat(file).then(
    (info) => info.isFile(),
    () => false,
  );
}

/** The commit `main` stands for; without that ref, as after a download by commit, the only snapshot there is. */
async function snapshotOf(folder: string): Promise<string | null> {
  const commit = await readFile(path.join(folder, 'refs', 'main'), 'utf8').then(
    (text) => text.trim(),
    () => '',
  );
  if (/^[0-9a-f]{40}$/.test(commit)) return path.join(folder, 'snapshots', commit);
  const snapshots = await readdir(path.join(folder, 'snapshots')).catch(() => []);
  const [only] = snapshots;
  return only !== undefined && snapshots.length === 1 ? path.join(folder, 'snapshots', only) : null;
}

async function cachedModel(hub: string, folder: string): Promise<CachedModel | null> {
  const snapshot = await snapshotOf(path.join(hub, folder));
  if (snapshot === null) return null;
  const configPath = path.join(snapshot, 'config.json');
  return (await isFile(configPath)) ? { id: folder.slice('models--'.length).replaceAll('--', '/'), configPath } : null;
}

/** Every cached model that has a config.json, by name. A cache that cannot be read is an empty one. */
export async function listCachedModels(env: NodeJS.ProcessEnv): Promise<readonly CachedModel[]> {
  const hub = hubCacheFolder(env);
  const folders = await readdir(hub).catch(() => []);
  const names = folders.filter((name) => /^models--[\w.-]+$/.test(name)).sort();
  const models = await Promise.all(names.slice(0, MODEL_LIMIT).map((name) => cachedModel(hub, name)));
  return models.filter((model) => model !== null);
}

/** The config.json of a model by its hub name; `null` when it is not in the cache or the text is no such name. */
export async function findCachedModel(id: string, env: NodeJS.ProcessEnv): Promise<string | null> {
  if (!/^[\w-][\w.-]*(\/[\w-][\w.-]*)?$/.test(id)) return null;
  const model = await cachedModel(hubCacheFolder(env), `models--${id.replace('/', '--')}`);
  return model?.configPath ?? null;
}
