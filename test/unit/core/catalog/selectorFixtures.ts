/** Questions to the selector, and the context they are asked in, for the tests of the catalog. */
import type { SelectorContext, SelectorModel, SelectorQuery } from '../../../../extension/core/catalog/query';
import type { Release } from '../../../../extension/core/catalog/releases';

export const QUERY: SelectorQuery = {
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
  usePcp: false,
  useAdaptiveVerification: false,
  useDcp: false,
  useRswa: false,
  numHeads: 32,
};

export const MODEL: SelectorModel = {
  headSize: 128,
  numAttentionHeads: 32,
  numKvHeads: 8,
  hfText: {},
  isDiffusion: false,
  isMmPrefixLm: false,
  isHybrid: false,
  mambaCacheFloat32: false,
  rswaWindow: null,
};

export const MLA_MODEL = (change: SelectorModel['hfText'] = {}): SelectorModel => ({
  ...MODEL,
  headSize: 576,
  numAttentionHeads: 16,
  numKvHeads: 1,
  hfText: { kvLoraRank: 512, qkNopeHeadDim: 128, qkRopeHeadDim: 64, vHeadDim: 128, indexTopk: 2048, ...change },
});

export type Capability = readonly [number, number];
export type Change = Partial<Omit<SelectorContext, 'libraries'>> & {
  readonly libraries?: Partial<SelectorContext['libraries']>;
};

export function context(release: Release, capability: Capability, change: Change = {}): SelectorContext {
  const { libraries, ...rest } = change;
  return {
    release,
    capability,
    flashAttnVersion: null,
    useTrtllmAttention: null,
    batchInvariant: false,
    cacheDtype: 'auto',
    prefillContextParallelSize: 1,
    decodeContextParallelSize: 1,
    model: null,
    ...rest,
    libraries: {
      fa2: true,
      fa3: true,
      fa4: release.localeCompare('0.17.0', 'en', { numeric: true }) >= 0,
      flashinfer: true,
      flashinferCubins: true,
      flashinferCompiler: true,
      flashmla: true,
      tokenspeedMla: true,
      b12x: true,
      fa4Importable: true,
      systemFa4: false,
      ...libraries,
    },
  };
}

export const C70: Capability = [7, 0];
export const C75: Capability = [7, 5];
export const C80: Capability = [8, 0];
export const C90: Capability = [9, 0];
export const C100: Capability = [10, 0];
export const C103: Capability = [10, 3];
export const C110: Capability = [11, 0];
export const C120: Capability = [12, 0];
export const C121: Capability = [12, 1];
