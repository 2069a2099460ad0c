/**
 * Serve settings from the files people keep them in: vLLM YAML, shell scripts, Dockerfiles, docker-compose files,
 * Kubernetes manifests, launch.json and tasks.json, `.env`. Every setting keeps its place; nothing is executed or expanded. Pure.
 */
import type { ServeSettings } from '../request';
import { DEFAULT_SERVE_SETTINGS } from '../request';
import type { Found, FoundServer, LocatedEnv, LocatedSetting, ServeFindings } from './serveConfigArgs';
import { humanReadableInt, noFindings } from './serveConfigArgs';
import type { LocatedImage } from './serveConfigImage';
import { readDockerfile, readEditorJson } from './serveConfigFiles';
import { readDotEnv, readShell } from './serveConfigShell';
import { readKubernetes } from './serveConfigKubernetes';
import { isTextOnly, notJudged } from './serveConfigMultimodal';
import type { ServeProblem } from './serveConfigSource';
import { SourceFile } from './serveConfigSource';
import { readCompose, readVllmYaml } from './serveConfigYaml';

/** How a file is read, decided by its name (and, for YAML, by what stands at its top). */
export type ServeFileKind = 'vllmYaml' | 'compose' | 'kubernetes' | 'shell' | 'dockerfile' | 'editorJson' | 'dotEnv';

/** What a serve file says. */
export interface ParsedServe {
  readonly kind: ServeFileKind;
  /** Only what the file sets; the rest is vLLM's default. Empty when there is a problem of severity `error`. */
  readonly settings: Partial<ServeSettings>;
  /** The same, and everything else about selection, with places. */
  readonly located: readonly LocatedSetting[];
  /** Environment variables that concern vLLM, whether or not a release still reads them. */
  readonly env: readonly LocatedEnv[];
  /** `VLLM_MLA_DISABLE=1` is set. */
  readonly mlaDisabled: boolean;
  /** `use_system_flash_attn` as written, `null` when it is not. */
  readonly useSystemFlashAttn: LocatedSetting | null;
  /** vLLM images that are started or built on. */
  readonly images: readonly LocatedImage[];
  /** The servers of the file that the rest of this is not about. */
  readonly others: readonly Pick<ParsedServe, 'located' | 'env'>[];
  readonly problems: readonly ServeProblem[];
}

/** Larger files are not serve files. */
export const SERVE_FILE_LIMIT_BYTES = 1024 * 1024;

/** The kind of a serve file by its path, `null` when it is none that is read. */
export function serveFileKind(path: string, text: string): ServeFileKind | null {
  const name = path.split(/[\\/]/).at(-1) ?? '';
  if (/\.ya?ml$/i.test(name)) {
    if (/^apiVersion\s*:/m.test(text) && /^kind\s*:/m.test(text)) return 'kubernetes';
    return /^services\s*:/m.test(text) ? 'compose' : 'vllmYaml';
  }
  if (/^(launch|tasks)\.json$/.test(name)) return 'editorJson';
  if (/^(Dockerfile|Containerfile)(\..+)?$|\.(dockerfile|containerfile)$/i.test(name)) return 'dockerfile';
  if (/^\.env(\..+)?$|\.env$/.test(name)) return 'dotEnv';
  return /\.(sh|bash|zsh|slurm|sbatch)$/.test(name) || text.startsWith('#!') ? 'shell' : null;
}

const READERS: Readonly<Record<ServeFileKind, (file: SourceFile, findings: ServeFindings) => void>> = {
  vllmYaml: readVllmYaml,
  compose: readCompose,
  kubernetes: readKubernetes,
  shell: (file, findings) => readShell(file, 0, file.text.length, findings),
  dockerfile: readDockerfile,
  editorJson: readEditorJson,
  dotEnv: readDotEnv,
};

/** Reads a serve file. `path` is only used to name it in ranges. Never throws. */
export function parseServeFile(path: string, text: string, kind: ServeFileKind): ParsedServe {
  const file = new SourceFile(path, text);
  const findings = noFindings();
  if (text.length > SERVE_FILE_LIMIT_BYTES) {
    findings.problems.push({
      code: 'tooLarge',
      severity: 'error',
      text: 'The file is larger than 1 MiB and was not read.',
      range: file.range(0, 0),
    });
  } else {
    READERS[kind](file, findings);
  }
  const recognized = findings.servers.filter((server) => server.recognized);
  const servers = recognized.length > 0 ? recognized : findings.servers;
  const found: Found = servers[0] ?? findings;
  const problems = found === findings ? findings.problems : [...found.problems, ...findings.problems];
  const failed = problems.some((problem) => problem.severity === 'error');
  const located = failed ? [] : found.settings;
  const env = failed ? [] : found.env;
  const images = failed ? [] : found.images;
  problems.push(...notJudged(located));
  if (!failed) problems.push(...severalServers(servers), ...nothingFound(file, { ...found, servers }));
  return {
    kind,
    settings: toServeSettings(located, env, problems),
    located,
    env,
    mlaDisabled: isOn(env, 'VLLM_MLA_DISABLE'),
    useSystemFlashAttn: lastOf(located, 'attention_config.use_system_flash_attn') ?? null,
    images,
    others: servers.slice(1).map((server) => ({ located: server.settings, env: server.env })),
    problems,
  };
}

/** What a server says, as comparable text: of each setting and variable the last value. The model is chosen elsewhere. */
function says({ settings, env, images }: Found): string {
  const last = new Map<string, unknown>([
    ...settings.filter((setting) => setting.name !== 'model').map(({ name, value }) => [name, value] as const),
    ...env.map(({ name, value }) => [name, value] as const),
    ...images.map(({ release }) => ['image', release] as const),
  ]);
  return JSON.stringify([...last].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Says that the answer is about the first of several servers, when they differ. */
function severalServers(servers: readonly FoundServer[]): readonly ServeProblem[] {
  const [first] = servers;
  if (first === undefined || new Set(servers.map(says)).size === 1) return [];
  const lines = new Set(servers.map(({ range }) => range.startLine));
  const places = servers.map(({ name, range: { startLine, startColumn } }) => {
    const line = `line ${startLine + 1}${lines.size < servers.length ? ` column ${startColumn + 1}` : ''}`;
    return name === null ? line : `${name} in ${line}`;
  });
  const what = first.recognized ? 'vLLM servers with different settings' : 'programs with different variables of vLLM';
  const text = `The file starts ${servers.length} ${what} (${places.join(', ')}). The answer is about the first of them only.`;
  return [{ code: 'severalServers', severity: 'info', text, range: first.range }];
}

/** Says that a file holds nothing that is read, so that nobody takes the answer for one about the file. */
function nothingFound(
  file: SourceFile,
  { settings, env, images, servers }: Omit<ServeFindings, 'owner'>,
): readonly ServeProblem[] {
  if (settings.length + env.length + images.length + servers.length > 0) return [];
  const name = file.path.split(/[\\/]/).at(-1) ?? '';
  const text = `No setting of vLLM was found in ${name}, so the answer is that of vLLM's defaults.`;
  return [{ code: 'nothingFound', severity: 'warning', text, range: file.range(0, 0) }];
}

/** All settings: those of the file over vLLM's defaults. */
export function completeServeSettings(settings: Partial<ServeSettings>): ServeSettings {
  return { ...DEFAULT_SERVE_SETTINGS, ...settings };
}

function lastOf(located: readonly LocatedSetting[], name: string): LocatedSetting | undefined {
  return located.filter((setting) => setting.name === name).at(-1);
}

/** vLLM reads its on/off variables as whole numbers: anything but 0 is on. */
function isOn(env: readonly LocatedEnv[], name: string): boolean {
  const value = env.filter((entry) => entry.name === name).at(-1)?.value;
  return (
    value !== undefined &&
    value !== null &&
    Number.parseInt(value, 10) !== 0 &&
    !Number.isNaN(Number.parseInt(value, 10))
  );
}

/** Writable form of the settings, for building them up. */
type Draft = { -readonly [K in keyof ServeSettings]?: ServeSettings[K] };

const DTYPES: Readonly<Record<string, ServeSettings['dtype']>> = {
  auto: 'auto',
  bfloat16: 'bfloat16',
  float16: 'float16',
  half: 'float16',
  float32: 'float32',
  float: 'float32',
};

/** The settings that evaluation reads, from their located form. A value of the wrong kind is a problem and is left out. */
function toServeSettings(
  located: readonly LocatedSetting[],
  env: readonly LocatedEnv[],
  problems: ServeProblem[],
): Partial<ServeSettings> {
  const draft: Draft = {};
  const wrong = (setting: LocatedSetting, expected: string): void => {
    const text = `${setting.name} must be ${expected}; it is not taken into account.`;
    problems.push({ code: 'invalidValue', severity: 'warning', text, range: setting.range });
  };
  const read = <T>(
    name: string,
    expected: string,
    convert: (value: unknown, setting: LocatedSetting) => T | undefined,
  ): T | undefined => {
    const setting = lastOf(located, name);
    // A null is vLLM's "not set".
    if (setting === undefined || setting.value === null) return undefined;
    const value = convert(setting.value, setting);
    if (value === undefined) wrong(setting, expected);
    return value;
  };
  const text = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined);
  const count = (value: unknown): number | undefined => {
    const number = typeof value === 'string' ? humanReadableInt(value) : value;
    return typeof number === 'number' && Number.isInteger(number) && number > 0 ? number : undefined;
  };
  const flag = (value: unknown): boolean | undefined => (typeof value === 'boolean' ? value : undefined);

  const backend =
    read('attention_config.backend', 'the name of a backend', text) ??
    read('attention_backend', 'the name of a backend', text);
  if (backend !== undefined) draft.backend = backend;
  const perKind = located.filter((setting) => setting.name.startsWith('attention_config.backend_per_kind.'));
  if (perKind.length > 0) {
    draft.backendPerKind = Object.fromEntries(
      perKind.flatMap((setting) => {
        if (typeof setting.value === 'string')
          return [[setting.name.slice('attention_config.backend_per_kind.'.length), setting.value]];
        wrong(setting, 'the name of a backend');
        return [];
      }),
    );
  }
  // A string such as "4" is refused by vLLM itself, so it is not the number here either.
  const version = read('attention_config.flash_attn_version', 'a whole number, not a string', (value) =>
    typeof value === 'number' && Number.isInteger(value) ? value : undefined,
  );
  if (version !== undefined) draft.flashAttnVersion = version;
  const prefill = read('attention_config.mla_prefill_backend', 'the name of a backend', text);
  if (prefill !== undefined) draft.mlaPrefillBackend = prefill;
  const kvDtype = read('kv_cache_dtype', 'the name of a dtype', text);
  if (kvDtype !== undefined) draft.kvCacheDtype = kvDtype;
  const blockSize = read('block_size', 'a whole number above 0', count);
  if (blockSize !== undefined) draft.blockSize = blockSize;
  const dtype = read('dtype', 'auto, bfloat16, float16 or float32', (value) =>
    typeof value === 'string' && Object.hasOwn(DTYPES, value) ? DTYPES[value] : undefined,
  );
  if (dtype !== undefined) draft.dtype = dtype;
  const tensorParallel = read('tensor_parallel_size', 'a whole number above 0', count);
  if (tensorParallel !== undefined) draft.tensorParallelSize = tensorParallel;
  const decodeContext = read('decode_context_parallel_size', 'a whole number above 0', count);
  if (decodeContext !== undefined) draft.decodeContextParallelSize = decodeContext;
  const prefillContext = read('prefill_context_parallel_size', 'a whole number above 0', count);
  if (prefillContext !== undefined) draft.prefillContextParallelSize = prefillContext;
  const nonCausal = read('attention_config.use_non_causal', 'true or false', flag);
  if (nonCausal !== undefined) draft.useNonCausal = nonCausal;
  const trtllm = read('attention_config.use_trtllm_attention', 'true or false', flag);
  if (trtllm !== undefined) draft.useTrtllmAttention = trtllm;
  if (lastOf(located, 'kv_transfer_config') !== undefined) draft.kvConnector = true;
  if (isTextOnly(located)) draft.textOnly = true;
  const speculative = lastOf(located, 'speculative_config')?.value;
  if (typeof speculative === 'object' && speculative !== null && 'enable_adaptive_verification' in speculative) {
    draft.adaptiveVerification = speculative.enable_adaptive_verification === true;
  }
  if (isOn(env, 'VLLM_BATCH_INVARIANT')) draft.batchInvariant = true;
  return draft;
}
