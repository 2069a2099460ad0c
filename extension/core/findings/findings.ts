/**
 * Findings a request and its evaluation give rise to: contradictions, refusals, silent fallbacks, settings without
 * effect. Findings that need a place in a file take it through `FindingRanges`.
 */
import { attentionConfigFields, configSource, KV_CACHE_KINDS, MATCHABLE_KINDS } from '../catalog/configFields';
import { fa4Beta, NEWEST_FA4_BETA } from '../catalog/fa4Library';
import { isFlashAttnFamily } from '../catalog/flashAttnFamily';
import { backendNames, backendRow, memberSpan } from '../catalog/registry';
import { within } from '../catalog/releases';
import { lookedUpName, readBackendName } from '../catalog/select';
import type { PreparedRequest } from '../rules/evaluateQuery';
import type { GroupSelection } from '../evaluation';
import type { FindingDraft, FindingInput } from './findingDraft';
import { SPLIT_KV_MEASURED, systemFa4Measured } from './findingsMeasured';
import { flashAttnVersionFindings } from './flashAttnVersionFindings';
import { sentences } from '../format';
import { copyFix, type Finding, type Severity, type SourceRange, type Verdict } from '../verdict';

/** Settings a finding can point at. */
export type FindingSetting =
  'backend' | 'flashAttnVersion' | 'blockSize' | 'kvCacheDtype' | 'backendPerKind' | 'dtype' | 'useSystemFlashAttn';

/** Where the settings of a request were written; missing = not from a file. */
export type FindingRanges = Readonly<Partial<Record<FindingSetting, SourceRange>>>;

/** The backend set for the whole model, where it is of the other kind (latent attention or not); `null` = it is not. */
function mismatchedBackend({ request, prepared }: FindingInput): string | null {
  const choice = readBackendName(prepared.release, request.serve.backend);
  const { layerGroups } = request.model;
  const row = choice.kind === 'backend' ? backendRow(prepared.release, choice.name) : undefined;
  if (row === undefined || layerGroups.length === 0) {
    return null;
  }
  return (row.mla ?? false) === layerGroups.some((group) => group.mla !== null) ? null : row.id;
}

/** Whether the backend set for the whole model is none of the release. */
function isUnknownBackend({ request, prepared }: FindingInput): boolean {
  return readBackendName(prepared.release, request.serve.backend).kind === 'configError';
}

function explicitRefused(input: FindingInput): readonly FindingDraft[] {
  const { selections, prepared } = input;
  const { release, forcedBackend: forced } = prepared;
  const mismatched = mismatchedBackend(input);
  return selections.flatMap((selection): readonly FindingDraft[] => {
    if (selection.answer !== 'no' || selection.error === null) {
      return [];
    }
    // An unknown name has a finding of its own, and so has a backend of the other kind, with the same words of vLLM.
    if (/^(?:Unknown|Invalid) attention backend/.test(selection.error) && isUnknownBackend(input)) {
      return [];
    }
    if (mismatched !== null && selection.explicit && selection.error.includes(`AttentionBackendEnum.${mismatched} `)) {
      return [];
    }
    return [
      {
        code: selection.error.includes('MLA prefill')
          ? 'mla-prefill-refused'
          : selection.explicit
            ? 'explicit-backend-refused'
            : 'no-valid-backend',
        severity: 'error',
        about: selection.layerGroup,
        title: selection.explicit
          ? `vLLM ${release} refuses the chosen backend for ${selection.layerGroup}`
          : `vLLM ${release} finds no backend for ${selection.layerGroup}`,
        detail: sentences(
          `Start-up stops with: ${selection.error}`,
          selection.explicit
            ? 'Remove the backend setting or choose a backend that takes this layer.'
            : forced === null
              ? 'Change the setting that every backend refuses.'
              : `This release sets ${forced} itself; set another backend.`,
        ),
        source: { where: `vllm ${release} platforms/cuda.py`, ruleId: 'ERR' },
      },
    ];
  });
}

/** Reasons that a setting of the user's gives: the setting, and vLLM's word for it. */
const REFUSED_SETTINGS = [
  { code: 'kv-cache-dtype-refused', reason: 'kv_cache_dtype not supported', option: '--kv-cache-dtype' },
  { code: 'block-size-refused', reason: 'block_size not supported', option: '--block-size' },
] as const;

/**
 * A KV cache dtype or block size that the chosen backend or every backend refuses, or that alone keeps a backend out which
 * comes before the selected one. (A block size that only keeps some out is vLLM's own warning, see `blockSize`.)
 */
function refusedSettings({ request, prepared, selections, verdicts }: FindingInput): readonly FindingDraft[] {
  const { kvCacheDtype, blockSize: tokens } = request.serve;
  const values = { '--kv-cache-dtype': kvCacheDtype === 'auto' ? null : kvCacheDtype, '--block-size': tokens };
  return REFUSED_SETTINGS.flatMap(({ code, reason, option }) => {
    const value = values[option];
    if (value === null) return [];
    return selections.flatMap((selection): readonly FindingDraft[] => {
      const asked = verdicts.filter(
        (verdict) => verdict.question === 'selects' && verdict.layerGroup === selection.layerGroup,
      );
      const winner = asked.findIndex((verdict) => verdict.subject === selection.backend);
      const chosen = selection.explicit ? asked.slice(0, 1) : asked;
      const names = (verdict: Verdict): boolean => verdict.reasons.some((each) => each.text === reason);
      const stops = selection.error !== null && chosen.length > 0 && chosen.every(names);
      const alone = asked
        .slice(0, Math.max(0, winner))
        .filter((verdict) => names(verdict) && verdict.reasons.length === 1)
        .map((verdict) => verdict.subject);
      if (!stops && (alone.length === 0 || selection.explicit || option === '--block-size')) return [];
      return [
        {
          code,
          severity: stops ? 'error' : 'warning',
          about: selection.layerGroup,
          title: stops
            ? `${option} ${value} is refused by ${selection.explicit ? 'the chosen backend' : 'every backend'} for ${selection.layerGroup}`
            : `${option} ${value} keeps ${alone.join(', ')} out for ${selection.layerGroup}`,
          detail: sentences(
            stops
              ? `vLLM ${prepared.release} stops at start-up: ${reason}`
              : `${selection.backend ?? ''} is used instead, because ${alone.join(', ')} says: ${reason}`,
            `Remove ${option}, or choose a value or backend that go together.`,
          ),
          source: { where: `vllm ${prepared.release} v1/attention/backend.py`, ruleId: 'VAL' },
        },
      ];
    });
  });
}

/** The works verdict of the backend that a layer group got. */
function worksOf(selection: GroupSelection, verdicts: readonly Verdict[]): Verdict | undefined {
  return verdicts.find(
    (verdict) =>
      verdict.question === 'works' &&
      verdict.subject === selection.backend &&
      verdict.layerGroup === selection.layerGroup,
  );
}

/** Whether the flag gives this layer group to pip's flash-attn-4. Without the library the vendored FA4 runs, unasked. */
function runsSystemFa4(selection: GroupSelection, { context }: PreparedRequest): boolean {
  return (
    context.useSystemFlashAttn === true &&
    isFlashAttnFamily(selection.backend) &&
    selection.flashAttnVersion === 4 &&
    context.libraries.systemFa4 !== false
  );
}

/** What to do about a selected backend that fails, by the reason it fails for. */
const NEXT_STEPS: Readonly<Record<string, string>> = {
  'FLAG-FA3': 'Turn the flag off, or set flash_attn_version: 4 as well (0.17.0 on).',
  'FLAG-MLA': 'Turn the flag off for MLA models.',
};

/** Findings that already say why no FlashAttention version resolves. */
const VERSION_FINDINGS: ReadonlySet<string> = new Set(['flash-attn-version-invalid', 'flash-attn-version-unsupported']);

function contradictions(input: FindingInput): readonly FindingDraft[] {
  const { selections, verdicts, prepared } = input;
  const versionSaid = flashAttnVersionFindings(input).some((draft) => VERSION_FINDINGS.has(draft.code));
  return selections.flatMap((selection): readonly FindingDraft[] => {
    const works = worksOf(selection, verdicts);
    const reason = works?.answer === 'no' ? works.reasons[0] : undefined;
    if (reason === undefined || selection.backend === null || runsSystemFa4(selection, prepared)) {
      return [];
    }
    if (versionSaid && reason.code === 'TRAP-13') {
      return [];
    }
    return [
      {
        code: 'selected-but-fails',
        severity: 'error',
        about: selection.layerGroup,
        title: `${selection.backend} is selected for ${selection.layerGroup}, but likely fails`,
        detail: sentences(
          `vLLM ${prepared.release} passes this layer and the kernel then refuses it: ${reason.text}`,
          NEXT_STEPS[reason.code] ?? 'Choose another backend or release.',
        ),
        source: reason.source,
      },
    ];
  });
}

/** The flag calls a library that refuses the layer: selects yes, works no. */
function systemFa4Refuses({ request, selections, verdicts, prepared }: FindingInput): readonly FindingDraft[] {
  const { release, context } = prepared;
  const installed = context.libraries.systemFa4;
  return selections.flatMap((selection): readonly FindingDraft[] => {
    const works = worksOf(selection, verdicts);
    const reason = works?.answer === 'no' ? works.reasons[0] : undefined;
    const group = request.model.layerGroups.find((candidate) => candidate.id === selection.layerGroup);
    if (reason === undefined || group === undefined || !runsSystemFa4(selection, prepared)) {
      return [];
    }
    const large = context.capability[0] === 9 && group.headDim > 256;
    const measured = isMeasuredGpu(context.capability) ? systemFa4Measured(group.headDim) : null;
    return [
      {
        code: 'flag-system-fa4-refuses',
        severity: 'error',
        about: selection.layerGroup,
        title: `With the flag on, system FA4 is called for ${selection.layerGroup} and refuses it`,
        detail: sentences(
          `${selection.backend ?? ''} gives this layer to flash-attn-4${installed === null ? ' (not inspected; without it the vendored FA4 runs)' : ''}, which refuses it: ${reason.text}`,
          ...(large ? [`Every flash-attn-4 up to 4.0.0b${NEWEST_FA4_BETA} refuses head sizes above 256 on 9.x`] : []),
          ...(measured === null ? [] : [measured]),
          large && within(release, '0.20.0')
            ? `Turn the flag off: the FA4 inside vLLM takes head size ${group.headDim} with flash_attn_version: 4.`
            : large
              ? 'Turn the flag off; from vLLM 0.20.0 on, the FA4 inside vLLM takes head sizes up to 512 with flash_attn_version: 4.'
              : 'Turn the flag off.',
        ),
        source: reason.source,
      },
    ];
  });
}

/** Measured figures are of an H200. */
const isMeasuredGpu = (capability: readonly [number, number]): boolean => capability[0] === 9 && capability[1] === 0;

/** System FA4 takes the layer, but not every batch of it: split-KV is refused on 9.x. */
function systemFa4SplitKv({ selections, verdicts, prepared }: FindingInput): readonly FindingDraft[] {
  const { context } = prepared;
  const installed = context.libraries.systemFa4;
  const beta = typeof installed === 'string' ? fa4Beta(installed) : NEWEST_FA4_BETA;
  const layers = selections.filter(
    (selection) => runsSystemFa4(selection, prepared) && worksOf(selection, verdicts)?.answer === 'yes',
  );
  if (context.capability[0] !== 9 || layers.length === 0 || beta === null || beta > NEWEST_FA4_BETA) {
    return [];
  }
  return [
    {
      code: 'flag-system-fa4-split-kv',
      severity: 'warning',
      title: 'System FA4 refuses split-KV on Hopper',
      detail: sentences(
        `Long contexts with few sequences ask for split-KV, and flash-attn-4 up to 4.0.0b${NEWEST_FA4_BETA} then raises "SplitKV not supported on SM ${context.capability.join('.')}" for ${layers.map((selection) => selection.layerGroup).join(', ')}`,
        ...(isMeasuredGpu(context.capability) ? [SPLIT_KV_MEASURED] : []),
        "Turn the flag off for such loads; vLLM's own FA3 and FA4 (0.20.0 on) split.",
      ),
      source: { where: `flash-attn-4 4.0.0b${beta} flash_attn/cute/interface.py`, ruleId: 'FA4-LIB' },
    },
  ];
}

const FALLBACKS = new Set(['TRITON_ATTN', 'FLEX_ATTENTION']);

/** The release sets a fallback itself, whatever its selector would say. */
function forcedFallback({ prepared, selections }: FindingInput): readonly FindingDraft[] {
  const { forcedBackend: forced } = prepared;
  const rewrite = prepared.rewrites.at(-1);
  const layers = selections.filter((selection) => selection.backend === forced && !selection.explicit);
  return forced === null || rewrite === undefined || !FALLBACKS.has(forced) || layers.length === 0
    ? []
    : [
        {
          code: 'forced-fallback',
          severity: 'warning',
          title: `vLLM ${prepared.release} sets ${forced} itself for ${layers.map((selection) => selection.layerGroup).join(', ')}`,
          detail: sentences(
            rewrite.text,
            'Compare releases to see whether a newer one takes these layers on a faster backend, or set a backend.',
          ),
          source: rewrite.source,
        },
      ];
}

function silentFallback({ selections, verdicts, prepared }: FindingInput): readonly FindingDraft[] {
  return selections.flatMap((selection): readonly FindingDraft[] => {
    const forced = selection.backend === prepared.forcedBackend;
    if (selection.explicit || forced || selection.backend === null || !FALLBACKS.has(selection.backend)) {
      return [];
    }
    const refused = verdicts.filter(
      (verdict) =>
        verdict.question === 'selects' &&
        verdict.layerGroup === selection.layerGroup &&
        verdict.answer === 'no' &&
        verdict.reasons[0]?.code !== 'LOWER_PRIORITY',
    );
    const before = refused
      .slice(0, 2)
      .map((verdict) => `${verdict.subject}: ${verdict.reasons.map((reason) => reason.text).join(', ')}`)
      .join('; ');
    return [
      {
        code: 'silent-fallback',
        severity: 'warning',
        about: selection.layerGroup,
        title: `${selection.layerGroup} falls back to ${selection.backend}`,
        detail: sentences(
          `vLLM ${prepared.release} says so only in its debug log`,
          ...(before === '' ? [] : [`Refused before it: ${before}`]),
          'Compare releases to see whether a newer one takes this layer on a faster backend.',
        ),
        source: { where: `vllm ${prepared.release} platforms/cuda.py`, ruleId: 'LOG-4' },
      },
    ];
  });
}

/** The word for automatic selection. */
const AUTO = /^auto$/i;

function backendName(input: FindingInput): readonly FindingDraft[] {
  const { request, prepared, selections } = input;
  const { release } = prepared;
  const written = request.serve.backend;
  if (written === null) {
    return [];
  }
  const name = lookedUpName(release, written);
  if (!isUnknownBackend(input)) {
    if (mismatchedBackend(input) === null) {
      return [];
    }
    const mla = request.model.layerGroups.some((group) => group.mla !== null);
    const error = selections.find((selection) => selection.explicit && selection.error !== null)?.error ?? null;
    const word = mla ? 'MLA not supported' : 'non-MLA not supported';
    return [
      {
        code: 'mla-mismatch',
        severity: 'error',
        title: mla ? `${name} is not an MLA backend` : `${name} is an MLA backend`,
        detail: sentences(
          `The model ${mla ? 'uses latent attention' : 'does not use latent attention'}`,
          error === null ? `vLLM stops with "${word}"` : `Start-up stops with: ${error}`,
          'Remove the backend setting.',
        ),
        source: { where: `vllm ${release} v1/attention/backend.py`, ruleId: 'VAL-06' },
      },
    ];
  }
  const span = memberSpan(name);
  return [
    {
      code: 'unknown-backend',
      severity: 'error',
      title: `vLLM ${release} has no backend ${name}`,
      detail: AUTO.test(written)
        ? 'auto is taken from 0.18.0 on; start-up stops. Remove the setting, which leaves the choice to vLLM.'
        : span === null
          ? `Start-up stops. Names of this release: ${backendNames(release).join(', ')}.`
          : `It exists from ${span.since}${span.until === null ? ' on' : ` to ${span.until}`}; start-up stops. Remove the setting or change the release.`,
      source: { where: configSource(release), ruleId: 'CFG-5' },
    },
  ];
}

function blockSize({ request, prepared, selections }: FindingInput): readonly FindingDraft[] {
  return selections.flatMap((selection): readonly FindingDraft[] => {
    const reason = selection.reasons.find((candidate) => candidate.code === 'BLOCK-SIZE');
    return reason === undefined
      ? []
      : [
          {
            code: 'block-size-precludes-backend',
            severity: 'warning',
            about: selection.layerGroup,
            title: `Block size ${request.serve.blockSize ?? ''} keeps a better backend out`,
            detail: sentences(
              reason.text,
              `Using ${selection.backend ?? 'none'} instead`,
              'Consider removing --block-size.',
            ),
            source: { where: `vllm ${prepared.release} platforms/cuda.py`, ruleId: 'LOG-5' },
          },
        ];
  });
}

function perKind({ request, prepared }: FindingInput): readonly FindingDraft[] {
  const { release } = prepared;
  const keys = Object.keys(request.serve.backendPerKind);
  if (keys.length === 0) {
    return [];
  }
  if (!attentionConfigFields(release).includes('backend_per_kind')) {
    return [
      {
        code: 'unknown-config-field',
        severity: within(release, '0.16.0') ? 'error' : 'warning',
        title: `vLLM ${release} has no backend_per_kind`,
        detail: `It exists from 0.26.0 on; this release ${within(release, '0.16.0') ? 'stops at start-up' : 'ignores it'}. Remove it or upgrade.`,
        source: { where: configSource(release), ruleId: 'CFG-2' },
      },
    ];
  }
  return keys.flatMap((key): readonly FindingDraft[] => {
    if (!KV_CACHE_KINDS.includes(key)) {
      return [
        {
          code: 'unknown-kind',
          severity: 'error',
          about: key,
          title: `backend_per_kind has no kind ${key}`,
          detail: `Unknown KV cache group kind '${key}' in backend_per_kind. Valid kinds are: ${[...KV_CACHE_KINDS].sort().join(', ')}.`,
          source: { where: configSource(release) },
        },
      ];
    }
    return MATCHABLE_KINDS.includes(key)
      ? []
      : [
          {
            code: 'kind-never-matches',
            severity: 'warning',
            about: key,
            title: `backend_per_kind.${key} never applies`,
            detail: `No layer is of this kind when its backend is selected, so the entry has no effect. Remove it.`,
            source: { where: `vllm ${release} v1/attention/selector.py` },
          },
        ];
  });
}

function bfloat16OnTuring({ request }: FindingInput): readonly FindingDraft[] {
  return request.serve.dtype === 'bfloat16' && request.capability[0] < 8
    ? [
        {
          code: 'bfloat16-unsupported',
          severity: 'error',
          title: `bfloat16 needs compute capability 8.0, this is ${request.capability.join('.')}`,
          detail: 'vLLM stops at start-up. Use --dtype=half.',
          source: { where: `vllm ${request.vllmVersion} platforms/cuda.py` },
        },
      ]
    : [];
}

/** Heads that vLLM's attention layer refuses whatever the backend. */
function headsNotDivisible({ request, prepared }: FindingInput): readonly FindingDraft[] {
  const { release } = prepared;
  return request.model.layerGroups.flatMap(({ id, mla, qHeads, kvHeads }): readonly FindingDraft[] =>
    mla !== null || qHeads === null || kvHeads === null || qHeads % kvHeads === 0
      ? []
      : [
          {
            code: 'heads-not-divisible',
            severity: 'error',
            about: id,
            title: `${qHeads} query heads are not a multiple of ${kvHeads} KV heads`,
            detail: `vLLM stops when it builds ${id}: "num_heads (${qHeads}) is not divisible by num_kv_heads (${kvHeads})". Correct the model's config.json or the tensor-parallel size.`,
            source: { where: `vllm ${release} Attention.__init__` },
          },
        ],
  );
}

function cubins({ request, prepared, selections }: FindingInput): readonly FindingDraft[] {
  const { release, context } = prepared;
  const wants = context.capability[0] === 10 || (context.capability[0] === 12 && within(release, '0.28.0'));
  return request.availability.flashinferCubins === false && wants && selections.length > 0
    ? [
        {
          code: 'flashinfer-cubin-missing',
          severity: 'warning',
          title: 'flashinfer-cubin is not installed, so FlashInfer runs without trtllm kernels',
          detail: `An offline host then has no trtllm or XQA path on ${context.capability.join('.')}, attention sinks included. Install flashinfer-cubin, or set VLLM_HAS_FLASHINFER_CUBIN=1 when the kernels are already there.`,
          source: { where: `vllm ${release} utils/flashinfer.py`, ruleId: 'TRAP-15' },
          fixes: [copyFix('pip install flashinfer-cubin')],
        },
      ]
    : [];
}

function systemFa4BreaksRotary({ request, prepared }: FindingInput): readonly FindingDraft[] {
  const { release } = prepared;
  return typeof request.availability.systemFa4 === 'string' && within(release, '0.13.0', '0.23.0')
    ? [
        {
          code: 'flash-attn-4-breaks-rotary',
          severity: 'error',
          title: `flash-attn-4 breaks rotary models on vLLM ${release}`,
          detail:
            "Without flash-attn beside it, building any model with rotary embedding raises ModuleNotFoundError: No module named 'flash_attn.ops'. Uninstall flash-attn-4, or upgrade vLLM to 0.24.0 or newer.",
          source: { where: `vllm ${release} model_executor/layers/rotary_embedding/common.py`, ruleId: 'TRAP-14' },
          fixes: [copyFix('pip uninstall flash-attn-4')],
        },
      ]
    : [];
}

const MAKERS = [
  backendName,
  explicitRefused,
  refusedSettings,
  contradictions,
  systemFa4Refuses,
  systemFa4SplitKv,
  flashAttnVersionFindings,
  blockSize,
  perKind,
  bfloat16OnTuring,
  headsNotDivisible,
  cubins,
  systemFa4BreaksRotary,
  forcedFallback,
  silentFallback,
];

const SEVERITIES: readonly Severity[] = ['error', 'warning', 'info'];

/** All findings of an evaluation, worst first, without places. */
export function findingsOf(input: FindingInput): readonly Finding[] {
  const drafts = MAKERS.flatMap((make) => make(input));
  return drafts
    .map((draft): Finding => ({
      id: draft.about === undefined ? draft.code : `${draft.code}:${draft.about}`,
      code: draft.code,
      severity: draft.severity,
      title: draft.title,
      detail: draft.detail,
      level: 'declared',
      source: draft.source,
      range: null,
      fixes: draft.fixes ?? [],
    }))
    .sort((a, b) => SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity));
}

/** Findings from several places, each id once, the first as it stands. */
export function eachOnce(findings: readonly Finding[]): readonly Finding[] {
  return [...new Map([...findings].reverse().map((finding) => [finding.id, finding])).values()].reverse();
}

/** Setting that a finding of a code is about. */
const SETTING_OF_CODE: Readonly<Record<string, FindingSetting>> = {
  'explicit-backend-refused': 'backend',
  'mla-mismatch': 'backend',
  'unknown-backend': 'backend',
  'flash-attn-version-invalid': 'flashAttnVersion',
  'flash-attn-version-unsupported': 'flashAttnVersion',
  'flash-attn-version-mla-prefill': 'flashAttnVersion',
  'flash-attn-version-without-effect': 'flashAttnVersion',
  'fa4-slower-on-hopper': 'flashAttnVersion',
  'block-size-precludes-backend': 'blockSize',
  'block-size-refused': 'blockSize',
  'kv-cache-dtype-refused': 'kvCacheDtype',
  'unknown-config-field': 'backendPerKind',
  'unknown-kind': 'backendPerKind',
  'kind-never-matches': 'backendPerKind',
  'bfloat16-unsupported': 'dtype',
  'flag-not-declared': 'useSystemFlashAttn',
  'flag-mla-decode-fails': 'useSystemFlashAttn',
  'flag-mla-no-qv': 'useSystemFlashAttn',
  'flag-library-missing': 'useSystemFlashAttn',
  'flag-host-time': 'useSystemFlashAttn',
  'flag-system-fa4-refuses': 'useSystemFlashAttn',
  'flag-system-fa4-split-kv': 'useSystemFlashAttn',
  'flag-needs-fa4': 'useSystemFlashAttn',
  'flag-without-effect': 'useSystemFlashAttn',
};

/** The same findings with the places of the settings they are about; a finding that has a place keeps it. */
export function locateFindings(findings: readonly Finding[], ranges: FindingRanges): readonly Finding[] {
  return findings.map((finding) => {
    const setting = SETTING_OF_CODE[finding.code];
    const range =
      finding.range ??
      (finding.code === 'selected-but-fails'
        ? (ranges.flashAttnVersion ?? ranges.backend ?? null)
        : setting === undefined
          ? null
          : (ranges[setting] ?? null));
    return range === finding.range ? finding : { ...finding, range };
  });
}
