/**
 * What an inspected environment gives rise to: traps that vLLM falls into, and places where the installed release is not
 * what the catalog says about it.
 */
import { attentionConfigFields, flashAttnVersionValues } from '../catalog/configFields';
import { backendPriorities } from '../catalog/priorities';
import type { SelectorQuery } from '../catalog/query';
import { backendNames } from '../catalog/registry';
import { resolveRelease, within } from '../catalog/releases';
import type { EnvironmentFacts, EnvironmentTrap } from '../environment';
import { environmentTraps, installedVllmVersion } from '../environment';
import { copyFix, type Finding, type Severity, type Source } from '../verdict';

/** What is said about a trap: severity, one line, what happens, what to do. */
interface TrapText {
  readonly severity: Severity;
  readonly title: string;
  /** Ends with the next step. */
  readonly detail: string;
  /** A command to copy. */
  readonly command?: string;
}

const TRAP_TEXTS: Readonly<Record<EnvironmentTrap['code'], (trap: EnvironmentTrap) => TrapText>> = {
  rotaryImportBreaks: ({ subject }) => ({
    severity: 'error',
    title: `flash-attn-4 stops vLLM ${subject} at start-up`,
    detail:
      'This release imports flash_attn.ops for every model with rotary embedding as soon as any flash_attn is there, and the one here has no ops. Uninstall flash-attn-4, install flash-attn beside it, or upgrade to vLLM 0.24.0.',
    command: 'pip uninstall flash-attn-4',
  }),
  vllmIsNamespace: ({ detail }) => ({
    severity: 'error',
    title: 'The vllm found is a directory without a package',
    detail: `${detail} has no __init__.py; it is a leftover or a working directory. Choose the interpreter of the environment that has vLLM.`,
  }),
  systemFa4FilesMissing: ({ detail }) => ({
    severity: 'warning',
    title: `flash-attn-4 ${detail} is registered, but its files are gone`,
    detail: 'Another package removed or replaced flash_attn/cute. Reinstall flash-attn-4, or uninstall it.',
    command: 'pip install --force-reinstall --no-deps flash-attn-4',
  }),
  systemFa4Shadowed: ({ detail }) => ({
    severity: 'warning',
    title: 'Another flash_attn hides flash-attn-4',
    detail: `Importing flash_attn.cute finds ${detail === '' ? 'no interface at all' : detail}, not the files of flash-attn-4; flash-attn 2.8.3 ships an old copy. Uninstall flash-attn, or reinstall flash-attn-4 after it.`,
  }),
  flashAttnLeftover: ({ detail }) => ({
    severity: 'warning',
    title: 'A flash_attn directory without a package is on the path',
    detail: `${detail} belongs to no installed distribution, but Python finds it as flash_attn. Delete it.`,
  }),
  cubinVersionDiffers: ({ detail }) => ({
    severity: 'warning',
    title: 'flashinfer-cubin does not fit flashinfer-python',
    detail: `flashinfer-cubin ${detail}; kernels for the other version are not used. Install the same version of both.`,
  }),
  requirementConflict: ({ subject, detail }) => ({
    severity: 'warning',
    title: `What ${subject} requires is not installed as it should be`,
    detail: `Required, with what is there in brackets: ${detail}. Reinstall ${subject}, or change what does not fit.`,
  }),
  duplicateDist: ({ subject, detail }) => ({
    severity: 'info',
    title: `${subject} is installed twice`,
    detail: `Python uses the first; the other is ${detail}. Uninstall it until none is left, then install it once.`,
  }),
};

function trapFinding(trap: EnvironmentTrap): Finding {
  const { severity, title, detail, command } = TRAP_TEXTS[trap.code](trap);
  const fixes = command === undefined ? [] : [copyFix(command)];
  return {
    id: `environment:${trap.code}:${trap.subject}`,
    code: `environment-${trap.code}`,
    severity,
    title,
    detail,
    level: 'inspected',
    source: null,
    range: null,
    fixes,
  };
}

/** The questions the probe put to the installed priority function, as the catalog takes them. */
const PRIORITY_QUERIES: Readonly<Record<string, Partial<SelectorQuery>>> = {
  standard: {},
  standardMmPrefix: { useMmPrefix: true },
  standardNonCausal: { useNonCausal: true },
  mla: { useMla: true, headSize: 576, numHeads: 128 },
  mlaFewHeads: { useMla: true, headSize: 576, numHeads: 16 },
  mlaFp8: { useMla: true, headSize: 576, numHeads: 128, kvCacheDtype: 'fp8' },
};

/** Fields of a query that the priority function does not read; any value will do. */
const NEUTRAL_QUERY: SelectorQuery = {
  headSize: 128,
  dtype: 'bfloat16',
  kvCacheDtype: 'auto',
  blockSize: null,
  useMla: false,
  hasSink: false,
  useSparse: false,
  useMmPrefix: false,
  usePerHeadQuantScales: false,
  attnType: 'decoder',
  hasSlidingWindow: false,
  useNonCausal: false,
  useBatchInvariant: false,
  useKvConnector: false,
  useAdaptiveVerification: false,
  usePcp: false,
  useDcp: false,
  useRswa: false,
  numHeads: 32,
};

/** One place where the installed release and the catalog say different things. */
export interface CatalogDifference {
  /** `fields`, `flash_attn_version`, `backends`, or `priorities QUESTION MAJOR`. */
  readonly what: string;
  readonly installed: readonly string[];
  readonly catalog: readonly string[];
}

const sorted = (names: readonly string[]): readonly string[] => [...names].sort();

/**
 * Compares what was inspected with the catalog's rows for exactly that release. Empty for development builds and for
 * releases the catalog does not know: there a difference is no contradiction.
 */
export function catalogDifferences(facts: EnvironmentFacts): readonly CatalogDifference[] {
  const version = installedVllmVersion(facts);
  if (version === null || facts.vllm === null) return [];
  const { release, stamp } = resolveRelease(version);
  if (stamp.match !== 'exact') return [];
  const differences: CatalogDifference[] = [];
  const compare = (what: string, installed: readonly string[], catalog: readonly string[]): void => {
    if (installed.join() !== catalog.join()) differences.push({ what, installed, catalog });
  };
  const { attentionConfig, backends, priorities } = facts.vllm;
  if (attentionConfig !== null) {
    const names = attentionConfig.fields.map((field) => field.name);
    compare('fields', sorted(names), sorted(attentionConfigFields(release)));
    const versions = attentionConfig.fields.find((field) => field.name === 'flash_attn_version')?.literals ?? [];
    compare('flash_attn_version', versions.map(String), flashAttnVersionValues(release).map(String));
  }
  if (backends !== null) compare('backends', sorted(backends.members), sorted(backendNames(release)));
  for (const [question, byMajor] of Object.entries(priorities ?? {})) {
    const query = PRIORITY_QUERIES[question];
    if (query === undefined) continue;
    for (const [major, names] of Object.entries(byMajor)) {
      const catalog = backendPriorities(release, [Number(major), 0], { ...NEUTRAL_QUERY, ...query });
      compare(`priorities ${question} ${major}.x`, names, catalog);
    }
  }
  return differences;
}

/** Families whose sinks and fastest paths need FlashInfer's trtllm kernels, by release. */
function wantsCubins(vllmVersion: string, [major]: readonly [number, number]): boolean {
  return major === 10 || (major === 12 && within(resolveRelease(vllmVersion).release, '0.28.0'));
}

/** FlashInfer without prebuilt kernels, on a family that needs those that only come prebuilt. */
function cubinsMissing(
  facts: EnvironmentFacts,
  vllmVersion: string,
  capability: readonly [number, number] | null,
): readonly Finding[] {
  const missing = facts.flashinfer && !facts.flashinferCubin;
  if (capability === null || !missing || !wantsCubins(vllmVersion, capability)) return [];
  const version = facts.dists['flashinfer-python']?.version;
  return [
    {
      id: 'flashinfer-cubin-missing',
      code: 'flashinfer-cubin-missing',
      severity: 'warning',
      title: 'flashinfer-cubin is not installed, so trtllm kernels depend on a download',
      detail: `On ${capability.join('.')} FlashInfer's trtllm and XQA paths, attention sinks included, use kernels that come prebuilt: vLLM takes them as there when it can reach NVIDIA's server, and goes without when it cannot. Install flashinfer-cubin of the same version as flashinfer-python.`,
      level: 'inspected',
      source: { where: `vllm ${vllmVersion} utils/flashinfer.py`, ruleId: 'TRAP-15' },
      range: null,
      fixes: [copyFix(`pip install flashinfer-cubin${version === undefined ? '' : `==${version}`}`)],
    },
  ];
}

/** Parts of an installed release that the probe reads, the first release that has them, and how a user finds them. */
const READ_PARTS = [
  { part: 'attentionConfig', since: '0.13.0', name: 'the fields of AttentionConfig (config/attention.py)' },
  { part: 'backends', since: '0.11.1', name: 'the list of attention backends' },
  { part: 'priorities', since: '0.11.1', name: 'the order of backends (platforms/cuda.py)' },
] as const;

const UNREAD_SHOWN = 3;
const UNREAD_LENGTH = 200;

/** What inspection did not find or could not read; without it the catalog answers, and nobody would know. */
function unreadParts(facts: EnvironmentFacts): readonly Finding[] {
  const base = { severity: 'warning', level: 'inspected', source: null, range: null, fixes: [] } as const;
  const dist = facts.dists['vllm'];
  if (facts.vllm === null && dist !== undefined && facts.problems.length === 0) {
    return [
      {
        ...base,
        id: 'environment-vllm-missing',
        code: 'environment-vllm-missing',
        title: `vLLM ${dist.version} is installed by name, but its package is not there`,
        detail: `Its metadata is ${dist.path}; no vllm package was found beside it, so the catalog answers. Reinstall vllm.`,
      },
    ];
  }
  const version = installedVllmVersion(facts);
  const { vllm } = facts;
  const known = version === null ? null : resolveRelease(version);
  const absent =
    vllm === null || vllm.isNamespace || known?.stamp.match !== 'exact'
      ? []
      : READ_PARTS.filter(({ part, since }) => vllm[part] === null && within(known.release, since));
  const unread = facts.problems.map(({ where, what }) => `${where}: ${what}`.replace(/\s+/g, ' '));
  if (absent.length === 0 && unread.length === 0) {
    return [];
  }
  const shown = unread
    .slice(0, UNREAD_SHOWN)
    .map((text) => (text.length > UNREAD_LENGTH ? `${text.slice(0, UNREAD_LENGTH)}…` : text));
  const more = unread.length > UNREAD_SHOWN ? [`and ${unread.length - UNREAD_SHOWN} more`] : [];
  const parts = [
    ...(absent.length === 0 ? [] : [`not found: ${absent.map(({ name }) => name).join(', ')}`]),
    ...(unread.length === 0 ? [] : [`not readable: ${[...shown, ...more].join('; ')}`]),
  ];
  return [
    {
      ...base,
      id: 'environment-unreadable',
      code: 'environment-unreadable',
      title: 'Parts of the inspected environment could not be read',
      detail: `In ${vllm?.root ?? 'the environment'}, ${parts.join('; ')}. The catalog answers for them. Reinstall the package they belong to.`,
    },
  ];
}

/** All findings about an environment: traps first, then differences from the catalog as contradictions. */
export function environmentFindings(facts: EnvironmentFacts): readonly Finding[] {
  const version = installedVllmVersion(facts) ?? '';
  const differences = catalogDifferences(facts).map((difference): Finding => {
    const only = (a: readonly string[], b: readonly string[]): string =>
      a.filter((name) => !b.includes(name)).join(', ');
    const installed = only(difference.installed, difference.catalog);
    const catalog = only(difference.catalog, difference.installed);
    const source: Source = { where: `vllm ${version} installed at ${facts.vllm?.root ?? ''}` };
    const parts = [
      ...(installed === '' ? [] : [`only installed: ${installed}`]),
      ...(catalog === '' ? [] : [`only in the catalog: ${catalog}`]),
    ];
    return {
      id: `environment:catalog:${difference.what}`,
      code: 'environment-catalogDiffers',
      severity: 'warning',
      title: `The installed vLLM ${version} differs from its release in ${difference.what}`,
      detail: `${parts.length === 0 ? 'The order is another' : parts.join('; ')}. The installed files are right; export a report and send it to us.`,
      level: 'inspected',
      source,
      range: null,
      fixes: [],
    };
  });
  return [...environmentTraps(facts).map(trapFinding), ...unreadParts(facts), ...differences];
}

/** Declared findings that inspection of the same release answers better, when it found anything at all. */
const INSPECTED_INSTEAD: ReadonlySet<string> = new Set(['flash-attn-4-breaks-rotary']);

/** Findings of the rules together with those of the environment; nothing is said twice. */
export function withEnvironment(
  findings: readonly Finding[],
  facts: EnvironmentFacts | null,
  vllmVersion: string,
  capability: readonly [number, number] | null,
): readonly Finding[] {
  if (facts === null) return findings;
  // Another release than the installed one was asked about: what its files would do is only declared.
  const isInstalled = installedVllmVersion(facts) === vllmVersion;
  const kept = isInstalled ? findings.filter((finding) => !INSPECTED_INSTEAD.has(finding.code)) : findings;
  const cubins = isInstalled ? cubinsMissing(facts, vllmVersion, capability) : [];
  const said = new Set(cubins.map((finding) => finding.code));
  return [...environmentFindings(facts), ...cubins, ...kept.filter((finding) => !said.has(finding.code))];
}
