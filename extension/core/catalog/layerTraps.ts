/**
 * What a backend's validator lets through and its constructor, metadata builder or kernel refuses, outside the
 * FLASH_ATTN family. Read in `Impl.__init__` and the builders of the releases, none was run.
 */
import { isCapability, type SelectorContext, type SelectorQuery } from './query';
import { within, type Release } from './releases';
import { supportsTrtllmAttention } from './trtllm';
import { no, unknownAnswer, type LayerFacts, type WorksAnswer } from './worksAnswer';

type Trap = (query: SelectorQuery, context: SelectorContext, layer: LayerFacts, where: string) => WorksAnswer | null;

const kvOf = (query: SelectorQuery): string => query.kvCacheDtype ?? 'auto';

/** FP8 prefill runs in trtllm only; any other KV name but `auto` leaves prefill to FlashInfer's own kernels. */
function trtllmPrefill(query: SelectorQuery, context: SelectorContext): boolean {
  const { useTrtllmAttention, decodeContextParallelSize } = context;
  return (
    supportsTrtllmAttention(context, true) &&
    useTrtllmAttention !== false &&
    decodeContextParallelSize === 1 &&
    (useTrtllmAttention === true || query.hasSink || !['bfloat16', 'float16'].includes(kvOf(query)))
  );
}

const flashInfer: Trap = (query, context, layer, where) => {
  const { release } = context;
  if (query.hasSlidingWindow && within(release, '0.25.0', '0.29.0') && isCapability(context, 9, 0)) {
    return no(
      'TRAP-4',
      'FlashInfer backend on SM90 currently crashes with sliding-window attention layers. Use the default attention backend.',
      where,
    );
  }
  // The builder compares the layers of its KV cache group; groups hold one window unless the hybrid KV cache manager is off.
  if (layer.mixedWindows && query.useKvConnector && !trtllmPrefill(query, context)) {
    return unknownAnswer(
      'a KV connector can turn the hybrid KV cache manager off; all layers then share a group and vLLM stops with "Window left is not the same for all layers. One potential fix is to set disable_sliding_window=True"',
      where,
    );
  }
  return flashInferHead512(query, context);
};

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

const flex: Trap = (_query, _context, layer, where) => {
  if (layer.alibi) {
    return no('TRAP-10', 'FlexAttention does not support alibi slopes yet.', where);
  }
  if (layer.softcap) {
    return no('TRAP-10', 'FlexAttention does not support logits soft cap yet.', where);
  }
  return layer.kvSharing ? no('TRAP-10', 'FlexAttention does not support kv sharing yet.', where) : null;
};

/** `TritonAttentionImpl` checks FP8 and bfloat16 caches from 0.24.0, `TritonMLAImpl` from 0.26.0. */
function tritonKvCache(checkedSince: Release, name: string): Trap {
  return (query, context, _layer, where) => {
    const [major, minor] = context.capability;
    const kv = kvOf(query);
    const capability = `compute capability ${major}.${minor}`;
    const old = (text: string): WorksAnswer =>
      unknownAnswer(
        `${text}; vLLM refuses it from ${checkedSince} on, what ${context.release} does was not run`,
        where,
      );
    if (kv.startsWith('fp8') && (major < 8 || (major === 8 && minor < 9))) {
      return within(context.release, checkedSince)
        ? no(
            'TR-FP8',
            `FP8 KV cache is not supported by the ${name} backend on ${capability}; native FP8 (fp8e4nv) requires SM89+`,
            where,
          )
        : old(`Triton has no native FP8 (fp8e4nv) on ${capability}`);
    }
    if (kv === 'bfloat16' && major < 8) {
      return within(context.release, checkedSince)
        ? no('TR-BF16', `bfloat16 KV cache is not supported on ${capability}; bfloat16 requires SM80+`, where)
        : old(`${capability} has no bfloat16`);
    }
    return null;
  };
}

const triton: Trap = (query, context, layer, where) =>
  isCapability(context, 7, 5) && query.headSize >= 512
    ? no('TRAP-11', 'Triton needs 98304 bytes of shared memory at head size 512; this GPU has 65536', where)
    : tritonKvCache('0.24.0', 'Triton attention')(query, context, layer, where);

const hpc: Trap = (query, _context, layer, where) => {
  if (layer.alibi) {
    return no('HPC-INIT', 'HPC attention does not support ALiBi', where);
  }
  if (layer.softcap) {
    return no('HPC-INIT', 'HPC attention does not support logits_soft_cap', where);
  }
  if (query.numHeads === null || layer.kvHeads === null) {
    return unknownAnswer('HPC attention takes 4 or 8 query heads per KV head; the heads are not known', where);
  }
  const group = Math.floor(query.numHeads / layer.kvHeads);
  return group === 4 || group === 8
    ? null
    : no('HPC-INIT', `HPC attention only supports head_per_group in {4, 8}, got ${group}`, where);
};

const b12x: Trap = (query, context, layer, where) => {
  if (layer.alibi) {
    return no('B12-INIT', 'b12x does not support ALiBi.', where);
  }
  if (layer.softcap) {
    return no('B12-INIT', 'b12x does not support logits soft cap.', where);
  }
  return context.decodeContextParallelSize * context.prefillContextParallelSize > 1
    ? no('B12-INIT', 'b12x does not yet support decode/prefill context parallelism.', where)
    : null;
};

const TRAPS: Readonly<Record<string, Trap>> = {
  FLASHINFER: flashInfer,
  TRITON_FLASHINFER: flashInfer,
  FLEX_ATTENTION: flex,
  TRITON_ATTN: triton,
  TRITON_ATTN_DIFFKV: tritonKvCache('0.24.0', 'Triton attention'),
  TRITON_MLA: tritonKvCache('0.26.0', 'Triton MLA'),
  HPC_ATTN: hpc,
  B12X: b12x,
};

/** The trap a backend holds for a layer; `null` = none known. `where` is the backend's file. */
export function layerTrap(
  name: string,
  query: SelectorQuery,
  context: SelectorContext,
  layer: LayerFacts,
  where: string,
): WorksAnswer | null {
  return TRAPS[name]?.(query, context, layer, where) ?? null;
}
