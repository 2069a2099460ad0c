/**
 * The declared support matrix: backends and libraries × head sizes × page layouts, both questions kept apart.
 *
 * `selects` = would the release's validator take the backend for a plain layer of this head size with `--block-size`
 * set to the page. `works` = does the library declare that its kernels take it.
 */
import { assumeLibraries } from './catalog/assumptions';
import { resolveFlashAttnVersion, type FlashAttnGeneration } from './catalog/flashAttnVersion';
import { backendPriorities, prioritiesSource } from './catalog/priorities';
import type { QueryDtype, SelectorContext, SelectorModel, SelectorQuery } from './catalog/query';
import { backendRow } from './catalog/registry';
import { resolveRelease, within, type Release } from './catalog/releases';
import { judge } from './catalog/select';
import {
  backendWorks,
  flagWorks,
  flashAttnWorks,
  systemFa4Works,
  type LayerFacts,
  type WorksAnswer,
} from './catalog/works';
import type { MatrixCell, MatrixSubject } from './evaluation';
import type { LibraryAvailability } from './request';
import type { Answer, Verdict, VerdictReason } from './verdict';

/** What the matrix is asked for. */
export interface MatrixRequest {
  readonly vllmVersion: string;
  readonly capability: readonly [number, number];
  readonly headDims: readonly number[];
  /** Tokens per page; `null` = contiguous KV. */
  readonly pageSizes: readonly (number | null)[];
  readonly dtype: QueryDtype;
  readonly kvCacheDtype: string;
  readonly useSystemFlashAttn: boolean;
  readonly availability: LibraryAvailability;
}

/** Rows and cells; one cell per subject, head size and page layout. */
export interface DeclaredMatrix {
  readonly subjects: readonly MatrixSubject[];
  readonly cells: readonly MatrixCell[];
}

/** Layer group every cell is asked for: a plain decoder layer of that head size. */
const cellGroup = (headDim: number): string => `d${headDim}`;

const PLAIN_LAYER = { alibi: false, softcap: false, mixedWindows: false } as const;

interface SubjectRow extends MatrixSubject {
  readonly selects: (query: SelectorQuery, context: SelectorContext) => WorksAnswer;
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
  const candidate = judge(name, query, context);
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

/** FLASH_ATTN with one generation: valid, and the resolver gives this head that generation when it is asked for. */
function generationRow(version: FlashAttnGeneration): SubjectRow {
  return {
    id: `FLASH_ATTN.FA${version}`,
    label: `FLASH_ATTN (FA${version})`,
    kind: 'vllmBackend',
    selects: (query, context) => {
      const forced = { ...context, flashAttnVersion: version };
      const where = `vllm ${context.release} v1/attention/backends/fa_utils.py`;
      if (version === 4 && !within(context.release, '0.17.0')) {
        return answer('no', 'CFG-3', 'Input should be 2 or 3', `vllm ${context.release} config/attention.py`);
      }
      const valid = validatorAnswer('FLASH_ATTN', query, forced);
      if (valid.answer !== 'yes') {
        return valid;
      }
      const resolved = resolveFlashAttnVersion(forced, {
        headSize: query.headSize,
        supportsFa4Hd256: true,
        ...(query.blockSize === null ? {} : { kvCacheBlockSize: query.blockSize }),
      });
      const large = within(context.release, '0.20.0', '0.20.2') && resolved.version === 3 && query.headSize > 256;
      const got = large ? 4 : resolved.version;
      if (got === version) {
        return version === 4 ? (flagTakesVendored(context) ?? valid) : valid;
      }
      const why = resolved.notes.filter((note) => !note.startsWith('flash_attn_version is set')).join('; ');
      return answer(
        'no',
        'FA-VERSION',
        `FLASH_ATTN is valid, but with flash_attn_version ${version} the resolver gives ${got === null ? 'none' : `FA${got}`}${why === '' ? '' : `: ${why}`}`,
        where,
      );
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
    selects: (query, context) => {
      if (context.useSystemFlashAttn !== true) {
        return answer(
          'no',
          'NO-SYSTEM-FA4',
          `no vLLM release runs a pip-installed flash_attn.cute; ${context.release} declares no use_system_flash_attn`,
          `vllm ${context.release} config/attention.py`,
        );
      }
      const forced = { ...context, flashAttnVersion: 4 };
      const valid = validatorAnswer('FLASH_ATTN', query, forced);
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

function backendSubject(id: string): SubjectRow {
  return {
    id,
    label: id,
    kind: 'vllmBackend',
    selects: (query, context) => validatorAnswer(id, query, context),
    works: (query, context, layer, pageSize) => backendWorks(id, { ...query, blockSize: pageSize }, context, layer),
  };
}

const STANDARD = ['FLASHINFER', 'TRITON_ATTN', 'FLEX_ATTENTION', 'TURBOQUANT'];

/** MLA backends a release can pick on this capability or elsewhere, in priority order, each once. */
function mlaBackends(release: Release, base: SelectorQuery): readonly string[] {
  const query = { ...base, useMla: true, numHeads: 16 };
  const capabilities: readonly (readonly [number, number])[] = [
    [9, 0],
    [10, 0],
    [12, 0],
  ];
  return [...new Set(capabilities.flatMap((capability) => backendPriorities(release, capability, query)))];
}

function baseQuery(request: MatrixRequest): SelectorQuery {
  return {
    headSize: 128,
    dtype: request.dtype,
    kvCacheDtype: request.kvCacheDtype,
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
    usePcp: false,
    useAdaptiveVerification: false,
    useDcp: false,
    useRswa: false,
    numHeads: null,
  };
}

/** A model whose every layer has this head size and grouped queries, so that rules that look at the model see one. */
function plainModel(headDim: number): SelectorModel {
  return {
    headSize: headDim,
    numAttentionHeads: 32,
    numKvHeads: 8,
    hfText: {},
    isDiffusion: false,
    isMmPrefixLm: false,
    isHybrid: false,
    mambaCacheFloat32: false,
    rswaWindow: null,
  };
}

/** The matrix of a release on a capability. Too-old releases answer `unknown` in every cell. */
export function declaredMatrix(request: MatrixRequest): DeclaredMatrix {
  const { release, stamp } = resolveRelease(request.vllmVersion);
  const { libraries } = assumeLibraries(release, request.availability);
  const base = baseQuery(request);
  const rows: readonly SubjectRow[] = [
    generationRow(2),
    generationRow(3),
    generationRow(4),
    systemFa4Row(),
    ...STANDARD.filter((id) => backendRow(release, id) !== undefined).map(backendSubject),
    ...mlaBackends(release, base).map(backendSubject),
  ];
  const tooOld: readonly VerdictReason[] = [
    { code: 'TOO-OLD', text: `vLLM ${request.vllmVersion} is older than the catalog (0.11.1)`, source: null },
  ];
  const cells = rows.flatMap((row) => {
    const backend = backendRow(release, row.id);
    return request.headDims.flatMap((headDim) => {
      const mla = backend?.mla ?? false;
      const context: SelectorContext = {
        release,
        capability: request.capability,
        libraries,
        flashAttnVersion: null,
        useTrtllmAttention: null,
        batchInvariant: false,
        cacheDtype: request.kvCacheDtype,
        prefillContextParallelSize: 1,
        decodeContextParallelSize: 1,
        // Rules of MLA backends read dimensions a bare head size does not have; without a model they stay out.
        model: mla ? null : plainModel(headDim),
        useSystemFlashAttn: request.useSystemFlashAttn,
      };
      const layer: LayerFacts = { ...PLAIN_LAYER, headDimV: headDim };
      return request.pageSizes.map((pageSize): MatrixCell => {
        const query: SelectorQuery = {
          ...base,
          headSize: headDim,
          blockSize: pageSize,
          useMla: mla,
          useSparse: backend?.sparse ?? false,
        };
        const verdict = (question: Verdict['question'], found: WorksAnswer): Verdict => ({
          subject: row.id,
          question,
          layerGroup: cellGroup(headDim),
          level: 'declared',
          ...(stamp.match === 'tooOld' ? { answer: 'unknown', reasons: tooOld } : found),
        });
        return {
          subject: row.id,
          headDim,
          pageSize,
          selects: verdict('selects', row.selects(query, context)),
          works: verdict('works', row.works(query, context, layer, pageSize)),
        };
      });
    });
  });
  return { subjects: rows.map(({ id, label, kind }) => ({ id, label, kind })), cells };
}
