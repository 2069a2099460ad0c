/**
 * From a request of the product to the questions vLLM's selector is asked: one context per request, one question per
 * layer group.
 */
import { assumeLibraries } from '../catalog/assumptions';
import { isHybridArchitecture } from '../catalog/hybridModels';
import { selectMlaPrefill, type MlaPrefillSelection } from '../catalog/mlaPrefill';
import type { QueryDtype, SelectorContext, SelectorModel, SelectorQuery } from '../catalog/query';
import { within, type Release } from '../catalog/releases';
import { rewriteConfig, usesMmPrefix, type Rewrite } from '../catalog/rewrites';
import { readBackendName } from '../catalog/select';
import type { EvaluateRequest, LayerGroup } from '../request';
import type { LayerFacts } from '../catalog/worksAnswer';

/** Everything evaluated once per request. */
export interface PreparedRequest {
  readonly release: Release;
  readonly context: SelectorContext;
  /** Backend as configured after the release's own rewrites; `null` = automatic. */
  readonly backend: string | null;
  /** The backend that the release's own rewrites set where the user set none; `null` = none did. */
  readonly forcedBackend: string | null;
  readonly useNonCausal: boolean;
  readonly rewrites: readonly Rewrite[];
  readonly assumptions: readonly string[];
  readonly dtype: QueryDtype;
  readonly mmPrefix: boolean;
}

/** Query dtype a release settles on, and what had to be assumed. */
function resolveDtype(request: EvaluateRequest): { readonly dtype: QueryDtype; readonly assumption: string | null } {
  const { serve, model, capability } = request;
  const hasBfloat16 = capability[0] >= 8;
  if (serve.dtype !== 'auto') {
    return { dtype: serve.dtype, assumption: null };
  }
  if (model.dtype === null) {
    return {
      dtype: hasBfloat16 ? 'bfloat16' : 'float16',
      assumption: `The model names no dtype; taken as ${hasBfloat16 ? 'bfloat16' : 'float16'}.`,
    };
  }
  if (model.dtype === 'float32' || (model.dtype === 'bfloat16' && !hasBfloat16)) {
    return { dtype: hasBfloat16 ? 'bfloat16' : 'float16', assumption: null };
  }
  return { dtype: model.dtype, assumption: null };
}

/** `model_config` as the rules read it. */
function selectorModel(request: EvaluateRequest, release: Release, mmPrefix: boolean): SelectorModel | null {
  const groups = request.model.layerGroups;
  const first = groups[0];
  if (first === undefined) {
    return null;
  }
  const mla = groups.find((group) => group.mla !== null)?.mla ?? null;
  const softcap = groups.find((group) => group.softcap !== 0)?.softcap;
  return {
    headSize: Math.max(...groups.map((group) => group.headDim)),
    numAttentionHeads: first.qHeads ?? 0,
    numKvHeads: mla !== null ? 1 : (first.kvHeads ?? 0),
    hfText: {
      ...(mla === null
        ? {}
        : {
            kvLoraRank: mla.kvLoraRank,
            qkNopeHeadDim: mla.qkNopeHeadDim,
            qkRopeHeadDim: mla.qkRopeHeadDim,
            vHeadDim: mla.vHeadDim,
            ...(mla.indexTopk === null ? {} : { indexTopk: mla.indexTopk }),
          }),
      ...(softcap === undefined ? {} : { attnLogitSoftcapping: softcap }),
    },
    isDiffusion: request.model.isDiffusion ?? false,
    isMmPrefixLm: within(release, '0.13.0') && mmPrefix,
    isHybrid: isHybridArchitecture(release, request.model.architecture),
    mambaCacheFloat32: false,
    rswaWindow: request.model.rswaWindow ?? null,
  };
}

/**
 * The backend as the release's configuration holds it when its rewrites read it (reference §1.1): `null` = automatic. A
 * name it refuses stays as written, so that it is refused with vLLM's own words and not taken for an unset one.
 */
function configuredBackend(release: Release, written: string | null): string | null {
  const choice = readBackendName(release, written);
  return choice.kind === 'backend' ? choice.name : choice.kind === 'automatic' ? null : written;
}

/** Prepares a request for the rules of a release. */
export function prepareRequest(request: EvaluateRequest, release: Release): PreparedRequest {
  const { serve, model, capability } = request;
  const { libraries, assumptions } = assumeLibraries(release, request.availability);
  const { dtype, assumption } = resolveDtype(request);
  const mmPrefix = usesMmPrefix(
    { release },
    model.modelType,
    model.layerGroups.some((group) => group.mmPrefix),
    serve.textOnly,
  );
  const context: SelectorContext = {
    release,
    capability,
    libraries,
    flashAttnVersion: serve.flashAttnVersion,
    useTrtllmAttention: serve.useTrtllmAttention,
    batchInvariant: serve.batchInvariant,
    cacheDtype: serve.kvCacheDtype,
    prefillContextParallelSize: serve.prefillContextParallelSize,
    decodeContextParallelSize: serve.decodeContextParallelSize,
    model: selectorModel(request, release, mmPrefix),
    useSystemFlashAttn: request.useSystemFlashAttn,
  };
  const backend = configuredBackend(release, serve.backend);
  const { config, rewrites } = rewriteConfig(
    {
      backend,
      flashAttnVersion: serve.flashAttnVersion,
      cacheDtype: serve.kvCacheDtype,
      useNonCausal: serve.useNonCausal,
    },
    context,
    {
      modelType: model.modelType,
      headDims: model.layerGroups.map((group) => group.headDim),
      mla: model.layerGroups.some((group) => group.mla !== null),
      sparse: model.layerGroups.some((group) => group.mla !== null && group.mla.indexTopk !== null),
      architecture: model.architecture,
      kvQuantization: model.kvQuantization ?? null,
    },
  );
  const heads = model.layerGroups.some(
    (group) => group.qHeads === null || (group.kvHeads === null && group.mla === null),
  );
  return {
    release,
    context: { ...context, flashAttnVersion: config.flashAttnVersion, cacheDtype: config.cacheDtype },
    backend: config.backend,
    forcedBackend: backend === null ? config.backend : null,
    useNonCausal: config.useNonCausal,
    rewrites,
    assumptions: [
      ...assumptions,
      ...(assumption === null ? [] : [assumption]),
      ...(heads ? ['The number of heads is not known; rules that read it see none.'] : []),
    ],
    dtype,
    mmPrefix,
  };
}

/** The selector's question for one layer group. */
export function layerQuery(prepared: PreparedRequest, request: EvaluateRequest, group: LayerGroup): SelectorQuery {
  const { serve } = request;
  return {
    headSize: group.headDim,
    dtype: prepared.dtype,
    kvCacheDtype: prepared.context.cacheDtype,
    blockSize: serve.blockSize,
    useMla: group.mla !== null,
    hasSink: group.sinks,
    useSparse: group.mla !== null && group.mla.indexTopk !== null,
    useMmPrefix: prepared.mmPrefix,
    usePerHeadQuantScales:
      within(prepared.release, '0.17.0') && group.mla === null && request.model.kvQuantization?.perHead === true,
    attnType: group.attnType,
    hasSlidingWindow: group.slidingWindow !== null,
    useNonCausal: prepared.useNonCausal,
    useBatchInvariant: serve.batchInvariant,
    useKvConnector: serve.kvConnector,
    usePcp: serve.prefillContextParallelSize > 1,
    useAdaptiveVerification: serve.adaptiveVerification,
    useDcp: serve.decodeContextParallelSize > 1,
    useRswa: request.model.rswaWindow !== undefined,
    numHeads: group.qHeads,
  };
}

/**
 * The prefill backend of a dense MLA layer; `null` when the release has no such choice or the layer needs none. Sparse
 * layers do without a prefill backend when none fits, so they are not asked.
 */
export function mlaPrefillOf(
  prepared: PreparedRequest,
  request: EvaluateRequest,
  group: LayerGroup,
): MlaPrefillSelection | null {
  const { mla } = group;
  if (mla === null || mla.indexTopk !== null) {
    return null;
  }
  return selectMlaPrefill(
    request.serve.mlaPrefillBackend,
    [mla.qkNopeHeadDim, mla.qkRopeHeadDim, mla.vHeadDim],
    prepared.dtype,
    prepared.context,
  );
}

/** What the kernels look at and the validator does not. */
export function layerFacts(request: EvaluateRequest, group: LayerGroup): LayerFacts {
  const windows = new Set(
    request.model.layerGroups.filter((other) => other.mla === null).map((other) => other.slidingWindow),
  );
  return {
    alibi: group.alibi,
    softcap: group.softcap !== 0,
    headDimV: group.headDimV ?? group.headDim,
    mixedWindows: windows.size > 1,
    kvSharing: request.model.kvSharing === true,
    kvHeads: group.kvHeads,
  };
}
