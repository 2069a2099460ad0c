/**
 * The installed vLLM's own word (python/validate.py): the question that is put to it, the schema of its answer, and what
 * follows for verdicts. Pure; the process is run by node/vllmValidation.ts.
 *
 * The answer of one layer group has the form of a recorded case (`attn-oracle/1`), so the comparison with the catalog is
 * the replay's: the same rules, fed with the libraries that the installed vLLM found.
 */
import * as v from 'valibot';
import type { QueryDtype, SelectorContext, SelectorQuery } from '../catalog/query';
import { recordedAnswerSchema, replayCase, type RecordedCase, type ReplayDifference } from '../catalog/replay';
import { resolveRelease, type Release } from '../catalog/releases';
import type { CatalogStamp, Evaluation, GroupSelection } from '../evaluation';
import type { EvaluateRequest } from '../request';
import { stronger, type Finding, type Source, type Verdict, type VerdictReason } from '../verdict';
import { layerFlashAttnArgs } from './evaluate';
import { layerFacts, layerQuery, prepareRequest } from './evaluateQuery';

/** Raised together with the script when the answer or the request changes shape. */
export const VALIDATION_SCHEMA = 'attn-diag-validate/1';
export const VALIDATION_REQUEST_SCHEMA = 'attn-diag-validate-request/1';

/** One layer question, as recordings write it. */
export interface ValidationCase {
  readonly id: number;
  readonly config: RecordedCase['config'];
  readonly model: RecordedCase['model'];
  readonly request: RecordedCase['request'];
  readonly faArgs: Exclude<RecordedCase['faArgs'], null | undefined>;
}

/** What is put to the installed vLLM. */
export interface ValidationQuestion {
  /** Compute capability to answer for; `null` = this machine's device. */
  readonly capability: readonly [number, number] | null;
  /** Variables vLLM reads while it selects. */
  readonly env: Readonly<Record<string, string>>;
  /** One per layer group, in order; the id is the group's index. */
  readonly cases: readonly ValidationCase[];
}

const text = v.pipe(v.string(), v.maxLength(20_000));
const texts = v.pipe(v.array(text), v.maxLength(4096));
const capability = v.tuple([v.number(), v.number()]);

const answeredSchema = v.object({
  schema: v.literal(VALIDATION_SCHEMA),
  python: text,
  vllm: text,
  torch: text,
  packages: v.record(text, text),
  device: v.object({
    capability,
    stated: v.boolean(),
    /** The device that is really there; `null` = none. */
    real: v.nullable(capability),
    platform: text,
  }),
  /** What stood in for hardware, driver or model, as plain sentences; empty on a machine that has all of it. */
  standIns: texts,
  /** Hosts that vLLM wanted to reach and was not let. */
  networkRefused: texts,
  availability: v.object({
    fa2: v.boolean(),
    fa3: v.boolean(),
    fa4: v.boolean(),
    flashinfer: v.boolean(),
    flashinferCubins: v.boolean(),
    flashinferCompiler: v.boolean(),
    flashmla: v.boolean(),
    tokenspeedMla: v.boolean(),
    b12x: v.boolean(),
    fa4Importable: v.boolean(),
  }),
  importErrors: v.record(text, text),
  /** What the release's selector, validators and resolver take, by the names of requests. */
  selectorArgs: texts,
  selectorFields: texts,
  faResolverArgs: texts,
  cases: v.array(
    v.object({
      id: v.number(),
      /** Fields of the question that this release does not know and that asked for something. */
      unsupported: texts,
      answer: recordedAnswerSchema,
      /** The answer if FlashInfer's kernels could be downloaded, where it is another. */
      withCubins: v.optional(recordedAnswerSchema),
    }),
  ),
  durationMs: v.number(),
});
/** What the installed vLLM answered. */
export type ValidationAnswer = v.InferOutput<typeof answeredSchema>;

const failedSchema = v.object({
  schema: v.literal(VALIDATION_SCHEMA),
  /** `stage`: where it ended (`torch`, `vllm`, `platform`, …); `text`: a plain sentence without a full stop. */
  failed: v.object({ stage: text, text }),
  durationMs: v.number(),
});

/** What validate.py prints: answers, or why there are none. */
export const validationOutputSchema = v.union([answeredSchema, failedSchema]);

/** The outcome of asking; `key` names the question it answers. */
export type Validation =
  | { readonly kind: 'answered'; readonly key: string; readonly answer: ValidationAnswer }
  | { readonly kind: 'failed'; readonly key: string; readonly stage: string; readonly text: string };

/** How far the installed vLLM has got; `done` of `total` layer groups only while `stage` is `asking`. */
export const validationProgressSchema = v.object({
  stage: v.pipe(v.string(), v.maxLength(40)),
  done: v.nullable(v.number()),
  total: v.nullable(v.number()),
});
export type ValidationProgress = v.InferOutput<typeof validationProgressSchema>;

/** Stages of asking, in plain words. */
const STAGE_TEXTS: Readonly<Record<string, string>> = {
  start: 'starting the interpreter',
  torch: 'importing torch',
  vllm: 'importing vLLM',
  platform: 'setting up the CUDA platform',
  registry: 'reading its backends',
  configuration: 'making its configuration',
  selector: 'importing its selector',
  flashAttention: 'importing FlashAttention',
  asking: 'asking',
  availability: 'looking which libraries it found',
};

/** One line for a progress notification. */
export function progressText({ stage, done, total }: ValidationProgress): string {
  const words = STAGE_TEXTS[stage] ?? stage;
  return done === null || total === null ? words : `${words} (${done + 1} of ${total})`;
}

/** `model_config` in a recording's form. */
function recordedModel(model: SelectorContext['model']): RecordedCase['model'] {
  if (model === null) return null;
  const { hfText } = model;
  const named = {
    kv_lora_rank: hfText.kvLoraRank,
    qk_nope_head_dim: hfText.qkNopeHeadDim,
    qk_rope_head_dim: hfText.qkRopeHeadDim,
    v_head_dim: hfText.vHeadDim,
    index_topk: hfText.indexTopk,
    attn_logit_softcapping: hfText.attnLogitSoftcapping,
  };
  return {
    headSize: model.headSize,
    numAttentionHeads: model.numAttentionHeads,
    numKvHeads: model.numKvHeads,
    isDiffusion: model.isDiffusion,
    isMmPrefixLm: model.isMmPrefixLm,
    isHybrid: model.isHybrid,
    mambaSsmCacheDtype: model.mambaCacheFloat32 ? 'float32' : 'auto',
    rswaWindow: model.rswaWindow,
    hfTextConfig: Object.fromEntries(Object.entries(named).filter(([, value]) => value !== undefined)),
  };
}

/**
 * The question for the installed vLLM. The configuration is what the catalog says this release makes of the user's (its
 * own rewrites included), because those run with a loaded model only.
 *
 * @param stated ask for the request's capability instead of this machine's device
 */
export function validationQuestion(request: EvaluateRequest, stated: boolean): ValidationQuestion {
  const { release } = resolveRelease(request.vllmVersion);
  const prepared = prepareRequest(request, release);
  const { context } = prepared;
  return {
    capability: stated ? request.capability : null,
    env: request.serve.batchInvariant ? { VLLM_BATCH_INVARIANT: '1' } : {},
    cases: request.model.layerGroups.map((group, index): ValidationCase => {
      const query: SelectorQuery & { readonly dtype: QueryDtype } = layerQuery(prepared, request, group);
      const perKind = request.serve.backendPerKind;
      return {
        id: index,
        config: {
          backend: prepared.backend,
          flashAttnVersion: context.flashAttnVersion,
          backendPerKind: Object.keys(perKind).length === 0 ? null : perKind,
          useTrtllmAttention: context.useTrtllmAttention,
          useNonCausal: query.useNonCausal ? true : null,
        },
        model: recordedModel(context.model),
        request: { ...query },
        faArgs: {
          headSize: query.headSize,
          headSizeV: null,
          kvCacheBlockSize: null,
          hasSinks: false,
          requiresSoftcap: false,
          supportsFa4Hd256: false,
          requiresLocalAttention: false,
          ...layerFlashAttnArgs(context, query, layerFacts(request, group)),
        },
      };
    }),
  };
}

/** Two requests with the same key have the same answer. */
export function validationKey(request: EvaluateRequest): string {
  return JSON.stringify([request.vllmVersion, request.capability, validationQuestion(request, true)]);
}

/** One place where the catalog and the installed vLLM differ. */
export interface Contradiction extends ReplayDifference {
  readonly layerGroup: string;
  /** Which of the replay's questions it is about. */
  readonly question: string;
  readonly case: ValidationCase;
}

/** The catalog's answers, given the libraries that the installed vLLM found, against its own. */
export function contradictions(request: EvaluateRequest, answer: ValidationAnswer): readonly Contradiction[] {
  const { release } = resolveRelease(answer.vllm);
  const question = validationQuestion(request, true);
  return answer.cases.flatMap((each): readonly Contradiction[] => {
    const asked = question.cases[each.id];
    const group = request.model.layerGroups[each.id];
    if (asked === undefined || group === undefined) return [];
    const recorded = recordedCase(asked, each.answer, answer, question.env);
    return replayCase(release, recorded).flatMap(({ outcome, question: about, difference }) =>
      outcome === 'disagree' && difference !== null
        ? [{ layerGroup: group.id, question: about, case: asked, ...difference }]
        : [],
    );
  });
}

/** One answer in the form of a recording. */
export function recordedCase(
  asked: ValidationCase,
  answer: RecordedCase['answer'],
  { device, availability }: Pick<ValidationAnswer, 'device' | 'availability'>,
  env: Readonly<Record<string, string>>,
): RecordedCase {
  return { ...asked, pass: 'validated', env, device: { capability: device.capability }, availability, answer };
}

/** Errors of the selection itself; others come after it (block size, MLA prefill) and are not asked of the installed vLLM. */
const SELECTION_ERROR =
  /^(?:Selected backend|No valid attention backend|Unknown attention backend|Invalid attention backend|Backend \S+ must be registered)/;

/** Lays the installed vLLM's own answers over the declared ones. An answer to another question changes nothing. */
export function withValidation(
  evaluation: Evaluation,
  request: EvaluateRequest,
  validation: Validation | null,
): Evaluation {
  if (validation === null || validation.key !== validationKey(request)) return evaluation;
  if (validation.kind === 'failed') {
    return { ...evaluation, findings: [failedFinding(validation), ...evaluation.findings] };
  }
  const { answer } = validation;
  const { release, stamp } = resolveRelease(answer.vllm);
  const differences = contradictions(request, answer);
  const source: Source = { where: `vllm ${answer.vllm} as installed, asked itself` };
  const groups = request.model.layerGroups;
  const answerOf = (layerGroup: string) => answer.cases.find((each) => groups[each.id]?.id === layerGroup);
  return {
    ...evaluation,
    selections: evaluation.selections.map((selection) => {
      const found = answerOf(selection.layerGroup);
      return found === undefined ? selection : validatedSelection(selection, found, differences, source);
    }),
    verdicts: validatedVerdicts(evaluation.verdicts, request, answer, source),
    findings: [
      ...differences.map((difference) =>
        contradictionFinding(difference, answer.vllm, stamp.match === 'exact', release),
      ),
      ...evaluation.findings,
    ],
    assumptions: [...evaluation.assumptions, ...validationNotes(answer)],
  };
}

type AnsweredCase = ValidationAnswer['cases'][number];

function validatedSelection(
  declared: GroupSelection,
  { answer, withCubins }: AnsweredCase,
  differences: readonly Contradiction[],
  source: Source,
): GroupSelection {
  if (withCubins !== undefined && (withCubins.selected !== answer.selected || withCubins.error !== answer.error)) {
    const either = `the installed vLLM selects ${answer.selected ?? 'nothing'} as it is, and ${withCubins.selected ?? 'nothing'} if it can download FlashInfer's kernels; that is not tried`;
    return { ...declared, reasons: [{ code: 'NETWORK', text: either, source }, ...declared.reasons] };
  }
  const after = declared.error !== null && !SELECTION_ERROR.test(declared.error);
  const same = after ? answer.selected !== null : declared.backend === answer.selected && declared.answer !== 'unknown';
  const version = differences.some(
    (each) => each.layerGroup === declared.layerGroup && each.question === 'flashAttnVersion',
  )
    ? answer.faVersion
    : declared.flashAttnVersion;
  const own: VerdictReason = {
    code: 'VALIDATED',
    text:
      answer.selected === null
        ? 'the installed vLLM itself selects nothing'
        : `the installed vLLM itself selects ${answer.selected}`,
    source,
  };
  if (same) {
    return { ...declared, level: 'validated', flashAttnVersion: version, reasons: [...declared.reasons, own] };
  }
  return {
    ...declared,
    level: 'validated',
    backend: answer.selected,
    answer: answer.selected === null ? 'no' : 'yes',
    error: answer.selected === null ? (answer.error ?? 'vLLM stops without a message') : null,
    flashAttnVersion: answer.selected === null ? null : version,
    reasons: [
      own,
      {
        code: 'DECLARED',
        text: `the catalog had said ${declared.backend ?? (declared.answer === 'unknown' ? 'unknown' : 'nothing valid')}`,
        source: null,
      },
    ],
  };
}

/** `selects` verdicts of the installed vLLM over the declared ones; those about other questions and backends stay. */
function validatedVerdicts(
  declared: readonly Verdict[],
  request: EvaluateRequest,
  answer: ValidationAnswer,
  source: Source,
): readonly Verdict[] {
  const own = answer.cases.flatMap(({ id, answer: said, withCubins }): readonly Verdict[] => {
    const layerGroup = request.model.layerGroups[id]?.id;
    if (layerGroup === undefined) return [];
    const names = [...new Set([...Object.keys(said.perBackend), ...Object.keys(said.raised)])];
    return names.flatMap((subject): readonly Verdict[] => {
      const reasons = said.perBackend[subject] ?? [];
      const other = withCubins?.perBackend[subject] ?? reasons;
      // Whether FlashInfer's kernels can be downloaded decides it, and that was not tried.
      if (
        other.join('\n') !== reasons.join('\n') ||
        (withCubins?.selected !== undefined && withCubins.selected !== said.selected)
      )
        return [];
      const raised = said.raised[subject];
      const before = declared.find(
        (each) => each.question === 'selects' && each.layerGroup === layerGroup && each.subject === subject,
      );
      const codeOf = (reason: string): string =>
        before?.reasons.find((each) => each.text === reason)?.code ?? 'INSTALLED';
      const base = { subject, question: 'selects', layerGroup, level: 'validated' } as const;
      if (raised !== undefined) {
        return [
          {
            ...base,
            answer: 'no',
            reasons: [{ code: 'RAISES', text: typeof raised === 'string' ? raised : 'it raises', source }],
          },
        ];
      }
      if (reasons.length > 0) {
        return [
          { ...base, answer: 'no', reasons: reasons.map((reason) => ({ code: codeOf(reason), text: reason, source })) },
        ];
      }
      if (said.selected === subject) {
        return [
          { ...base, answer: 'yes', reasons: [{ code: 'SELECTED', text: 'selected by the installed vLLM', source }] },
        ];
      }
      const text =
        said.selected === null ? 'valid, but selection stops with an error' : `valid, but ${said.selected} is selected`;
      return [{ ...base, answer: 'no', reasons: [{ code: 'LOWER_PRIORITY', text, source }] }];
    });
  });
  const matching = (verdict: Verdict): Verdict | undefined =>
    own.find(
      (each) =>
        each.subject === verdict.subject &&
        each.layerGroup === verdict.layerGroup &&
        each.question === verdict.question,
    );
  const kept = declared.map((verdict) => {
    const better = matching(verdict);
    return better === undefined ? verdict : stronger(verdict, better);
  });
  return [...kept, ...own.filter((verdict) => !kept.includes(verdict))];
}

/** What has to be known to read the answer, as plain sentences. */
export function validationNotes(answer: ValidationAnswer): readonly string[] {
  const unsupported = [...new Set(answer.cases.flatMap((each) => each.unsupported))];
  const network = answer.cases.some((each) => each.withCubins !== undefined);
  return [
    ...(answer.standIns.length === 0
      ? []
      : [`The installed vLLM was asked with stand-ins: ${answer.standIns.join('; ')}.`]),
    ...(unsupported.length === 0
      ? []
      : [`Unsupported by this release, so not part of the question: ${unsupported.join(', ')}.`]),
    ...(network
      ? ["Some answers depend on whether vLLM can download FlashInfer's kernels; the question opens no network."]
      : []),
  ];
}

function failedFinding({ stage, text: why }: Extract<Validation, { kind: 'failed' }>): Finding {
  return {
    id: 'validated:failed',
    code: 'validation-failed',
    severity: 'error',
    title: 'The installed vLLM could not be asked',
    detail: `${STAGE_TEXTS[stage] === undefined ? '' : `While ${STAGE_TEXTS[stage]}: `}${why}. What is shown stays declared; repair the environment and ask again.`,
    level: 'validated',
    source: null,
    range: null,
    fixes: [],
  };
}

function contradictionFinding(
  { layerGroup, question, about, recorded, computed }: Contradiction,
  version: string,
  exact: boolean,
  evaluatedAs: Release,
): Finding {
  const subject = about === '' ? '' : ` about ${about}`;
  return {
    id: `validated:${layerGroup}:${question}`,
    code: 'catalogContradiction',
    severity: 'warning',
    title: exact
      ? `${layerGroup}: the installed vLLM ${version} contradicts the catalog (${question})`
      : `${layerGroup}: vLLM ${version} differs from the rules of ${evaluatedAs} (${question})`,
    detail: `The installed vLLM says${subject}: ${recorded}. The catalog says: ${computed}. The installed vLLM is right and is what is shown; export the bug report and send it to us.`,
    level: 'validated',
    source: { where: `vllm ${version} as installed, asked itself` },
    range: null,
    fixes: [],
  };
}

/** The installed release is none that the catalog was checked against, so asking it itself is worth the time. */
export function newReleaseFindings({ match, requestedVersion, evaluatedAs }: CatalogStamp): readonly Finding[] {
  if (match !== 'development' && match !== 'newer') return [];
  const what = match === 'development' ? 'a development build' : 'newer than the catalog';
  return [
    {
      id: 'catalog:age',
      code: 'releaseNotInCatalog',
      severity: 'info',
      title: `vLLM ${requestedVersion} is ${what}`,
      detail: `What is shown are the rules of ${evaluatedAs}, which may have changed since. Ask the installed vLLM itself for its own answer.`,
      level: 'inspected',
      source: null,
      range: null,
      fixes: [],
    },
  ];
}

/** A failure of the process in the form of an answer, so that the declared answer is still shown beside it. */
export function failedValidation(key: string, stage: string, what: string): Validation {
  return { kind: 'failed', key, stage, text: what.replace(/\.$/, '') };
}
