/**
 * Replays recorded answers of a real vLLM (format `attn-oracle/1`) against the catalog.
 *
 * Each case counts agree, unknown or disagree for four questions: selected backend, set of refused backends, reason
 * strings in order, FlashAttention version.
 */
import * as v from 'valibot';
import { fieldEffect } from './configFields';
import { resolveFlashAttnVersion } from './flashAttnVersion';
import { backendPriorities } from './priorities';
import type { Libraries, SelectorContext, SelectorModel, SelectorQuery } from './query';
import { memberKind } from './registry';
import { resolveRelease, within, type Release } from './releases';
import { atSelection, chooseBackend, judge, selectBackend, type Candidate } from './select';

const flag = v.nullish(v.boolean(), false);
const nullableNumber = v.nullish(v.number(), null);
const reasonMap = v.record(v.string(), v.array(v.string()));

/** What vLLM answered to one case. */
export const recordedAnswerSchema = v.object({
  priority: v.nullish(v.array(v.string()), []),
  perBackend: v.nullish(reasonMap, {}),
  perBackendAtSelection: v.nullish(reasonMap),
  raised: v.nullish(v.record(v.string(), v.unknown()), {}),
  selected: v.nullable(v.string()),
  error: v.nullish(v.string(), null),
  errorType: v.nullish(v.string(), null),
  faVersion: nullableNumber,
  faVersionBare: nullableNumber,
});

const caseSchema = v.object({
  id: v.number(),
  pass: v.string(),
  env: v.optional(v.record(v.string(), v.string()), {}),
  device: v.object({ capability: v.tuple([v.number(), v.number()]) }),
  availability: v.object({
    fa2: v.boolean(),
    fa3: v.boolean(),
    fa4: v.boolean(),
    flashinfer: v.boolean(),
    flashinferCubins: v.boolean(),
    flashmla: v.boolean(),
    tokenspeedMla: v.boolean(),
    /** The rest is told by recordings of the validated probe; the others were made without compiler. */
    flashinferCompiler: v.optional(v.boolean()),
    b12x: v.optional(v.boolean()),
    fa4Importable: v.optional(v.boolean()),
  }),
  config: v.object({
    backend: v.nullable(v.string()),
    flashAttnVersion: v.nullable(v.number()),
    backendPerKind: v.optional(v.nullable(v.record(v.string(), v.string()))),
    useTrtllmAttention: v.nullish(v.boolean(), null),
    useNonCausal: v.nullish(v.boolean(), null),
  }),
  model: v.nullable(
    v.object({
      headSize: v.number(),
      numAttentionHeads: v.number(),
      numKvHeads: v.number(),
      isDiffusion: flag,
      isMmPrefixLm: flag,
      isHybrid: flag,
      mambaSsmCacheDtype: v.optional(v.string(), 'auto'),
      rswaWindow: nullableNumber,
      hfTextConfig: v.record(v.string(), v.unknown()),
    }),
  ),
  request: v.object({
    headSize: v.number(),
    dtype: v.picklist(['bfloat16', 'float16', 'float32']),
    kvCacheDtype: v.nullable(v.string()),
    blockSize: nullableNumber,
    useMla: flag,
    hasSink: flag,
    useSparse: flag,
    useMmPrefix: flag,
    usePerHeadQuantScales: flag,
    attnType: v.optional(v.picklist(['decoder', 'encoder', 'encoder_only', 'encoder_decoder']), 'decoder'),
    hasSlidingWindow: flag,
    useNonCausal: flag,
    useBatchInvariant: flag,
    useKvConnector: flag,
    usePcp: flag,
    useAdaptiveVerification: flag,
    useDcp: flag,
    useRswa: flag,
    numHeads: nullableNumber,
  }),
  faArgs: v.nullish(
    v.object({
      requiresAlibi: v.optional(v.nullable(v.boolean())),
      headSize: nullableNumber,
      headSizeV: nullableNumber,
      hasSinks: flag,
      requiresSoftcap: flag,
      kvCacheBlockSize: nullableNumber,
      supportsFa4Hd256: flag,
      requiresLocalAttention: flag,
    }),
    {},
  ),
  answer: recordedAnswerSchema,
});

/** One recorded case. */
export type RecordedCase = v.InferOutput<typeof caseSchema>;

const recordingSchema = v.object({
  schema: v.literal('attn-oracle/1'),
  vllm: v.string(),
  cases: v.pipe(v.array(caseSchema), v.minLength(1)),
});

/** A recording file's content. */
export type Recording = v.InferOutput<typeof recordingSchema>;

/** Parses a recording; the issues are plain sentences when it is not one or holds no case. */
export function parseRecording(
  data: unknown,
): { readonly ok: true; readonly recording: Recording } | { readonly ok: false; readonly issue: string } {
  const parsed = v.safeParse(recordingSchema, data);
  if (parsed.success) {
    return { ok: true, recording: parsed.output };
  }
  const first = parsed.issues[0];
  return { ok: false, issue: `${v.getDotPath(first) ?? 'file'}: ${first.message}` };
}

/** The four questions of a replay. */
export const REPLAY_QUESTIONS = ['selected', 'refused', 'reasons', 'flashAttnVersion'] as const;
export type ReplayQuestion = (typeof REPLAY_QUESTIONS)[number];

/** Two answers that should be the same. */
export interface ReplayDifference {
  /** Backend, `priority order` or what else it is about; empty = the question itself. */
  readonly about: string;
  readonly recorded: string;
  readonly computed: string;
}

function differenceText({ about, recorded, computed }: ReplayDifference): string {
  return `${about === '' ? '' : `${about}: `}recorded ${recorded} computed ${computed}`;
}

/** Outcome of one question of one case. */
export interface ReplayOutcome {
  readonly caseId: number;
  readonly question: ReplayQuestion;
  readonly outcome: 'agree' | 'unknown' | 'disagree';
  /** Recorded and computed answer in one text; only for `disagree` and `unknown`. */
  readonly detail: string | null;
  /** What disagrees, as two answers to the same thing; only for `disagree`. */
  readonly difference: ReplayDifference | null;
  /** The unknown is about a backend of one model's own, which does not count against the catalog. */
  readonly singleModel: boolean;
}

/** Backends only one model's code uses; unknown is allowed for them. */
const SINGLE_MODEL = /(?:_DSV4|_DSV41|_MSA)$|^MINIMAX_M3_|^STEP5_|^HPC_ATTN$|^B12X$/;

/** Numbers of an HF text config that rules read. */
function hfNumber(config: Readonly<Record<string, unknown>>, key: string): Readonly<Record<string, number>> | null {
  const value = config[key];
  return typeof value === 'number' ? { value } : null;
}

function toModel(recorded: RecordedCase['model']): SelectorModel | null {
  if (recorded === null) {
    return null;
  }
  const hf = recorded.hfTextConfig;
  const pick = (key: string, as: string) => {
    const found = hfNumber(hf, key);
    return found === null ? {} : { [as]: found['value'] };
  };
  return {
    headSize: recorded.headSize,
    numAttentionHeads: recorded.numAttentionHeads,
    numKvHeads: recorded.numKvHeads,
    isDiffusion: recorded.isDiffusion,
    isMmPrefixLm: recorded.isMmPrefixLm,
    isHybrid: recorded.isHybrid,
    mambaCacheFloat32: recorded.mambaSsmCacheDtype === 'float32',
    rswaWindow: recorded.rswaWindow,
    hfText: {
      ...pick('kv_lora_rank', 'kvLoraRank'),
      ...pick('qk_nope_head_dim', 'qkNopeHeadDim'),
      ...pick('qk_rope_head_dim', 'qkRopeHeadDim'),
      ...pick('v_head_dim', 'vHeadDim'),
      ...pick('index_topk', 'indexTopk'),
      ...pick('attn_logit_softcapping', 'attnLogitSoftcapping'),
    },
  };
}

/**
 * The context a recorded case ran in. The recording machine has neither nvcc nor network; since 0.33.0 b12x comes
 * inside FlashInfer, before it is a package of its own that the recording machine does not have.
 */
function toContext(release: Release, recorded: RecordedCase): SelectorContext {
  const { availability: has, request } = recorded;
  const libraries: Libraries = {
    ...has,
    flashinferCompiler: has.flashinferCompiler ?? false,
    b12x: has.b12x ?? (within(release, '0.33.0') && has.flashinfer),
    fa4Importable: has.fa4Importable ?? has.fa4,
    systemFa4: false,
  };
  return {
    release,
    capability: recorded.device.capability,
    libraries,
    flashAttnVersion: recorded.config.flashAttnVersion,
    useTrtllmAttention: recorded.config.useTrtllmAttention,
    batchInvariant: recorded.env['VLLM_BATCH_INVARIANT'] === '1',
    cacheDtype: request.kvCacheDtype ?? 'auto',
    prefillContextParallelSize: request.usePcp ? 2 : 1,
    decodeContextParallelSize: request.useDcp ? 2 : 1,
    model: toModel(recorded.model),
  };
}

/** Texts that carry the recording's own placeholders: only whether there is one counts. */
function comparable(text: string): string {
  return text
    .replace(/(FA\d is unavai(?:la)?b(?:l)?e due to: ).*$/, '$1')
    .replace(/switched off \(attn-oracle\)/g, '')
    .replace(/^(?:ImportError|ModuleNotFoundError|OSError)\b.*$/, 'IMPORT')
    .replace(/^(FA4 cute-DSL entry point failed to import: ).*$/, '$1')
    .replace(/'(?:HfTextConfig|ModelConfig)' object has/g, 'object has')
    .trim();
}

function texts(candidate: Candidate): readonly string[] {
  return candidate.reasons.map((reason) => comparable(reason.text));
}

function same(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((text, index) => text === b[index]);
}

/** Compares one recorded case with the catalog. */
export function replayCase(release: Release, recorded: RecordedCase): readonly ReplayOutcome[] {
  const context = toContext(release, recorded);
  const query: SelectorQuery = recorded.request;
  const { answer } = recorded;
  const outcomes: ReplayOutcome[] = [];
  const add = (
    question: ReplayQuestion,
    outcome: 'agree' | 'unknown',
    detail: string | null = null,
    singleModel = false,
  ): void => void outcomes.push({ caseId: recorded.id, question, outcome, detail, difference: null, singleModel });
  const disagree = (question: ReplayQuestion, difference: ReplayDifference): void =>
    void outcomes.push({
      caseId: recorded.id,
      question,
      outcome: 'disagree',
      detail: differenceText(difference),
      difference,
      singleModel: false,
    });
  const choice = chooseBackend(release, recorded.config.backend, recorded.config.backendPerKind ?? {}, query);

  if (answer.errorType?.startsWith('config:') === true) {
    const badVersion =
      recorded.config.flashAttnVersion !== null &&
      !(within(release, '0.17.0') ? [2, 3, 4] : [2, 3]).includes(recorded.config.flashAttnVersion);
    // A field the class does not have is refused from 0.16.0 on; a recording writes only the fields it set.
    const { useNonCausal, useTrtllmAttention, backendPerKind } = recorded.config;
    const written = {
      use_non_causal: useNonCausal,
      use_trtllm_attention: useTrtllmAttention,
      backend_per_kind: backendPerKind ?? null,
    };
    const unknownField = Object.entries(written).some(
      ([field, value]) => value !== null && fieldEffect(release, field) === 'aborts',
    );
    const refused = choice.kind === 'configError' || badVersion || unknownField;
    if (refused) add('selected', 'agree');
    else {
      const recordedText = `the configuration class refused: ${answer.error ?? ''}`;
      disagree('selected', { about: 'configuration', recorded: recordedText, computed: 'it is accepted' });
    }
    return outcomes;
  }

  const selection = selectBackend(choice, query, context);
  const explicit = choice.kind === 'backend' ? choice.name : null;
  const selectedText = answer.selected ?? `error: ${comparable(answer.error ?? '')}`;
  if (selection.unknown !== null) {
    add('selected', 'unknown', selection.unknown, explicit !== null && SINGLE_MODEL.test(explicit));
  } else {
    const computed = selection.backend ?? `error: ${comparable(selection.error ?? '')}`;
    const agree =
      answer.selected === null
        ? selection.backend === null && sameError(answer.error ?? '', selection.error ?? '')
        : computed === answer.selected;
    if (agree) add('selected', 'agree');
    else disagree('selected', { about: '', recorded: selectedText, computed });
  }

  const order = backendPriorities(release, context.capability, atSelection(release, query));
  const compared = [...new Set([...answer.priority, ...(explicit === null ? [] : [explicit])])];
  const sameOrder = same(order, answer.priority);
  let refusedDisagree: ReplayDifference | null = sameOrder
    ? null
    : { about: 'priority order', recorded: answer.priority.join(), computed: order.join() };
  let reasonsDisagree: ReplayDifference | null = null;
  const unknowns: string[] = [];
  for (const name of compared) {
    if (memberKind(release, name) === 'unregistered') {
      continue;
    }
    const views = [
      { recorded: answer.perBackend, candidate: judge(name, query, context) },
      ...(answer.perBackendAtSelection == null
        ? []
        : [
            {
              recorded: answer.perBackendAtSelection,
              candidate: judge(name, atSelection(release, query), context),
            },
          ]),
    ];
    for (const view of views) {
      const { candidate } = view;
      const expected = view.recorded[name];
      if (candidate.unknown !== null && candidate.reasons.length === 0) {
        unknowns.push(name);
        continue;
      }
      if (name in answer.raised || candidate.raised !== null) {
        if (name in answer.raised !== (candidate.raised !== null)) {
          const recordedText = name in answer.raised ? `raised ${String(answer.raised[name])}` : 'an answer';
          refusedDisagree ??= { about: name, recorded: recordedText, computed: candidate.raised ?? 'an answer' };
        }
        continue;
      }
      if (expected === undefined) {
        continue;
      }
      const wanted = expected.map(comparable);
      const got = texts(candidate);
      if (wanted.length > 0 !== got.length > 0 && candidate.unknown === null) {
        refusedDisagree ??= { about: name, recorded: `[${wanted.join('; ')}]`, computed: `[${got.join('; ')}]` };
      }
      if (candidate.unknown === null && !same(wanted, got)) {
        reasonsDisagree ??= { about: name, recorded: `[${wanted.join('; ')}]`, computed: `[${got.join('; ')}]` };
      }
    }
  }
  const allSingle = unknowns.every((name) => SINGLE_MODEL.test(name));
  const verdict = (disagreement: ReplayDifference | null, question: ReplayQuestion) => {
    if (disagreement !== null) {
      disagree(question, disagreement);
    } else if (unknowns.length > 0) {
      add(question, 'unknown', unknowns.join(), allSingle);
    } else {
      add(question, 'agree');
    }
  };
  verdict(refusedDisagree, 'refused');
  verdict(reasonsDisagree, 'reasons');

  const { requiresAlibi, ...args } = recorded.faArgs;
  const computedVersion = resolveFlashAttnVersion(context, { ...args, requiresAlibi: requiresAlibi ?? false }).version;
  const bare = resolveFlashAttnVersion(context).version;
  if (computedVersion === answer.faVersion && bare === answer.faVersionBare) add('flashAttnVersion', 'agree');
  else {
    const pair = (version: number | null, plain: number | null) => `${String(version)}/${String(plain)}`;
    disagree('flashAttnVersion', {
      about: 'for this layer / without arguments',
      recorded: pair(answer.faVersion, answer.faVersionBare),
      computed: pair(computedVersion, bare),
    });
  }
  return outcomes;
}

/** Errors agree when they say the same once placeholders are gone. */
function sameError(recorded: string, computed: string): boolean {
  const normalize = (text: string) =>
    text
      .replace(/'(?:HfTextConfig|ModelConfig)' object/g, 'object')
      .replace(/^AttributeError: /, '')
      .replace(/FA\d is unavai(?:la)?ble due to: [^,\]}]*/g, 'FA unavailable')
      .replace(/(?:ModuleNotFoundError|ImportError)(?:: No module named '[^']*')?/g, 'IMPORT')
      .trim();
  return normalize(recorded) === normalize(computed);
}

/** Counts of one release. */
export interface ReplaySummary {
  readonly release: string;
  readonly evaluatedAs: Release;
  readonly cases: number;
  readonly counts: Readonly<Record<ReplayQuestion, Readonly<Record<ReplayOutcome['outcome'], number>>>>;
  /** Unknown selections outside the backends of one model's own. */
  readonly unknownSelections: number;
  readonly disagreements: readonly ReplayOutcome[];
}

/** Replays a whole recording. */
export function replayRecording(recording: Recording): ReplaySummary {
  const { release } = resolveRelease(recording.vllm);
  const zero = () => ({ agree: 0, unknown: 0, disagree: 0 });
  const counts = { selected: zero(), refused: zero(), reasons: zero(), flashAttnVersion: zero() };
  const disagreements: ReplayOutcome[] = [];
  let unknownSelections = 0;
  for (const recorded of recording.cases) {
    for (const outcome of replayCase(release, recorded)) {
      counts[outcome.question][outcome.outcome] += 1;
      if (outcome.outcome === 'disagree') {
        disagreements.push(outcome);
      }
      if (outcome.outcome === 'unknown' && outcome.question === 'selected' && !outcome.singleModel) {
        unknownSelections += 1;
      }
    }
  }
  return {
    release: recording.vllm,
    evaluatedAs: release,
    cases: recording.cases.length,
    counts,
    unknownSelections,
    disagreements,
  };
}
