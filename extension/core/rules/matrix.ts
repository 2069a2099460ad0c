/**
 * The declared support matrix: backends and libraries × head sizes × page layouts, both questions kept apart.
 *
 * A column asks for the model's own layer groups of that head size, with their windows, sinks, soft caps and image
 * spans; where the model has none, for a head size alone. `selects` = would the release's validator take the backend
 * with `--block-size` set to the page. `works` = does the library declare that its kernels take it. Where groups of one
 * head size get different answers, the cell shows the worse one.
 */
import type { FlashAttnGeneration } from '../catalog/flashAttnVersion';
import { backendPriorities, prioritiesSource } from '../catalog/priorities';
import type { QueryDtype, SelectorContext, SelectorQuery } from '../catalog/query';
import { backendRow } from '../catalog/registry';
import { resolveRelease, within, type Release } from '../catalog/releases';
import { atSelection, judge } from '../catalog/select';
import { flagWorks, flashAttnWorks, systemFa4Works } from '../catalog/works';
import type { LayerFacts, WorksAnswer } from '../catalog/worksAnswer';
import { candidateWorks, layerFlashAttnVersion } from './evaluate';
import { layerFacts, layerQuery, prepareRequest, type PreparedRequest } from './evaluateQuery';
import type { MatrixCell, MatrixSubject } from '../evaluation';
import type { EvaluateRequest, LayerGroup } from '../request';
import type { Answer, Verdict, VerdictReason } from '../verdict';

/** One column: a head size and what is asked of it. */
export interface MatrixColumn {
  readonly headDim: number;
  /** Layer groups of the request's model with this head size; empty = the head size alone. */
  readonly groups: readonly LayerGroup[];
  /** A head size alone is asked as a latent-attention layer. */
  readonly mla: boolean;
}

/** What the matrix is asked for. */
export interface MatrixRequest {
  /** Release, GPU, libraries, serve settings and flag for every column, the model for the columns that have groups of it. */
  readonly request: EvaluateRequest;
  readonly columns: readonly MatrixColumn[];
  /** Tokens per page; `null` = contiguous KV. */
  readonly pageSizes: readonly (number | null)[];
  /** Query dtype of columns without a model. */
  readonly dtype: QueryDtype;
}

/** Rows and cells; one cell per subject, head size and page layout. */
export interface DeclaredMatrix {
  readonly subjects: readonly MatrixSubject[];
  readonly cells: readonly MatrixCell[];
}

/** Columns of these head sizes: with the model's groups where it has some, else alone. */
export function matrixColumns(
  headDims: readonly number[],
  groups: readonly LayerGroup[],
  mlaAlone: boolean,
): readonly MatrixColumn[] {
  return headDims.map((headDim) => ({
    headDim,
    groups: groups.filter((group) => group.headDim === headDim),
    mla: mlaAlone,
  }));
}

/** Whether a column asks for latent attention, other attention, or both. */
export function columnKinds(column: MatrixColumn): { readonly mla: boolean; readonly other: boolean } {
  return column.groups.length === 0
    ? { mla: column.mla, other: !column.mla }
    : {
        mla: column.groups.some((group) => group.mla !== null),
        other: column.groups.some((group) => group.mla === null),
      };
}

/** What the columns ask about, in one sentence, so that a cell is not taken for more than it says. */
export function columnsText(columns: readonly MatrixColumn[]): string {
  const alone = columns.filter((column) => column.groups.length === 0).map((column) => `d${column.headDim}`);
  const own = columns.filter((column) => column.groups.length > 0);
  if (own.length === 0) {
    return 'Asked about head size alone: no window, sinks, soft cap or image spans.';
  }
  const groups = own.flatMap((column) => column.groups.map((group) => group.id));
  const shared = own.some((column) => column.groups.length > 1)
    ? ' Where layers of one head size get different answers, the worse one is shown.'
    : '';
  const rest = alone.length === 0 ? '' : `; ${alone.join(', ')}: head size alone`;
  return `Asked about the model's layers with their windows, sinks, soft caps and image spans: ${groups.join(', ')}${rest}.${shared}`;
}

/** Layer group of a column's verdicts. */
const cellGroup = (headDim: number): string => `d${headDim}`;

interface SubjectRow extends MatrixSubject {
  /** The layers it is for; a column that has such layers is not asked about the others. */
  readonly mla: boolean;
  readonly selects: (query: SelectorQuery, context: SelectorContext, layer: LayerFacts) => WorksAnswer;
  readonly works: (
    query: SelectorQuery,
    context: SelectorContext,
    layer: LayerFacts,
    pageSize: number | null,
  ) => WorksAnswer;
}

const answer = (value: Answer, code: string, text: string, where: string | null): WorksAnswer => ({
  answer: value,
  reasons: [{ code, text, source: where === null ? null : { where } }],
});

/** The validator's word on a backend, with its place in the priority order. */
function validatorAnswer(name: string, query: SelectorQuery, context: SelectorContext): WorksAnswer {
  const { release } = context;
  const candidate = judge(name, atSelection(release, query), context);
  if (candidate.reasons.length > 0) {
    return { answer: 'no', reasons: candidate.reasons };
  }
  if (candidate.raised !== null) {
    return answer('no', 'RAISES', candidate.raised, null);
  }
  if (candidate.unknown !== null) {
    return answer('unknown', 'UNKNOWN', candidate.unknown, null);
  }
  const order = backendPriorities(release, context.capability, query);
  const place = order.indexOf(name) + 1;
  return answer(
    'yes',
    'VALID',
    place > 0 ? `valid; place ${place} of ${order.length} in the priority order` : 'valid, but only when asked for',
    prioritiesSource(release),
  );
}

/** Whether FLASH_ATTN is valid for a layer and the resolver gives it this generation, by itself or when asked for. */
function generationAnswer(
  version: FlashAttnGeneration,
  query: SelectorQuery,
  context: SelectorContext,
  layer: LayerFacts,
): WorksAnswer {
  const forced = { ...context, flashAttnVersion: version };
  const where = `vllm ${context.release} v1/attention/backends/fa_utils.py`;
  if (version === 4 && !within(context.release, '0.17.0')) {
    return answer('no', 'CFG-3', 'Input should be 2 or 3', `vllm ${context.release} config/attention.py`);
  }
  // What the configuration gives by itself counts before what asking for the version would.
  if (layerFlashAttnVersion(context, query, layer).version === version) {
    const asConfigured = validatorAnswer('FLASH_ATTN', query, context);
    if (asConfigured.answer === 'yes') {
      return asConfigured;
    }
  }
  const valid = validatorAnswer('FLASH_ATTN', query, forced);
  if (valid.answer !== 'yes') {
    return valid;
  }
  const resolved = layerFlashAttnVersion(forced, query, layer);
  if (resolved.version === version) {
    return valid;
  }
  const why = resolved.notes.filter((note) => !note.startsWith('flash_attn_version is set')).join('; ');
  return answer(
    'no',
    'FA-VERSION',
    `FLASH_ATTN is valid, but with flash_attn_version ${version} the resolver gives ${resolved.version === null ? 'none' : `FA${resolved.version}`}${why === '' ? '' : `: ${why}`}`,
    where,
  );
}

/** FLASH_ATTN with one generation. */
function generationRow(version: FlashAttnGeneration): SubjectRow {
  return {
    id: `FLASH_ATTN.FA${version}`,
    label: `FLASH_ATTN (FA${version})`,
    kind: 'vllmBackend',
    mla: false,
    selects: (query, context, layer) => {
      const resolved = generationAnswer(version, query, context, layer);
      return version === 4 && resolved.answer === 'yes' ? (flagTakesVendored(context) ?? resolved) : resolved;
    },
    works: (query, context, layer, pageSize) =>
      // FA4 has a row of its own for the system library; only FA3 is broken by the flag.
      (version === 3 ? flagWorks(3, query, context, layer, pageSize) : null) ??
      flashAttnWorks(version, query, context, layer, pageSize),
  };
}

/** With the flag on, version 4 means the system library where it is installed; `null` = the vendored copy runs. */
function flagTakesVendored(context: SelectorContext): WorksAnswer | null {
  const { systemFa4 } = context.libraries;
  if (context.useSystemFlashAttn !== true || systemFa4 === false) {
    return null;
  }
  return systemFa4 === null
    ? answer(
        'unknown',
        'FLAG',
        'with use_system_flash_attn the vendored FA4 runs only if flash-attn-4 fails to import, which was not inspected',
        'vllm-project/vllm#38823',
      )
    : answer(
        'no',
        'FLAG',
        `with use_system_flash_attn flash-attn-4 ${systemFa4} runs instead`,
        'vllm-project/vllm#38823',
      );
}

/** pip's flash-attn-4, a library of its own; vLLM reaches it only in the what-if. */
function systemFa4Row(): SubjectRow {
  return {
    id: 'fa4.system',
    label: 'flash-attn-4 (pip)',
    kind: 'library',
    mla: false,
    selects: (query, context, layer) => {
      if (context.useSystemFlashAttn !== true) {
        return answer(
          'no',
          'NO-SYSTEM-FA4',
          `no vLLM release runs a pip-installed flash_attn.cute; ${context.release} declares no use_system_flash_attn`,
          `vllm ${context.release} config/attention.py`,
        );
      }
      const valid = generationAnswer(4, query, context, layer);
      return valid.answer === 'yes'
        ? answer(
            'yes',
            'FLAG',
            'with use_system_flash_attn and flash_attn_version 4, FLASH_ATTN calls this library (what-if)',
            'vllm-project/vllm#38823',
          )
        : valid;
    },
    works: systemFa4Works,
  };
}

function backendSubject(id: string, release: Release): SubjectRow {
  return {
    id,
    label: id,
    kind: 'vllmBackend',
    mla: backendRow(release, id)?.mla ?? false,
    selects: (query, context) => validatorAnswer(id, query, context),
    works: (query, context, layer, pageSize) =>
      candidateWorks(id, { ...query, blockSize: pageSize }, context, layer, pageSize),
  };
}

const STANDARD = ['FLASHINFER', 'TRITON_ATTN', 'FLEX_ATTENTION', 'TURBOQUANT'];

/** Families whose lists together hold every MLA backend of a release. */
const MLA_FAMILIES: readonly (readonly [number, number])[] = [
  [9, 0],
  [10, 0],
  [12, 0],
];

/** One question of a column. */
interface Asked {
  /** Group of the model; `null` = a head size alone. */
  readonly group: string | null;
  readonly query: SelectorQuery;
  readonly context: SelectorContext;
  readonly layer: LayerFacts;
}

/** Heads of a layer that is only a head size: grouped queries, so that rules that look at them see some. */
const ALONE_HEADS = { qHeads: 32, kvHeads: 8 } as const;

/** A head size alone. Rules of MLA backends read dimensions a bare head size does not have; they stay out. */
function askedAlone({ request, dtype }: MatrixRequest, release: Release, column: MatrixColumn, sparse: boolean): Asked {
  const group: LayerGroup = {
    ...ALONE_HEADS,
    id: cellGroup(column.headDim),
    layers: null,
    headDim: column.headDim,
    headDimV: null,
    attnType: 'decoder',
    slidingWindow: null,
    sinks: false,
    softcap: 0,
    alibi: false,
    mla: null,
    mmPrefix: false,
  };
  const alone: EvaluateRequest = {
    ...request,
    model: { modelType: null, architecture: null, dtype, layerGroups: [group] },
  };
  const prepared = prepareRequest(alone, release);
  const query = layerQuery(prepared, alone, group);
  return {
    group: null,
    query: column.mla ? { ...query, useMla: true, useSparse: sparse, numHeads: null } : query,
    context: column.mla ? { ...prepared.context, model: null } : prepared.context,
    layer: layerFacts(alone, group),
  };
}

/** The questions a column puts to a row: its groups of the row's own kind, all of them when it has none of that kind. */
function askedOf(
  matrix: MatrixRequest,
  prepared: PreparedRequest,
  column: MatrixColumn,
  row: SubjectRow,
): readonly Asked[] {
  const { release } = prepared;
  if (column.groups.length === 0) {
    return [askedAlone(matrix, release, column, backendRow(release, row.id)?.sparse ?? false)];
  }
  const own = column.groups.filter((group) => (group.mla !== null) === row.mla);
  return (own.length === 0 ? column.groups : own).map((group) => ({
    group: group.id,
    query: layerQuery(prepared, matrix.request, group),
    context: prepared.context,
    layer: layerFacts(matrix.request, group),
  }));
}

const WORST_FIRST: readonly Answer[] = ['no', 'unknown', 'yes'];

/** The worse of several groups' answers; where they differ, its reasons say what each group gets, worst first. */
function worst(answers: readonly { readonly group: string | null; readonly found: WorksAnswer }[]): WorksAnswer {
  const sorted = [...answers].sort((a, b) => WORST_FIRST.indexOf(a.found.answer) - WORST_FIRST.indexOf(b.found.answer));
  const value = sorted[0]?.found.answer ?? 'unknown';
  const differ = sorted.some(({ found }) => found.answer !== value);
  const reasons = sorted.flatMap(({ group, found }) =>
    found.reasons.map((reason) =>
      differ && group !== null ? { ...reason, text: `${group}: ${found.answer}, ${reason.text}` } : reason,
    ),
  );
  return { answer: value, reasons: [...new Map(reasons.map((reason) => [reason.text, reason])).values()] };
}

/** Rows for what the columns ask: the backends of their kinds, and whatever else a group is offered or given. */
function subjectRows(matrix: MatrixRequest, prepared: PreparedRequest): readonly SubjectRow[] {
  const { release } = prepared;
  const { request, columns } = matrix;
  const kinds = columns.map(columnKinds);
  const offered = columns.flatMap((column) =>
    column.groups.flatMap((group) =>
      backendPriorities(release, request.capability, layerQuery(prepared, request, group)),
    ),
  );
  const mlaQuery = (headSize: number): SelectorQuery => ({
    ...askedAlone(matrix, release, { headDim: headSize, groups: [], mla: true }, false).query,
    numHeads: 16,
  });
  const mla = columns
    .filter((_column, index) => kinds[index]?.mla === true)
    .flatMap((column) =>
      MLA_FAMILIES.flatMap((capability) => backendPriorities(release, capability, mlaQuery(column.headDim))),
    );
  const explicit = prepared.backend === null ? [] : [prepared.backend];
  const other = kinds.some((kind) => kind.other);
  const names = [...(other ? STANDARD : []), ...offered, ...mla, ...explicit];
  return [
    ...(other ? [generationRow(2), generationRow(3), generationRow(4), systemFa4Row()] : []),
    ...[...new Set(names)]
      .filter((id) => id !== 'FLASH_ATTN' && backendRow(release, id) !== undefined)
      .map((id) => backendSubject(id, release)),
  ];
}

/** The matrix of a release on a capability. Too-old releases answer `unknown` in every cell. */
export function declaredMatrix(matrix: MatrixRequest): DeclaredMatrix {
  const { release, stamp } = resolveRelease(matrix.request.vllmVersion);
  const prepared = prepareRequest(matrix.request, release);
  const rows = subjectRows(matrix, prepared);
  const tooOld: readonly VerdictReason[] = [
    { code: 'TOO-OLD', text: `vLLM ${matrix.request.vllmVersion} is older than the catalog (0.11.1)`, source: null },
  ];
  const cells = rows.flatMap((row) =>
    matrix.columns.flatMap((column) => {
      const asked = askedOf(matrix, prepared, column, row);
      return matrix.pageSizes.map((pageSize): MatrixCell => {
        const verdict = (
          question: Verdict['question'],
          ask: (one: Asked, query: SelectorQuery) => WorksAnswer,
        ): Verdict => ({
          subject: row.id,
          question,
          layerGroup: cellGroup(column.headDim),
          level: 'declared',
          ...(stamp.match === 'tooOld'
            ? { answer: 'unknown', reasons: tooOld }
            : worst(
                asked.map((one) => ({ group: one.group, found: ask(one, { ...one.query, blockSize: pageSize }) })),
              )),
        });
        return {
          subject: row.id,
          headDim: column.headDim,
          pageSize,
          selects: verdict('selects', (one, query) => row.selects(query, one.context, one.layer)),
          works: verdict('works', (one, query) => row.works(query, one.context, one.layer, pageSize)),
        };
      });
    }),
  );
  return { subjects: rows.map(({ id, label, kind }) => ({ id, label, kind })), cells };
}
