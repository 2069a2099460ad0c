/**
 * The rules engine: which attention backend a vLLM release gives each layer group of a model on a GPU, why not the
 * others, and what passes the validator but not the kernel.
 *
 * Two questions, never mixed: `selects` (would this vLLM choose it) and `works` (does the library declare that it runs
 * it). Everything here is `declared`: rules read in the releases, nothing was run.
 */
import { chooseBlockSize, DEFAULT_BLOCK_SIZE, preferredBlockSize } from '../catalog/blockSize';
import { isFlashAttnFamily } from '../catalog/flashAttnFamily';
import { resolveFlashAttnVersion, type FlashAttnArgs, type FlashAttnGeneration } from '../catalog/flashAttnVersion';
import { prioritiesSource } from '../catalog/priorities';
import type { SelectorContext, SelectorQuery } from '../catalog/query';
import { backendRow } from '../catalog/registry';
import { resolveRelease, within } from '../catalog/releases';
import { chooseBackend, judge, selectBackend, type Candidate } from '../catalog/select';
import { backendWorks, flagWorks, flashAttnWorks } from '../catalog/works';
import type { LayerFacts, WorksAnswer } from '../catalog/worksAnswer';
import type { Evaluation, GroupSelection } from '../evaluation';
import { layerFacts, layerQuery, mlaPrefillOf, prepareRequest, type PreparedRequest } from './evaluateQuery';
import { findingsOf } from '../findings/findings';
import type { EvaluateRequest, LayerGroup } from '../request';
import type { Verdict, VerdictReason } from '../verdict';

/** What the layer's constructor hands to the resolver; `FlashAttentionImpl.__init__` of the release. */
export function layerFlashAttnArgs(
  { release }: Pick<SelectorContext, 'release'>,
  query: SelectorQuery,
  layer: LayerFacts,
): FlashAttnArgs {
  return {
    requiresAlibi: within(release, '0.17.0') && layer.alibi,
    headSize: query.headSize,
    ...(within(release, '0.27.0') ? { hasSinks: query.hasSink } : {}),
    ...(within(release, '0.27.0', '0.27.1') ? { requiresLocalAttention: query.hasSlidingWindow } : {}),
    ...(within(release, '0.29.0') ? { requiresSoftcap: layer.softcap, supportsFa4Hd256: true } : {}),
  };
}

/** The generation the layer's constructor asks for. */
export function layerFlashAttnVersion(
  context: SelectorContext,
  query: SelectorQuery,
  layer: LayerFacts,
): { readonly version: FlashAttnGeneration | null; readonly notes: readonly string[] } {
  const { release } = context;
  const resolved = resolveFlashAttnVersion(context, layerFlashAttnArgs(context, query, layer));
  // 0.20.x raises FA3 to FA4 for large heads in the layer itself, not in the resolver.
  if (within(release, '0.20.0', '0.20.2') && resolved.version === 3 && query.headSize > 256) {
    return { version: 4, notes: [...resolved.notes, `head size ${query.headSize} needs FA4`] };
  }
  return resolved;
}

/** What the library of a candidate declares for the layer. */
export function candidateWorks(
  backend: string,
  query: SelectorQuery,
  context: SelectorContext,
  layer: LayerFacts,
  pageSize: number | null,
): WorksAnswer {
  if (backend === 'FLASH_ATTN' || backend === 'FLASH_ATTN_DIFFKV') {
    const { version } = layerFlashAttnVersion(context, query, layer);
    return (
      flagWorks(version, query, context, layer, pageSize) ?? flashAttnWorks(version, query, context, layer, pageSize)
    );
  }
  if (backend === 'TRITON_FLASH_ATTN') {
    const { version } = layerFlashAttnVersion(context, query, layer);
    const own = backendWorks(backend, query, context, layer);
    // Image spans go to the Triton child; FLASH_ATTN sees the causal batches only.
    const causal = { ...query, useMmPrefix: false };
    return own.answer === 'yes'
      ? (flagWorks(version, causal, context, layer, pageSize) ??
          flashAttnWorks(version, causal, context, layer, pageSize))
      : own;
  }
  return backendWorks(backend, query, context, layer);
}

function selectsVerdict(
  candidate: Candidate,
  group: LayerGroup,
  winner: string | null,
  order: string,
  explicitName: string | null,
): Verdict {
  const base = { subject: candidate.backend, question: 'selects', layerGroup: group.id, level: 'declared' } as const;
  if (candidate.reasons.length > 0) {
    return { ...base, answer: 'no', reasons: candidate.reasons };
  }
  if (candidate.raised !== null) {
    return { ...base, answer: 'no', reasons: [{ code: 'RAISES', text: candidate.raised, source: null }] };
  }
  if (candidate.unknown !== null) {
    return { ...base, answer: 'unknown', reasons: [{ code: 'UNKNOWN', text: candidate.unknown, source: null }] };
  }
  if (candidate.backend === winner) {
    return {
      ...base,
      answer: 'yes',
      reasons: [
        explicitName === null
          ? { code: 'SELECTED', text: 'first valid backend in the priority order', source: { where: order } }
          : { code: 'EXPLICIT', text: 'set, and valid', source: { where: order } },
      ],
    };
  }
  if (explicitName !== null && candidate.backend !== explicitName) {
    const text = `valid, but ${explicitName} is set, so nothing else is tried`;
    return { ...base, answer: 'no', reasons: [{ code: 'LOWER_PRIORITY', text, source: { where: order } }] };
  }
  const text = winner === null ? 'valid, but selection stops with an error' : `valid, but ${winner} comes first`;
  return { ...base, answer: 'no', reasons: [{ code: 'LOWER_PRIORITY', text, source: { where: order } }] };
}

/** Tokens per page the layer would run with; `null` for layers without a KV cache. */
function pageSizeFor(backend: string, query: SelectorQuery, context: SelectorContext): number | null {
  if (query.attnType === 'encoder' || query.attnType === 'encoder_only') {
    return null;
  }
  const row = backendRow(context.release, backend);
  return query.blockSize ?? (row === undefined ? DEFAULT_BLOCK_SIZE : preferredBlockSize(row, context));
}

interface GroupAnswer {
  readonly selection: Omit<GroupSelection, 'blockSize'>;
  readonly verdicts: readonly Verdict[];
}

function evaluateGroup(prepared: PreparedRequest, request: EvaluateRequest, group: LayerGroup): GroupAnswer {
  const { release, context } = prepared;
  const query = layerQuery(prepared, request, group);
  const layer = layerFacts(request, group);
  const choice = chooseBackend(release, prepared.backend, request.serve.backendPerKind, query);
  const explicit = choice.kind === 'backend';
  const forced = explicit && choice.name === prepared.forcedBackend;
  const selection = selectBackend(choice, query, context);
  const automatic = explicit ? selectBackend({ kind: 'automatic' }, query, context) : selection;
  const order = prioritiesSource(release);

  const reasons: VerdictReason[] = prepared.rewrites.map((rewrite) => ({
    code: rewrite.source.ruleId ?? 'REWRITE',
    text: rewrite.text,
    source: rewrite.source,
  }));
  const family = isFlashAttnFamily(selection.backend);
  const version = family ? layerFlashAttnVersion(context, query, layer) : { version: null, notes: [] };
  if (selection.backend !== null) {
    reasons.push(
      explicit
        ? {
            code: 'EXPLICIT',
            text: `${selection.backend} ${forced ? 'is set by the release itself' : 'was asked for'} and is valid`,
            source: { where: order },
          }
        : { code: 'SELECTED', text: `${selection.backend} is the first valid backend`, source: { where: order } },
    );
  }
  for (const note of version.notes) {
    reasons.push({
      code: 'FA-VERSION',
      text: note,
      source: { where: `vllm ${release} v1/attention/backends/fa_utils.py` },
    });
  }
  if (selection.precludedByBlockSize.length > 0) {
    reasons.push({
      code: 'BLOCK-SIZE',
      text: `--block-size ${query.blockSize ?? ''} precluded higher-priority backend(s) ${selection.precludedByBlockSize.join(', ')}`,
      source: { where: order, ruleId: 'LOG-5' },
    });
  }
  const prefill = mlaPrefillOf(prepared, request, group);
  if (prefill !== null) {
    reasons.push({
      code: 'MLA-PREFILL',
      text:
        prefill.backend === null ? (prefill.error ?? '') : `prefill runs on the MLA prefill backend ${prefill.backend}`,
      source: { where: prefill.source },
    });
  }
  const error = selection.error ?? prefill?.error ?? null;
  const stops = error !== null;
  if (!stops && selection.unknown !== null) {
    reasons.push({ code: 'UNKNOWN', text: selection.unknown, source: null });
  }

  const explicitName = explicit ? choice.name : null;
  const candidates = [
    ...(explicitName === null || automatic.candidates.some((candidate) => candidate.backend === explicitName)
      ? []
      : [judge(explicitName, query, context)]),
    ...automatic.candidates,
  ];
  const verdicts = candidates.flatMap((candidate): readonly Verdict[] => {
    const works = candidateWorks(
      candidate.backend,
      query,
      context,
      layer,
      pageSizeFor(candidate.backend, query, context),
    );
    const winner = stops ? null : selection.backend;
    const selects = selectsVerdict(candidate, group, winner, order, explicitName);
    return [
      selects,
      {
        subject: candidate.backend,
        question: 'works',
        layerGroup: group.id,
        level: 'declared',
        answer: works.answer,
        reasons: works.reasons,
      },
    ];
  });
  return {
    selection: {
      layerGroup: group.id,
      backend: stops ? null : selection.backend,
      answer: stops ? 'no' : selection.backend !== null ? 'yes' : 'unknown',
      explicit: explicit && !forced,
      flashAttnVersion: version.version,
      error,
      reasons,
    },
    verdicts,
  };
}

/** Everything the catalog says about a request. Never throws; what cannot be told is `unknown` with the reason. */
export function evaluate(request: EvaluateRequest): Evaluation {
  const { release, stamp } = resolveRelease(request.vllmVersion);
  if (stamp.match === 'tooOld') {
    const reason: VerdictReason = {
      code: 'TOO-OLD',
      text: `vLLM ${request.vllmVersion} is older than 0.11.1, whose selector is the oldest in the catalog`,
      source: null,
    };
    return {
      catalog: stamp,
      selections: request.model.layerGroups.map((group) => ({
        layerGroup: group.id,
        backend: null,
        answer: 'unknown',
        explicit: false,
        flashAttnVersion: null,
        blockSize: null,
        error: null,
        reasons: [reason],
      })),
      verdicts: [],
      findings: [],
      assumptions: [],
    };
  }
  const prepared = prepareRequest(request, release);
  const groups = request.model.layerGroups.map((group) => evaluateGroup(prepared, request, group));
  const block = chooseBlockSize(
    groups.map((group) => group.selection.backend),
    request.serve.blockSize,
    prepared.context,
    {
      mla: request.model.layerGroups.some((group) => group.mla !== null),
      sparse: request.model.layerGroups.some((group) => group.mla !== null && group.mla.indexTopk !== null),
      configured: prepared.backend,
    },
  );
  const selections: GroupSelection[] = groups.map(({ selection }) => ({
    ...selection,
    blockSize: selection.backend === null ? null : block.tokens,
    ...(block.error !== null && selection.error === null
      ? { answer: 'no' as const, backend: null, error: block.error }
      : {}),
  }));
  const verdicts = groups.flatMap((group) => group.verdicts);
  const assumptions = [
    ...(stamp.match === 'exact'
      ? []
      : [
          stamp.match === 'development'
            ? `${request.vllmVersion} is a development build; the rules of ${stamp.evaluatedAs} were used.`
            : `${request.vllmVersion} is newer than the catalog knows; the rules of ${stamp.evaluatedAs} were used.`,
        ]),
    ...prepared.assumptions,
    ...(request.model.layerGroups.some(
      (group) => group.mla === null && group.headDimV !== null && group.headDimV !== group.headDim,
    )
      ? ["Values narrower than keys: whether the model's own code asks for a DIFFKV backend is not in the catalog."]
      : []),
    ...(block.reason === null || groups.length === 0 ? [] : [`Block size not established: ${block.reason}.`]),
  ];
  return {
    catalog: stamp,
    selections,
    verdicts,
    findings: findingsOf({ request, prepared, selections, verdicts }),
    assumptions,
  };
}

/** Where two columns differ for one layer group. */
export interface SelectionChange {
  readonly layerGroup: string;
  readonly from: GroupSelection;
  readonly to: GroupSelection;
}

/** Layer groups whose backend, FlashAttention version, block size or error differ between two evaluations. */
export function selectionChanges(from: Evaluation, to: Evaluation): readonly SelectionChange[] {
  return from.selections.flatMap((before): readonly SelectionChange[] => {
    const after = to.selections.find((selection) => selection.layerGroup === before.layerGroup);
    if (after === undefined) {
      return [];
    }
    const same =
      before.backend === after.backend &&
      before.answer === after.answer &&
      before.flashAttnVersion === after.flashAttnVersion &&
      before.blockSize === after.blockSize &&
      before.error === after.error;
    return same ? [] : [{ layerGroup: before.layerGroup, from: before, to: after }];
  });
}
