/**
 * FLASH_ATTN and FLASH_ATTN_DIFFKV: `v1/attention/backends/flash_attn.py`, `flash_attn_diffkv.py`.
 */
import {
  ALL_ATTN_TYPES,
  exactly,
  kvIn,
  multipleOf,
  OK,
  refuse,
  YES,
  type AdvertisedBlockSize,
  type BackendRow,
  type CombinationOutcome,
  type Rule,
} from './backendRow';
import {
  FA4_HD256_PAGE_SIZE,
  flashAttnTakesQuantizedKv,
  isFlashAttnSupported,
  resolveFlashAttnVersion,
  usesFa4Hd256Kernel,
} from './flashAttnVersion';
import { isQuantizedKvCache } from './kvCacheDtype';
import { atLeast, isCapability, isFamily, type SelectorContext, type SelectorQuery } from './query';
import { always, within, type Steps } from './releases';

/** Page of the SM90 FA4 kernel that dequantizes an FP8 KV cache, in tokens. */
const SM90_FA4_FP8_PAGE_SIZE = 64;

const headUpTo256: Rule = (query) => query.headSize % 8 === 0 && query.headSize <= 256;

const headUpTo512WithFa4: Rule = (query, context) =>
  query.headSize % 8 === 0 && (query.headSize <= 256 || (query.headSize <= 512 && isFlashAttnSupported(4, context)));

/** KV dtype test of 0.11.1–0.21.0: what counts as quantized goes to FA3 on 9.x, the rest must be a 16-bit name. */
function kvQuantizedOr(
  isQuantized: (dtype: string, context: SelectorContext) => boolean,
  plain: readonly string[],
): Rule {
  return (query, context) => {
    const dtype = query.kvCacheDtype;
    if (dtype === null) {
      return true;
    }
    return isQuantized(dtype, context) ? flashAttnTakesQuantizedKv(context, dtype) : plain.includes(dtype);
  };
}

const startsFp8 = (dtype: string): boolean => dtype.startsWith('fp8');
const plain16 = ['auto', 'float16', 'bfloat16'];
const kvListed = kvIn(...plain16, 'fp8', 'fp8_e4m3');

const kvCacheDtype: Steps<Rule> = [
  { since: '0.11.1', value: kvQuantizedOr(startsFp8, ['auto']), rule: 'FA-5' },
  { since: '0.15.0', value: kvQuantizedOr(startsFp8, ['auto', 'bfloat16']), rule: 'FA-5' },
  { since: '0.18.0', value: kvQuantizedOr(startsFp8, plain16), rule: 'FA-5' },
  {
    since: '0.20.0',
    value: kvQuantizedOr((dtype, context) => isQuantizedKvCache(context.release, dtype), plain16),
    rule: 'FA-5b',
  },
  { since: '0.22.0', value: kvQuantizedOr((dtype) => dtype === 'fp8' || dtype === 'fp8_e4m3', plain16), rule: 'FA-5c' },
  {
    since: '0.27.0',
    value: (query, context) => {
      const dtype = query.kvCacheDtype;
      return (
        dtype === null ||
        (kvListed(query, context) &&
          (!isQuantizedKvCache(context.release, dtype) || flashAttnTakesQuantizedKv(context, dtype)))
      );
    },
    rule: 'FA-5d',
  },
];

/**
 * Block sizes FLASH_ATTN advertises for the model's head size; `headSizeV` is the class's fixed value head size
 * (`null` for FLASH_ATTN itself).
 */
export function flashAttnBlockSizes(
  context: SelectorContext,
  headSizeV: number | null,
): readonly AdvertisedBlockSize[] {
  const special = flashAttnSpecialPage(context, headSizeV);
  return special === null ? [multipleOf(16)] : exactly(special);
}

/** The one page size a special FA4 kernel dictates for this model, in tokens; `null` = none does. */
export function flashAttnSpecialPage(context: SelectorContext, headSizeV: number | null): number | null {
  const { model, release } = context;
  if (model === null) {
    return null;
  }
  if (
    within(release, '0.31.0') &&
    isFamily(context, 9) &&
    (context.cacheDtype === 'fp8' || context.cacheDtype === 'fp8_e4m3') &&
    model.headSize === 512 &&
    resolveFlashAttnVersion(context, { headSize: 512 }).version === 4
  ) {
    return SM90_FA4_FP8_PAGE_SIZE;
  }
  if (
    within(release, '0.29.0') &&
    usesFa4Hd256Kernel(context, model.headSize, headSizeV) &&
    resolveFlashAttnVersion(context, { headSize: model.headSize, headSizeV, supportsFa4Hd256: true }).version === 4
  ) {
    return FA4_HD256_PAGE_SIZE;
  }
  return null;
}

/** Hybrid models with a float32 Mamba cache: fixed sizes only, 0.12.0–0.24.0. */
function hybridBlockSizes(context: SelectorContext): readonly AdvertisedBlockSize[] {
  return context.model !== null && context.model.isHybrid && context.model.mambaCacheFloat32
    ? exactly(16, 32, 64)
    : [multipleOf(16)];
}

const SINK_CAPABILITY = 'sink not supported on compute capability < 9.0';
const MM_PREFIX_NEEDS_FA4 =
  'mm_prefix (PrefixLM bidirectional attention) requires FlashAttention v4, which does not resolve for this head_size';

/** `supports_combination` of FLASH_ATTN; also asked by the composite that contains it. */
export function flashAttnCombination(query: SelectorQuery, context: SelectorContext): CombinationOutcome {
  const { release } = context;
  if (query.hasSink && !atLeast(context, 9, 0)) {
    return refuse(SINK_CAPABILITY, 'FA-10');
  }
  if (!within(release, '0.24.0')) {
    return OK;
  }
  const quantized = query.kvCacheDtype !== null && isQuantizedKvCache(release, query.kvCacheDtype);
  if (within(release, '0.31.0') && query.useMmPrefix && quantized && isCapability(context, 9, 0)) {
    return refuse('SM90 FP8 KV with mm_prefix requires Triton', 'FA-7');
  }
  const pageAware = within(release, '0.29.0') ? { kvCacheBlockSize: query.blockSize, supportsFa4Hd256: true } : {};
  if (
    within(release, '0.27.0') &&
    quantized &&
    !flashAttnTakesQuantizedKv(context, query.kvCacheDtype, {
      headSize: query.headSize,
      headSizeV: query.headSize,
      hasSinks: query.hasSink,
      ...pageAware,
    })
  ) {
    return within(release, '0.31.0')
      ? refuse('FP8 KV cache requires FA3 on SM90, FA4 with head_size=512 on SM90, or FA4 on SM100', 'FA-6b')
      : refuse('FP8 KV cache requires FA3 on SM90 or FA4 on SM100', 'FA-6');
  }
  if (
    query.useMmPrefix &&
    resolveFlashAttnVersion(context, { headSize: query.headSize, hasSinks: query.hasSink, ...pageAware }).version !== 4
  ) {
    return refuse(MM_PREFIX_NEEDS_FA4, 'FA-13');
  }
  return OK;
}

const sinkVersion =
  (...versions: readonly number[]): Rule =>
  (_query, context) =>
    versions.includes(resolveFlashAttnVersion(context).version ?? 0);

/** What the seed change does to a head-size rule: with the flag on, any multiple of 8 up to 512 passes, installed or not. */
const orSystemFlashAttn =
  (rule: Rule): Rule =>
  (query, context) =>
    rule(query, context) || (context.useSystemFlashAttn === true && query.headSize % 8 === 0 && query.headSize <= 512);

/** FLASH_ATTN. */
export const FLASH_ATTN: BackendRow = {
  id: 'FLASH_ATTN',
  since: '0.11.1',
  file: 'v1/attention/backends/flash_attn.py',
  headSize: [
    {
      since: '0.11.1',
      value: orSystemFlashAttn((query) => [32, 64, 96, 128, 160, 192, 224, 256].includes(query.headSize)),
      rule: 'FA-1',
    },
    { since: '0.12.0', value: orSystemFlashAttn(headUpTo256), rule: 'FA-2' },
    { since: '0.20.0', value: orSystemFlashAttn(headUpTo512WithFa4), rule: 'FA-3' },
  ],
  dtypes: always(['float16', 'bfloat16'], 'FA-4'),
  kvCacheDtype,
  blockSizes: [
    { since: '0.11.1', value: () => exactly(16, 32, 64), rule: 'FA-14' },
    { since: '0.12.0', value: hybridBlockSizes, rule: 'FA-14' },
    { since: '0.25.0', value: () => [multipleOf(16)], rule: 'FA-14' },
    { since: '0.29.0', value: (context) => flashAttnBlockSizes(context, null), rule: 'FA-15' },
  ],
  preferredBlockSize: [
    {
      since: '0.29.0',
      value: (context, tokens) => Math.max(tokens, flashAttnSpecialPage(context, null) ?? tokens),
      rule: 'FA-15',
    },
  ],
  attnTypes: always(ALL_ATTN_TYPES, 'FA-18'),
  sinks: [
    { since: '0.11.1', value: sinkVersion(3), rule: 'FA-9' },
    { since: '0.20.0', value: sinkVersion(3, 4), rule: 'FA-9' },
  ],
  mmPrefix: [{ since: '0.24.0', value: (_query, context) => isFlashAttnSupported(4, context), rule: 'FA-12' }],
  perHeadQuantScales: [
    {
      since: '0.17.0',
      value: (_query, context) => (resolveFlashAttnVersion(context).version ?? 0) >= 3,
      rule: 'FA-17',
    },
  ],
  capability: always((_query, context) => atLeast(context, 8, 0), 'FA-8'),
  slidingWindow: always(YES, 'FA-19'),
  rswa: always(YES, 'FA-19'),
  nonCausal: always(YES, 'FA-19'),
  batchInvariant: always(YES, 'FA-19'),
  dcp: always(YES, 'VAL-19'),
  combination: always(flashAttnCombination),
};

/** FLASH_ATTN with a value head size of its own; the class fixes it at 128 until a model sets another. */
export const FLASH_ATTN_DIFFKV: BackendRow = {
  ...FLASH_ATTN,
  id: 'FLASH_ATTN_DIFFKV',
  since: '0.14.0',
  file: 'v1/attention/backends/flash_attn_diffkv.py',
  blockSizes: [
    { since: '0.14.0', value: hybridBlockSizes, rule: 'FA-14' },
    { since: '0.25.0', value: () => [multipleOf(16)], rule: 'FA-14' },
    { since: '0.29.0', value: (context) => flashAttnBlockSizes(context, 128), rule: 'DK-1' },
  ],
  preferredBlockSize: [
    {
      since: '0.29.0',
      value: (context, tokens) => Math.max(tokens, flashAttnSpecialPage(context, 128) ?? tokens),
      rule: 'DK-1',
    },
  ],
};
