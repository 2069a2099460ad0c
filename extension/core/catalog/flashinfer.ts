/**
 * FLASHINFER: `v1/attention/backends/flashinfer.py`, and the trtllm/XQA conditions of `utils/flashinfer.py`.
 */
import {
  exactly,
  headIn,
  kvIn,
  OK,
  refuse,
  YES,
  NO,
  type AdvertisedBlockSize,
  type BackendRow,
  type CombinationOutcome,
  type Rule,
} from './backendRow';
import { atLeast, isCapability, isFamily, type SelectorContext, type SelectorQuery } from './query';
import { always, within } from './releases';
import { canUseTrtllmAttention, supportsTrtllmAttention } from './trtllm';

const notAbove121 = (context: SelectorContext): boolean =>
  context.capability[0] < 12 || (context.capability[0] === 12 && context.capability[1] <= 1);

const plainKv = kvIn('auto', 'float16', 'bfloat16', 'fp8', 'fp8_e4m3', 'fp8_e5m2');

/** NVFP4 KV read by the FA2 wrappers (0.32.0 on); the slot-mapping writer lacks the 4over6 scale search. */
const nvfp4ThroughFa2 = (context: SelectorContext): boolean =>
  within(context.release, '0.32.0') && [8, 9, 12].includes(context.capability[0]);

const bothTrtllmPhases = (context: SelectorContext): boolean =>
  isFamily(context, 10) && supportsTrtllmAttention(context, true) && supportsTrtllmAttention(context, false);

/** KV dtype rule from 0.25.0: NVFP4 only where a kernel reads it. */
function kvWithNvfp4(...nvfp4: readonly string[]): Rule {
  return (query, context) => {
    const dtype = query.kvCacheDtype;
    if (dtype === null || !(within(context.release, '0.28.0') ? dtype.startsWith('nvfp4') : dtype === 'nvfp4')) {
      return plainKv(query, context) || (dtype !== null && nvfp4.includes(dtype));
    }
    return nvfp4ThroughFa2(context) ? dtype === 'nvfp4' : bothTrtllmPhases(context);
  };
}

/** Sinks run only on trtllm-gen (10.x) or XQA decode (12.x from 0.28.0, 9.0 from 0.30.0). */
const sinks: Rule = (_query, context) => {
  const { release } = context;
  if (context.useTrtllmAttention === false) {
    return false;
  }
  if (!within(release, '0.25.0')) {
    return supportsTrtllmAttention(context, false);
  }
  if (
    (within(release, '0.28.0') && isFamily(context, 12)) ||
    (within(release, '0.30.0') && isCapability(context, 9, 0))
  ) {
    return supportsTrtllmAttention(context, false);
  }
  return bothTrtllmPhases(context);
};

/** Pages above 64 tokens need grouped-query attention on a trtllm path (0.24.0 on). */
function blockSizes(context: SelectorContext): readonly AdvertisedBlockSize[] {
  const { model } = context;
  const large =
    model !== null &&
    model.numKvHeads > 0 &&
    Math.floor(model.numAttentionHeads / model.numKvHeads) > 1 &&
    isFamily(context, 10) &&
    canUseTrtllmAttention(context, model.numAttentionHeads, model.numKvHeads, false);
  return large ? exactly(16, 32, 64, 128, 256, 512, 1024) : exactly(16, 32, 64);
}

const adaptiveVerification: Rule = (_query, context) => {
  if (!isFamily(context, 10)) {
    return false;
  }
  const { model } = context;
  return (
    model === null ||
    (context.decodeContextParallelSize === 1 &&
      canUseTrtllmAttention(context, model.numAttentionHeads, model.numKvHeads, false))
  );
};

/** `supports_combination`; also asked by the composite that contains FLASHINFER. */
export function flashInferCombination(query: SelectorQuery, context: SelectorContext): CombinationOutcome {
  if (!nvfp4ThroughFa2(context) || query.kvCacheDtype?.startsWith('nvfp4') !== true) {
    return OK;
  }
  if (query.headSize === 64) {
    return refuse('fa2 prefill misreads an NVFP4 KV cache at head_size 64', 'FI-7');
  }
  return query.hasSink ? refuse('the sink prefill wrapper cannot read an NVFP4 KV cache', 'FI-8') : OK;
}

/** FLASHINFER. */
export const FLASHINFER: BackendRow = {
  id: 'FLASHINFER',
  since: '0.11.1',
  file: 'v1/attention/backends/flashinfer.py',
  imports: always('flashinfer'),
  headSize: [
    { since: '0.11.1', value: headIn(64, 128, 256), rule: 'FI-1' },
    { since: '0.22.0', value: headIn(64, 128, 256, 512), rule: 'FI-2' },
  ],
  kvCacheDtype: [
    { since: '0.11.1', value: kvIn('auto', 'fp8', 'fp8_e4m3', 'fp8_e5m2'), rule: 'FI-5' },
    { since: '0.15.0', value: kvIn('auto', 'bfloat16', 'fp8', 'fp8_e4m3', 'fp8_e5m2'), rule: 'FI-5' },
    { since: '0.18.0', value: plainKv, rule: 'FI-5' },
    {
      since: '0.21.0',
      value: kvIn('auto', 'float16', 'bfloat16', 'fp8', 'fp8_e4m3', 'fp8_e5m2', 'nvfp4'),
      rule: 'FI-5',
    },
    { since: '0.25.0', value: kvWithNvfp4('nvfp4'), rule: 'FI-6' },
    { since: '0.28.0', value: kvWithNvfp4('nvfp4', 'nvfp4_4over6'), rule: 'FI-6' },
  ],
  blockSizes: [
    { since: '0.11.1', value: () => exactly(16, 32, 64), rule: 'FI-11' },
    { since: '0.24.0', value: blockSizes, rule: 'FI-11' },
  ],
  sinks: always(sinks, 'FI-9'),
  capability: [
    { since: '0.11.1', value: (_query, context) => atLeast(context, 7, 5) && notAbove121(context), rule: 'FI-3' },
    { since: '0.24.0', value: (_query, context) => atLeast(context, 8, 0) && notAbove121(context), rule: 'FI-4' },
  ],
  slidingWindow: always(YES),
  nonCausal: [{ since: '0.24.0', value: YES, rule: 'FI-13' }],
  dcp: always(YES, 'VAL-19'),
  adaptiveVerification: [
    { since: '0.28.0', value: NO, rule: 'FI-15' },
    { since: '0.29.0', value: adaptiveVerification, rule: 'FI-15' },
  ],
  combination: always(flashInferCombination),
};
