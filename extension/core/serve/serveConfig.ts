/**
 * Serve settings from the files people keep them in: vLLM YAML, shell scripts, Dockerfiles, docker-compose files,
 * Kubernetes manifests, launch.json and tasks.json, `.env`. Every setting keeps its place; nothing is executed or expanded. Pure.
 */
import type { ServeSettings } from '../request';
import { DEFAULT_SERVE_SETTINGS } from '../request';
import type { LocatedEnv, LocatedSetting, ServeFindings } from './serveConfigArgs';
import { humanReadableInt, noFindings } from './serveConfigArgs';
import type { LocatedImage } from './serveConfigImage';
import { readDockerfile, readEditorJson } from './serveConfigFiles';
import { readDotEnv, readShell } from './serveConfigShell';
import { readKubernetes } from './serveConfigKubernetes';
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
  const failed = findings.problems.some((problem) => problem.severity === 'error');
  const located = failed ? [] : findings.settings;
  const env = failed ? [] : findings.env;
  return {
    kind,
    settings: toServeSettings(located, env, findings.problems),
    located,
    env,
    mlaDisabled: isOn(env, 'VLLM_MLA_DISABLE'),
    useSystemFlashAttn: lastOf(located, 'attention_config.use_system_flash_attn') ?? null,
    images: failed ? [] : findings.images,
    problems: findings.problems,
  };
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
  if (lastOf(located, 'language_model_only') !== undefined) draft.textOnly = true;
  const speculative = lastOf(located, 'speculative_config')?.value;
  if (typeof speculative === 'object' && speculative !== null && 'enable_adaptive_verification' in speculative) {
    draft.adaptiveVerification = speculative.enable_adaptive_verification === true;
  }
  if (isOn(env, 'VLLM_BATCH_INVARIANT')) draft.batchInvariant = true;
  return draft;
}
