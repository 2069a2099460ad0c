/**
 * Backends composed of two: TRITON_FLASHINFER and TRITON_FLASH_ATTN (`v1/attention/backends/composite.py`,
 * `triton_flashinfer.py`, `triton_flash_attn.py`).
 *
 * A batch goes to the Triton child only when a query touches an image span, otherwise to the causal child, so both
 * children must take the layer; only the Triton child must support image spans.
 */
import {
  exactly,
  multipleOf,
  NO,
  OK,
  refuse,
  YES,
  type AdvertisedBlockSize,
  type BackendRow,
  type CombinationOutcome,
  type CombinationRule,
  type Rule,
} from './backendRow';
import { FLASH_ATTN, flashAttnBlockSizes, flashAttnCombination } from './flashAttn';
import { resolveFlashAttnVersion } from './flashAttnVersion';
import { FLASHINFER, flashInferCombination } from './flashinfer';
import type { SelectorContext, SelectorQuery } from './query';
import { always, valueAt, within, type Steps } from './releases';
import { TRITON_ATTN } from './triton';

/** Head sizes the composites are made for. */
const COMPOSITE_HEADS = [256, 512];

const childRule =
  (steps: Steps<Rule> | undefined): Rule =>
  (query, context) =>
    steps === undefined || (valueAt(steps, context.release)?.(query, context) ?? true);

/** Every child's rule must hold. */
const both =
  (key: 'headSize' | 'kvCacheDtype' | 'capability', ...children: readonly BackendRow[]): Rule =>
  (query, context) =>
    children.every((child) => childRule(child[key])(query, context));

/** Asks the causal child without the image spans and prefixes its reason with its name. */
function causalChild(name: string, rule: CombinationRule): CombinationRule {
  return (query, context) => {
    const outcome = rule({ ...query, useMmPrefix: false }, context);
    return outcome.kind === 'reason' ? { ...outcome, text: `${name}: ${outcome.text}` } : outcome;
  };
}

/** What both composites have in common. */
const COMPOSITE = {
  since: '0.30.0',
  dtypes: always(['float16', 'bfloat16'] as const),
  mmPrefix: always(YES, 'CO-5'),
  slidingWindow: always(YES),
  adaptiveVerification: always(NO, 'CO-5'),
} as const;

/** TRITON_FLASHINFER: 10.x, pages of 64 tokens. */
export const TRITON_FLASHINFER: BackendRow = {
  ...COMPOSITE,
  id: 'TRITON_FLASHINFER',
  file: 'v1/attention/backends/triton_flashinfer.py',
  imports: always('flashinfer'),
  headSize: always(
    (query, context) =>
      COMPOSITE_HEADS.includes(query.headSize) && both('headSize', TRITON_ATTN, FLASHINFER)(query, context),
    'CO-1',
  ),
  kvCacheDtype: always(both('kvCacheDtype', TRITON_ATTN, FLASHINFER), 'CO-1'),
  blockSizes: always(() => exactly(64), 'CO-1'),
  capability: always(
    (query, context) => context.capability[0] === 10 && both('capability', TRITON_ATTN, FLASHINFER)(query, context),
    'CO-1',
  ),
  combination: always(causalChild('FLASHINFER', flashInferCombination)),
};

function flashAttnChildCombination(query: SelectorQuery, context: SelectorContext): CombinationOutcome {
  const outcome = flashAttnCombination(query, context);
  if (outcome.kind !== 'ok') {
    return outcome;
  }
  const { version } = resolveFlashAttnVersion(context, {
    headSize: query.headSize,
    hasSinks: query.hasSink,
    kvCacheBlockSize: query.blockSize,
    supportsFa4Hd256: true,
  });
  if (!within(context.release, '0.31.0')) {
    return version === 4 ? OK : refuse('causal route requires FlashAttention v4', 'CO-3');
  }
  return version === 3 || version === 4 ? OK : refuse('causal route requires FlashAttention v3 or v4', 'CO-4');
}

/** Sizes both children take: FLASH_ATTN's, raised to a multiple of Triton's 16 tokens. */
function flashAttnComposedSizes(context: SelectorContext): readonly AdvertisedBlockSize[] {
  return flashAttnBlockSizes(context, null).flatMap((size) =>
    size.kind === 'multipleOf'
      ? [multipleOf(Math.max(16, size.tokens))]
      : size.tokens % 16 === 0
        ? exactly(size.tokens)
        : [],
  );
}

/** TRITON_FLASH_ATTN: 9.x. */
export const TRITON_FLASH_ATTN: BackendRow = {
  ...COMPOSITE,
  id: 'TRITON_FLASH_ATTN',
  file: 'v1/attention/backends/triton_flash_attn.py',
  headSize: always(
    (query, context) =>
      COMPOSITE_HEADS.includes(query.headSize) && both('headSize', TRITON_ATTN, FLASH_ATTN)(query, context),
    'CO-2',
  ),
  kvCacheDtype: always(both('kvCacheDtype', TRITON_ATTN, FLASH_ATTN), 'CO-2'),
  blockSizes: always(flashAttnComposedSizes, 'CO-2'),
  capability: always(
    (query, context) => context.capability[0] === 9 && both('capability', TRITON_ATTN, FLASH_ATTN)(query, context),
    'CO-2',
  ),
  rswa: always(YES),
  combination: always(causalChild('FLASH_ATTN', flashAttnChildCombination)),
};
