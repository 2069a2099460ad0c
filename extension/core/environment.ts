/**
 * What the Python environment probe answers (python/probe.py), and what follows from it for evaluation. Pure; the probe is
 * run by node/pythonProbe.ts.
 */
import * as v from 'valibot';
import type { LibraryAvailability } from './request';
import { isAtLeast } from './model/modelShapeReleases';

/** Raised together with the script when the document changes shape. */
export const PROBE_SCHEMA = 'attn-diag-probe/1';

const text = v.pipe(v.string(), v.maxLength(4096));
const names = v.pipe(v.array(text), v.maxLength(4096));
const nullable = <S extends v.BaseSchema<unknown, unknown, v.BaseIssue<unknown>>>(schema: S) => v.nullable(schema);

/** An FA4 `interface.py`: what its comparisons and signature say. */
const cuteSchema = v.object({
  path: text,
  /** Largest head size the SM90 check takes; `null` when the check was not found. */
  sm90HeadDimMax: nullable(v.number()),
  refusesSplitKvOnSm90: v.boolean(),
  forwardParameters: names,
  /** How many values the forward returns. */
  forwardReturns: nullable(v.number()),
});

const attentionConfigSchema = v.object({
  path: text,
  fields: v.array(
    v.object({
      name: text,
      annotation: text,
      default: nullable(text),
      /** The values of a `Literal[…]` annotation. */
      literals: v.array(v.union([v.string(), v.number(), v.boolean()])),
    }),
  ),
  /** Unknown fields stop start-up (`true`) or are dropped without a word (`false`). */
  forbidsUnknown: nullable(v.boolean()),
});

const vllmSchema = v.object({
  root: text,
  isNamespace: v.boolean(),
  /** Version of the distribution; `null` for a source tree without metadata. */
  version: nullable(text),
  /** `null` before 0.13.0, or when it could not be read (then `problems` says so). */
  attentionConfig: nullable(attentionConfigSchema),
  backends: nullable(v.object({ path: text, members: names })),
  /** Question → capability major → backends in order, as the installed function answers. */
  priorities: nullable(v.record(text, v.record(text, names))),
  fa2: v.boolean(),
  fa3: v.boolean(),
  fa4: nullable(cuteSchema),
  /** vLLM's own test for FA4 since 0.17.0. */
  fa4Exists: v.boolean(),
  flashmla: v.boolean(),
  /** `unguarded`: a `flash_attn` without `ops` stops every model with rotary embedding. */
  rotaryImport: nullable(v.picklist(['none', 'guarded', 'rocmOnly', 'unguarded'])),
  /** 0.11.1–0.16.0 try to import a system `flash_attn.cute` and use nothing of it. */
  probesSystemFa4: nullable(v.boolean()),
});

/** The probe's answer. */
export const environmentFactsSchema = v.object({
  schema: v.literal(PROBE_SCHEMA),
  python: v.object({ version: text, executable: text, prefix: text, isVenv: v.boolean() }),
  /** Only distributions that take part in selection. `others` are hidden copies of the same distribution. */
  dists: v.record(
    text,
    v.object({ version: text, path: text, others: v.array(v.object({ version: text, path: text })) }),
  ),
  /** Requirements that are not met; `installed` is `null` for a missing distribution. */
  conflicts: v.array(v.object({ by: text, requirement: text, name: text, installed: nullable(text) })),
  /** `null` = there is no vLLM in this environment. */
  vllm: nullable(vllmSchema),
  /** Directories called `flash_attn` on the import path, in import order. */
  flashAttnPlaces: v.array(
    v.object({ path: text, hasInit: v.boolean(), hasRotary: v.boolean(), hasCuteInterface: v.boolean() }),
  ),
  /** pip's flash-attn-4; `null` when that distribution is absent. */
  systemFa4: nullable(
    v.object({
      version: text,
      /** Its own interface.py; `null` when the file is gone. */
      interface: nullable(text),
      /** What `import flash_attn.cute` finds, which may be another distribution's copy. */
      importedInterface: nullable(text),
      importedIsOwn: v.boolean(),
      /** Distributions whose file list claims the interface. */
      owners: names,
      cute: nullable(cuteSchema),
    }),
  ),
  torchCuda: nullable(text),
  flashinfer: v.boolean(),
  flashinferCubin: v.boolean(),
  tokenspeedMla: v.boolean(),
  nvcc: nullable(text),
  ninja: nullable(text),
  /** What could not be read; the rest stands. */
  problems: v.array(v.object({ where: text, what: text })),
  durationMs: v.number(),
});
export type EnvironmentFacts = v.InferOutput<typeof environmentFactsSchema>;

/** The vLLM release of the environment, `null` without vLLM or metadata. */
export function installedVllmVersion(facts: EnvironmentFacts): string | null {
  return facts.vllm?.version ?? null;
}

/** Does the installed vLLM declare a field of AttentionConfig? `null` = there is no vLLM, or its class was not readable. */
export function declaresAttentionField(facts: EnvironmentFacts, field: string): boolean | null {
  if (facts.vllm === null) return null;
  const config = facts.vllm.attentionConfig;
  if (config !== null) return config.fields.some((declared) => declared.name === field);
  // No class at all is an answer for releases before 0.13.0 only.
  const version = facts.vllm.version;
  return version !== null && !isAtLeast(version, '0.13.0') ? false : null;
}

/**
 * FlashInfer builds kernels it has no cubins of with nvcc (from 0.32.0 with ninja too). utils/flashinfer.py,
 * `has_flashinfer`; the validators do not ask it, they import the module.
 */
function flashinferCompiler(facts: EnvironmentFacts): boolean {
  const version = installedVllmVersion(facts);
  const needsNinja = version === null || isAtLeast(version, '0.32.0');
  return facts.nvcc !== null && (!needsNinja || facts.ninja !== null);
}

/**
 * Which libraries evaluation may count on. Cubins that are not installed may still be downloaded by vLLM, so their absence
 * is `null`, not `false`. Without vLLM nothing is said about what comes inside it.
 */
export function libraryAvailability(facts: EnvironmentFacts): LibraryAvailability {
  const { vllm } = facts;
  return {
    fa2: vllm?.fa2 ?? null,
    fa3: vllm?.fa3 ?? null,
    fa4: vllm?.fa4Exists ?? null,
    flashinfer: facts.flashinfer,
    flashinferCompiler: flashinferCompiler(facts),
    flashinferCubins: facts.flashinferCubin ? true : null,
    flashmla: vllm?.flashmla ?? null,
    tokenspeedMla: facts.tokenspeedMla,
    systemFa4: facts.systemFa4?.version ?? false,
  };
}

/** A trap in the environment; texts and fixes are made from the code downstream. */
export interface EnvironmentTrap {
  readonly code:
    /** flash-attn-4's files are gone although its metadata is there. */
    | 'systemFa4FilesMissing'
    /** `import flash_attn.cute` finds another copy, usually the stale one that flash-attn 2.8.3 ships. */
    | 'systemFa4Shadowed'
    /** `flash_attn` exists only as directories without `__init__.py` or any distribution. */
    | 'flashAttnLeftover'
    /** The installed vLLM imports `flash_attn.ops` unguarded and the `flash_attn` here has none: rotary models cannot start. */
    | 'rotaryImportBreaks'
    /** The same distribution is installed more than once. */
    | 'duplicateDist'
    /** Requirements of an installed distribution are not met. */
    | 'requirementConflict'
    /** flashinfer-cubin and flashinfer-python differ in version. */
    | 'cubinVersionDiffers'
    /** The directory `vllm` has no `__init__.py`. */
    | 'vllmIsNamespace';
  /** What it is about: a path, a distribution, a requirement. */
  readonly subject: string;
  /** Versions or paths that a sentence needs. */
  readonly detail: string;
}

/** Every trap found, in the order a reader should look at them. */
export function environmentTraps(facts: EnvironmentFacts): readonly EnvironmentTrap[] {
  const traps: EnvironmentTrap[] = [];
  const { vllm, systemFa4 } = facts;
  if (vllm?.isNamespace === true) traps.push({ code: 'vllmIsNamespace', subject: 'vllm', detail: vllm.root });

  // What `import flash_attn` finds: the first regular package, else all directories together as a namespace.
  const regular = facts.flashAttnPlaces.find((place) => place.hasInit);
  const hasRotary = regular?.hasRotary ?? facts.flashAttnPlaces.some((place) => place.hasRotary);
  const exists = facts.flashAttnPlaces.length > 0;
  if (vllm?.rotaryImport === 'unguarded' && exists && !hasRotary) {
    traps.push({
      code: 'rotaryImportBreaks',
      subject: vllm.version ?? 'vllm',
      detail: facts.flashAttnPlaces[0]?.path ?? '',
    });
  }
  if (systemFa4 !== null && systemFa4.interface === null) {
    traps.push({ code: 'systemFa4FilesMissing', subject: 'flash-attn-4', detail: systemFa4.version });
  } else if (systemFa4 !== null && !systemFa4.importedIsOwn) {
    traps.push({ code: 'systemFa4Shadowed', subject: 'flash-attn-4', detail: systemFa4.importedInterface ?? '' });
  }
  if (exists && regular === undefined && systemFa4 === null && facts.dists['flash-attn'] === undefined) {
    traps.push({ code: 'flashAttnLeftover', subject: 'flash_attn', detail: facts.flashAttnPlaces[0]?.path ?? '' });
  }
  const flashinfer = facts.dists['flashinfer-python']?.version;
  const cubin = facts.dists['flashinfer-cubin']?.version;
  if (flashinfer !== undefined && cubin !== undefined && flashinfer !== cubin) {
    traps.push({
      code: 'cubinVersionDiffers',
      subject: 'flashinfer-cubin',
      detail: `${cubin} with flashinfer-python ${flashinfer}`,
    });
  }
  for (const by of new Set(facts.conflicts.map((conflict) => conflict.by))) {
    const detail = facts.conflicts
      .filter((conflict) => conflict.by === by)
      .map(({ requirement, installed }) => `${requirement} (${installed ?? 'missing'})`)
      .join(', ');
    traps.push({ code: 'requirementConflict', subject: by, detail });
  }
  for (const [name, dist] of Object.entries(facts.dists)) {
    for (const other of dist.others) {
      traps.push({ code: 'duplicateDist', subject: name, detail: `${other.version} in ${other.path}` });
    }
  }
  return traps;
}
