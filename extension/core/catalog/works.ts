/**
 * The second layer: what a backend's library declares it can run, whatever the validator says. All rows are read off
 * the releases, none was run (rules TRAP-1 … TRAP-13).
 */
import { fa4Beta, NEWEST_FA4_BETA, systemFa4Refusal, vendoredFa4Refusal, type Fa4Refusal } from './fa4Library';
import { usesFa4Hd256Kernel, type FlashAttnGeneration } from './flashAttnVersion';
import { isQuantizedKvCache } from './kvCacheDtype';
import { layerTrap } from './layerTraps';
import type { SelectorContext, SelectorQuery } from './query';
import { backendRow, backendSource } from './registry';
import { within } from './releases';
import { validate } from './validator';
import { no, unknownAnswer, yesReason, type LayerFacts, type WorksAnswer } from './worksAnswer';

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
  if (layer.alibi) {
    return no('FA4-LIB', 'Alibi is not supported in FA4', where);
  }
  if (query.hasSink && query.dtype === 'float16' && beta <= 25) {
    return no('FA4-LIB', 'learnable_sink must be bfloat16', where);
  }
  const hd256 = usesFa4Hd256Kernel(context, query.headSize, layer.headDimV);
  if (hd256 && beta >= 11 && beta < 34 && (query.hasSink || layer.softcap)) {
    const what = query.hasSink ? 'learnable_sink' : 'softcap';
    return no('FA4-LIB', `SM100 forward with head_dim=256 does not support ${what}`, where);
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

/** FA4 and an FP8 KV cache: in the kernel on 10.x, dequantized at head size 512 on 9.x, else refused. */
function fa4Fp8Refusal(query: SelectorQuery, context: SelectorContext, pageSize: number | null): Fa4Refusal {
  const { release, capability } = context;
  if (capability[0] === 9) {
    if (!(within(release, '0.31.0') && query.headSize === 512)) {
      return { ruleId: 'TRAP-9', text: 'FA4 on 9.x has no FP8 KV cache at this head size' };
    }
    // The kernel wants one KV tile per page; the validator lets any multiple of it through.
    return pageSize !== null && pageSize !== 64
      ? { ruleId: 'FA-16', text: `FA4 on 9.x reads an FP8 KV cache in pages of 64 tokens, not ${pageSize}` }
      : null;
  }
  if (capability[0] !== 10) {
    return { ruleId: 'FA-6', text: 'FP8 is only supported on SM100 (compute capability 10.x) for FA4 CuTe.' };
  }
  if (!within(release, '0.27.0')) {
    return { ruleId: 'FA-6', text: `vLLM ${release} gives FA4 no FP8 KV cache` };
  }
  return usesFa4Hd256Kernel(context, query.headSize)
    ? { ruleId: 'V7', text: "FA4's 256-wide kernel takes no quantized KV cache" }
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
  const wrapper = `vllm ${release} vllm_flash_attn/flash_attn_interface.py`;
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
  if (layer.alibi) {
    return no('FA-ALIBI', `Alibi is not supported in FA${version}`, wrapper);
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
  const hd256 = usesFa4Hd256Kernel(context, query.headSize, layer.headDimV);
  if (query.hasSink && !within(release, '0.20.0')) {
    return no('FA-9', 'Sinks are only supported in FlashAttention 3', where);
  }
  const cute = `vllm ${release} vllm_flash_attn/cute/interface.py`;
  if (query.hasSink && query.dtype === 'float16' && !within(release, '0.30.0')) {
    return no('FA-SINK-DTYPE', 'learnable_sink must be bfloat16', cute);
  }
  if (quantized) {
    const fp8Refusal = fa4Fp8Refusal(query, context, pageSize);
    if (fp8Refusal !== null) {
      return no(fp8Refusal.ruleId, fp8Refusal.text, where);
    }
  }
  if (hd256 && within(release, '0.29.0') && (query.hasSink || layer.softcap)) {
    const what = query.hasSink ? 'learnable_sink' : 'softcap';
    return no('V7', `SM100 forward with head_dim=256 does not support ${what}`, cute);
  }
  const refusal = vendoredFa4Refusal(release, {
    capability,
    headDim: query.headSize,
    headDimV: layer.headDimV,
    pageSize,
  });
  if (refusal !== null) {
    return no(refusal.ruleId, refusal.text, cute);
  }
  return yesReason('FA-LIMITS', 'within the limits of the FA4 that vLLM ships', where);
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
  const trap = layerTrap(name, query, context, layer, where);
  if (trap !== null) {
    return trap;
  }
  return validation.unknown === null
    ? yesReason('LIMITS', `within what ${name} declares for the layer, dtypes, pages and capability`, where)
    : { answer: 'unknown', reasons: [{ code: 'UNKNOWN', text: validation.unknown, source: { where } }] };
}
