/**
 * The second layer: what a backend's library declares it can run, whatever the validator says. All rows are read off
 * the releases, none was run (rules TRAP-1 … TRAP-13).
 */
import type { Answer, VerdictReason } from '../verdict';
import { fa4Beta, NEWEST_FA4_BETA, systemFa4Refusal, vendoredFa4Refusal } from './fa4Library';
import type { FlashAttnGeneration } from './flashAttnVersion';
import { isQuantizedKvCache } from './kvCacheDtype';
import { isCapability, type SelectorContext, type SelectorQuery } from './query';
import { backendRow, backendSource } from './registry';
import { within } from './releases';
import { supportsTrtllmAttention } from './trtllm';
import { validate } from './validator';

/** Facts of the layer that the validator does not look at but the kernels do. */
export interface LayerFacts {
  readonly alibi: boolean;
  readonly softcap: boolean;
  readonly headDimV: number;
  /** Windows of the model's layers differ from one another (some full, some sliding). */
  readonly mixedWindows: boolean;
}

/** Answer to "does the library take it". */
export interface WorksAnswer {
  readonly answer: Answer;
  readonly reasons: readonly VerdictReason[];
}

/** Checks of the validator that state what the kernels take of a layer, as opposed to what vLLM combines. */
const KERNEL_CHECKS = new Set([
  'VAL-01',
  'VAL-02',
  'VAL-03',
  'VAL-04',
  'VAL-05',
  'VAL-06',
  'VAL-07',
  'VAL-08',
  'VAL-10',
  'VAL-11',
  'VAL-12',
  'VAL-13',
  'VAL-21',
  'IMPORT',
]);

const no = (code: string, text: string, where: string): WorksAnswer => ({
  answer: 'no',
  reasons: [{ code, text, source: { where, ruleId: code } }],
});

const unknownAnswer = (text: string, where: string | null): WorksAnswer => ({
  answer: 'unknown',
  reasons: [{ code: 'UNKNOWN', text, source: where === null ? null : { where } }],
});

const FA4_NAME = 'flash-attn-4 4.0.0b';

/** pip's flash-attn-4 for this layer, at its inspected version or, not inspected, at the newest known one. */
export function systemFa4Works(
  query: SelectorQuery,
  context: SelectorContext,
  layer: LayerFacts,
  pageSize: number | null,
): WorksAnswer {
  const installed = context.libraries.systemFa4;
  if (installed === false) {
    return {
      answer: 'no',
      reasons: [{ code: 'NOT-INSTALLED', text: 'flash-attn-4 is not installed', source: null }],
    };
  }
  const beta = installed === null ? NEWEST_FA4_BETA : fa4Beta(installed);
  if (beta === null || beta > NEWEST_FA4_BETA) {
    return unknownAnswer(`flash-attn-4 ${String(installed)} is not in the catalog; measure it instead`, null);
  }
  const where = `${FA4_NAME}${beta} flash_attn/cute/interface.py`;
  if (query.useMla) {
    return context.capability[0] === 9
      ? no('FA4-LIB', `${FA4_NAME}${beta} takes q_v, which an MLA layer needs, on 10.x and 11.x only`, where)
      : unknownAnswer(`what ${FA4_NAME}${beta} takes of an MLA layer on this GPU is not in the catalog`, where);
  }
  if (query.dtype === 'float32') {
    return no('FA4-LIB', 'FA4 takes float16 and bfloat16, not float32', where);
  }
  const refusal = systemFa4Refusal(beta, {
    capability: context.capability,
    headDim: query.headSize,
    headDimV: layer.headDimV,
    pageSize,
  });
  if (refusal !== null) {
    return refusal.ruleId === 'UNKNOWN' ? unknownAnswer(refusal.text, where) : no(refusal.ruleId, refusal.text, where);
  }
  const assumed = installed === null ? ' (not inspected; limits of the newest known beta)' : '';
  return yesReason('FA4-LIB', `within the limits of ${FA4_NAME}${beta}${assumed}`, where);
}

/** Where the what-if flag's behaviour is written. */
const FLAG_SOURCE = 'vllm-project/vllm#38823';

/**
 * What the what-if flag makes of a FlashAttention layer; `null` = the flag is off or does not touch it.
 * `version` is the generation the layer resolves to.
 */
export function flagWorks(
  version: FlashAttnGeneration | null,
  query: SelectorQuery,
  context: SelectorContext,
  layer: LayerFacts,
  pageSize: number | null,
): WorksAnswer | null {
  if (context.useSystemFlashAttn !== true || query.useMla) {
    return null;
  }
  if (version === 3) {
    return no(
      'FLAG-FA3',
      'with use_system_flash_attn the wrapper raises NotImplementedError for FlashAttention 3',
      FLAG_SOURCE,
    );
  }
  // Without the library the import fails and the vendored FA4 runs, unasked.
  return version === 4 && context.libraries.systemFa4 !== false
    ? systemFa4Works(query, context, layer, pageSize)
    : null;
}

/** What one FlashAttention generation inside vLLM takes. `pageSize` `null` = contiguous KV. */
export function flashAttnWorks(
  version: FlashAttnGeneration | null,
  query: SelectorQuery,
  context: SelectorContext,
  layer: LayerFacts,
  pageSize: number | null,
): WorksAnswer {
  const { release, capability } = context;
  const where = `vllm ${release} v1/attention/backends/flash_attn.py`;
  const kv = query.kvCacheDtype ?? 'auto';
  const quantized = isQuantizedKvCache(release, kv) && kv !== 'bfloat16' && kv !== 'float16';
  if (query.useMla) {
    return no('VAL-06', 'MLA not supported', where);
  }
  if (version === null) {
    return no(
      'TRAP-13',
      'no FlashAttention version resolves; the first forward asserts "FlashAttention version not detected."',
      where,
    );
  }
  if (query.dtype === 'float32') {
    return no('FA-4', `FlashAttention ${version} takes float16 and bfloat16, not float32`, where);
  }
  if (query.headSize % 8 !== 0) {
    return no(
      'FA-2',
      `FlashAttention ${version} takes head sizes that are a multiple of 8, not ${query.headSize}`,
      where,
    );
  }
  if (capability[0] < 8) {
    return no('FA-8', 'FA2 is only supported on devices with compute capability >= 8', where);
  }
  if (query.useMmPrefix && !(version === 4 && within(release, '0.24.0'))) {
    return no('FA-12', 'partial multimodal token full attention needs FlashAttention 4, from vLLM 0.24.0 on', where);
  }
  if (version === 2) {
    if (query.headSize > 256) {
      return no(
        capability[0] === 9 ? 'TRAP-2' : 'TRAP-1',
        `FlashAttention 2 takes head sizes up to 256, not ${query.headSize}`,
        where,
      );
    }
    if (query.hasSink) {
      return no('FA-9', 'Sinks are only supported in FlashAttention 3', where);
    }
    if (quantized) {
      return no('FA-6', 'FlashAttention 2 has no FP8 KV cache', where);
    }
    return pageSize !== null && pageSize % 16 !== 0
      ? no('FA-14', `FlashAttention 2 takes pages of a multiple of 16 tokens, not ${pageSize}`, where)
      : yesReason('FA-LIMITS', 'within the limits of FlashAttention 2: head size a multiple of 8 up to 256', where);
  }
  if (kv === 'fp8_e5m2') {
    return no('TRAP-8', 'Unrecognized FP8 dtype: fp8_e5m2', where);
  }
  if (quantized && kv !== 'fp8' && kv !== 'fp8_e4m3') {
    return no('TRAP-7', `Unrecognized FP8 dtype: ${kv}`, where);
  }
  if (version === 3) {
    if (query.headSize > 256) {
      return no('FA-3', `FlashAttention 3 takes head sizes up to 256, not ${query.headSize}`, where);
    }
    if (capability[0] !== 9) {
      return no('FA-3', `vLLM's FlashAttention 3 is built for 9.x, not ${capability.join('.')}`, where);
    }
    return pageSize !== null && pageSize % 16 !== 0
      ? no('FA-14', `vLLM gives FlashAttention 3 pages of a multiple of 16 tokens, not ${pageSize}`, where)
      : yesReason(
          'FA-LIMITS',
          'within the limits of FlashAttention 3: head size a multiple of 8 up to 256, 9.x',
          where,
        );
  }
  if (query.hasSink && !within(release, '0.20.0')) {
    return no('FA-9', 'Sinks are only supported in FlashAttention 3', where);
  }
  if (quantized && capability[0] === 9 && !(within(release, '0.31.0') && query.headSize === 512)) {
    return no('TRAP-9', 'FA4 on 9.x has no FP8 KV cache at this head size', where);
  }
  if (quantized && capability[0] === 9 && pageSize !== null && pageSize % 64 !== 0) {
    return no('FA-16', `FA4 on 9.x reads an FP8 KV cache in pages of 64 tokens, not ${pageSize}`, where);
  }
  const refusal = vendoredFa4Refusal(release, {
    capability,
    headDim: query.headSize,
    headDimV: layer.headDimV,
    pageSize,
  });
  if (refusal !== null) {
    const cute = `vllm ${release} vllm_flash_attn/cute/interface.py`;
    return no(refusal.ruleId, refusal.text, cute);
  }
  return yesReason('FA-LIMITS', 'within the limits of the FA4 that vLLM ships', where);
}

function yesReason(code: string, text: string, where: string): WorksAnswer {
  return { answer: 'yes', reasons: [{ code, text, source: { where, ruleId: code } }] };
}

function flashInferTrap(query: SelectorQuery, context: SelectorContext, layer: LayerFacts): WorksAnswer | null {
  const { release } = context;
  const where = `vllm ${release} v1/attention/backends/flashinfer.py`;
  if (query.hasSlidingWindow && within(release, '0.25.0', '0.29.0') && isCapability(context, 9, 0)) {
    return no(
      'TRAP-4',
      'FlashInfer backend on SM90 currently crashes with sliding-window attention layers. Use the default attention backend.',
      where,
    );
  }
  if (layer.mixedWindows && !(supportsTrtllmAttention(context, true) && context.useTrtllmAttention !== false)) {
    return no(
      'TRAP-12',
      'Window left is not the same for all layers. One potential fix is to set disable_sliding_window=True',
      where,
    );
  }
  return null;
}

/** FlashInfer's own limit, as far as known: vLLM lists head size 512 from 0.22.0, outside trtllm it was seen to fail. */
function flashInferHead512(query: SelectorQuery, context: SelectorContext): WorksAnswer | null {
  if (query.headSize !== 512 || supportsTrtllmAttention(context, true)) {
    return null;
  }
  const seen = 'FlashInfer 0.6.12 refuses head size 512 on an H200 ("Invalid configuration")';
  const where = 'measured on one H200';
  return within(context.release, '0.23.0', '0.24.0') && context.capability[0] === 9
    ? no('FI-512', seen, where)
    : unknownAnswer(`${seen}; the FlashInfer of vLLM ${context.release} on this GPU was not checked`, where);
}

function flexTrap(context: SelectorContext, layer: LayerFacts): WorksAnswer | null {
  const where = `vllm ${context.release} v1/attention/backends/flex_attention.py`;
  if (layer.alibi) {
    return no('TRAP-10', 'FlexAttention does not support alibi slopes yet.', where);
  }
  return layer.softcap ? no('TRAP-10', 'FlexAttention does not support logits soft cap yet.', where) : null;
}

/** What any backend but the FLASH_ATTN family declares: its own kernel limits, then the known traps. */
export function backendWorks(
  name: string,
  query: SelectorQuery,
  context: SelectorContext,
  layer: LayerFacts,
): WorksAnswer {
  const { release } = context;
  const row = backendRow(release, name);
  if (row === undefined) {
    return {
      answer: 'unknown',
      reasons: [{ code: 'NOT-CATALOGUED', text: `${name} is not in the catalog for vLLM ${release}`, source: null }],
    };
  }
  const validation = validate(row, query, context);
  const limits = validation.reasons.filter((reason) => KERNEL_CHECKS.has(reason.code));
  if (limits.length > 0) {
    return { answer: 'no', reasons: limits };
  }
  const where = backendSource(release, row);
  if (name === 'FLASH_ATTN_MLA' && context.useSystemFlashAttn === true) {
    return no(
      'FLAG-MLA',
      'with use_system_flash_attn MLA decode passes the flag with fa_version 3: NotImplementedError at the first decode',
      FLAG_SOURCE,
    );
  }
  const trap =
    name === 'FLASHINFER' || name === 'TRITON_FLASHINFER'
      ? (flashInferTrap(query, context, layer) ?? flashInferHead512(query, context))
      : name === 'FLEX_ATTENTION'
        ? flexTrap(context, layer)
        : name === 'TRITON_ATTN' && isCapability(context, 7, 5) && query.headSize >= 512
          ? no('TRAP-11', 'Triton needs 98304 bytes of shared memory at head size 512; this GPU has 65536', where)
          : null;
  if (trap !== null) {
    return trap;
  }
  return validation.unknown === null
    ? yesReason('LIMITS', `within what ${name} declares for the layer, dtypes, pages and capability`, where)
    : { answer: 'unknown', reasons: [{ code: 'UNKNOWN', text: validation.unknown, source: { where } }] };
}
