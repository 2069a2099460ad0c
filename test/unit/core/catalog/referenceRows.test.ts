/** One row per rule of the catalog: what the release before it, and the release that has it, answer. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { resolveFlashAttnVersion, type FlashAttnArgs } from '../../../../extension/core/catalog/flashAttnVersion';
import type { SelectorQuery } from '../../../../extension/core/catalog/query';
import type { Release } from '../../../../extension/core/catalog/releases';
import { judge, selectBackend } from '../../../../extension/core/catalog/select';
import {
  C100,
  C103,
  C110,
  C120,
  C121,
  C70,
  C75,
  C80,
  C90,
  context,
  MLA_MODEL,
  MODEL,
  QUERY,
  type Capability,
  type Change,
} from './selectorFixtures';

const MLA = { useMla: true, headSize: 576 } as const;
const SPARSE = { ...MLA, useSparse: true } as const;

type Row = readonly [
  id: string,
  backend: string,
  release: Release,
  on: Capability,
  query: Partial<SelectorQuery>,
  /** vLLM's reasons, joined by ` · `; empty = accepted. */
  reasons: string,
  change?: Change,
];

const HEAD = 'head_size not supported';
const KV = 'kv_cache_dtype not supported';
const BLOCK = 'block_size not supported';
const CC = 'compute capability not supported';
const MM = 'partial multimodal token full attention not supported';
const SINKS = 'attention sinks not supported';
const FP8 = 'FP8 KV cache requires FA3 on SM90 or FA4 on SM100';
const FP8B = 'FP8 KV cache requires FA3 on SM90, FA4 with head_size=512 on SM90, or FA4 on SM100';
const PREFIX_FA4 =
  'mm_prefix (PrefixLM bidirectional attention) requires FlashAttention v4, which does not resolve for this head_size';

const ROWS: readonly Row[] = [
  ['VAL-01', 'FLASHINFER', '0.33.0', C80, { headSize: 96 }, HEAD],
  ['VAL-02', 'FLASH_ATTN', '0.33.0', C80, { dtype: 'float32' }, 'dtype not supported'],
  ['VAL-03', 'FLEX_ATTENTION', '0.33.0', C80, { kvCacheDtype: 'fp8' }, KV],
  ['VAL-03 float16 is a name since 0.18.0', 'FLEX_ATTENTION', '0.17.1', C80, { kvCacheDtype: 'float16' }, KV],
  ['VAL-03 float16 is a name since 0.18.0', 'FLEX_ATTENTION', '0.18.0', C80, { kvCacheDtype: 'float16' }, ''],
  ['VAL-03 bfloat16 is a name since 0.15.0', 'FLEX_ATTENTION', '0.14.1', C80, { kvCacheDtype: 'bfloat16' }, KV],
  ['VAL-04', 'FLASHINFER', '0.18.0', C80, { blockSize: 8 }, BLOCK],
  ['VAL-05 before 0.13.0', 'FLASHINFER', '0.12.0', C80, { useMmPrefix: true }, ''],
  ['VAL-05', 'FLASHINFER', '0.13.0', C80, { useMmPrefix: true }, MM],
  ['VAL-06', 'TRITON_ATTN', '0.33.0', C80, { useMla: true }, 'MLA not supported'],
  ['VAL-06', 'TRITON_MLA', '0.33.0', C80, {}, 'non-MLA not supported'],
  ['VAL-07a', 'FLEX_ATTENTION', '0.17.1', C80, { hasSink: true }, 'sink setting not supported'],
  ['VAL-07b', 'FLEX_ATTENTION', '0.18.0', C80, { hasSink: true }, SINKS],
  ['VAL-08', 'TRITON_MLA', '0.33.0', C80, SPARSE, 'sparse not supported'],
  ['VAL-08', 'FLASHMLA_SPARSE', '0.33.0', C90, MLA, 'non-sparse not supported'],
  ['VAL-09 before 0.17.0', 'TRITON_ATTN', '0.16.0', C80, { usePerHeadQuantScales: true }, ''],
  ['VAL-09', 'TRITON_ATTN', '0.17.0', C80, { usePerHeadQuantScales: true }, 'per-head quant scales not supported'],
  ['VAL-10', 'FLASH_ATTN', '0.33.0', C75, {}, CC],
  ['VAL-11', 'FLASHINFER', '0.33.0', C80, { attnType: 'encoder_only' }, 'attention type encoder_only not supported'],
  ['VAL-12 before 0.26.0', 'CUTLASS_MLA', '0.25.1', C100, { ...MLA, hasSlidingWindow: true }, ''],
  ['VAL-12', 'CUTLASS_MLA', '0.26.0', C100, { ...MLA, hasSlidingWindow: true }, 'sliding window not supported'],
  ['VAL-13 before 0.30.0', 'FLASHINFER', '0.29.0', C80, { useRswa: true }, ''],
  ['VAL-13', 'FLASHINFER', '0.30.0', C80, { useRswa: true }, 'R-SWA not supported'],
  ['VAL-14 before 0.20.0', 'FLASHINFER', '0.19.1', C80, { useNonCausal: true }, ''],
  ['VAL-14', 'FLASHINFER', '0.20.0', C80, { useNonCausal: true }, 'non-causal attention not supported'],
  [
    'VAL-15',
    'TRITON_MLA',
    '0.29.0',
    C80,
    { ...MLA, useNonCausal: true, useDcp: true },
    'non-causal MLA attention with DCP not supported',
  ],
  ['VAL-15 before 0.29.0', 'TRITON_MLA', '0.28.0', C80, { ...MLA, useNonCausal: true, useDcp: true }, ''],
  [
    'VAL-16',
    'FLASHINFER',
    '0.20.0',
    C80,
    { useBatchInvariant: true },
    'batch invariance not supported',
    { batchInvariant: true },
  ],
  ['VAL-17 every backend on CUDA takes a connector', 'FLASHINFER', '0.23.0', C80, { useKvConnector: true }, ''],
  ['VAL-18', 'FLASH_ATTN', '0.26.0', C80, { usePcp: true }, 'PCP not supported'],
  ['VAL-18 before 0.26.0', 'FLASH_ATTN', '0.25.1', C80, { usePcp: true }, ''],
  ['VAL-19', 'TRITON_ATTN', '0.30.0', C80, { useDcp: true }, 'DCP not supported'],
  ['VAL-19 before 0.30.0', 'TRITON_ATTN', '0.29.0', C80, { useDcp: true }, ''],
  [
    'VAL-20',
    'FLASHINFER',
    '0.28.0',
    C100,
    { useAdaptiveVerification: true },
    'device-cpu query lens mismatch not supported, this is needed for adaptive verification',
  ],
  ['FA-1', 'FLASH_ATTN', '0.11.2', C80, { headSize: 80 }, HEAD],
  ['FA-2', 'FLASH_ATTN', '0.12.0', C80, { headSize: 80 }, ''],
  ['FA-2', 'FLASH_ATTN', '0.19.1', C90, { headSize: 512 }, HEAD],
  ['FA-3', 'FLASH_ATTN', '0.20.0', C90, { headSize: 512 }, ''],
  ['FA-3 needs FA4 on the device', 'FLASH_ATTN', '0.33.0', C80, { headSize: 512 }, HEAD],
  ['FA-3 ends at 512', 'FLASH_ATTN', '0.33.0', C90, { headSize: 520 }, HEAD],
  ['FA-4', 'FLASH_ATTN', '0.33.0', C90, { dtype: 'float16' }, ''],
  ['FA-5', 'FLASH_ATTN', '0.19.1', C90, { kvCacheDtype: 'fp8_e5m2' }, ''],
  ['FA-5', 'FLASH_ATTN', '0.19.1', C80, { kvCacheDtype: 'fp8' }, KV],
  ['FA-5b', 'FLASH_ATTN', '0.20.0', C90, { kvCacheDtype: 'int8_per_token_head' }, ''],
  ['FA-5c', 'FLASH_ATTN', '0.22.0', C90, { kvCacheDtype: 'int8_per_token_head' }, KV],
  ['FA-5c', 'FLASH_ATTN', '0.22.0', C90, { kvCacheDtype: 'fp8_e5m2' }, KV],
  ['FA-5c', 'FLASH_ATTN', '0.26.0', C100, { kvCacheDtype: 'fp8' }, KV],
  ['FA-5d', 'FLASH_ATTN', '0.27.0', C100, { kvCacheDtype: 'fp8' }, ''],
  ['FA-6', 'FLASH_ATTN', '0.30.0', C90, { kvCacheDtype: 'fp8', headSize: 512 }, FP8],
  ['FA-6b', 'FLASH_ATTN', '0.31.0', C90, { kvCacheDtype: 'fp8', headSize: 512 }, ''],
  ['FA-6b', 'FLASH_ATTN', '0.31.0', C90, { kvCacheDtype: 'fp8', headSize: 320 }, FP8B],
  [
    'FA-7',
    'FLASH_ATTN',
    '0.31.0',
    C90,
    { kvCacheDtype: 'fp8', useMmPrefix: true },
    'SM90 FP8 KV with mm_prefix requires Triton',
  ],
  ['FA-8', 'FLASH_ATTN', '0.33.0', C70, {}, CC],
  ['FA-9', 'FLASH_ATTN', '0.19.1', C100, { hasSink: true }, SINKS],
  ['FA-9', 'FLASH_ATTN', '0.20.0', C100, { hasSink: true }, ''],
  [
    'FA-9 a config value of 2 removes sinks',
    'FLASH_ATTN',
    '0.33.0',
    C90,
    { hasSink: true },
    SINKS,
    { flashAttnVersion: 2 },
  ],
  [
    'FA-10',
    'FLASH_ATTN',
    '0.33.0',
    C80,
    { hasSink: true },
    `${SINKS} · sink not supported on compute capability < 9.0`,
  ],
  ['FA-11', 'FLASH_ATTN', '0.23.0', C90, { useMmPrefix: true }, MM],
  ['FA-12', 'FLASH_ATTN', '0.24.0', C80, { useMmPrefix: true }, `${MM} · ${PREFIX_FA4}`],
  ['FA-13', 'FLASH_ATTN', '0.24.0', C90, { useMmPrefix: true }, PREFIX_FA4],
  ['FA-13 with version 4', 'FLASH_ATTN', '0.24.0', C90, { useMmPrefix: true }, '', { flashAttnVersion: 4 }],
  ['FA-14', 'FLASH_ATTN', '0.11.2', C80, { blockSize: 128 }, BLOCK],
  ['FA-14', 'FLASH_ATTN', '0.12.0', C80, { blockSize: 128 }, ''],
  ['FA-14', 'FLASH_ATTN', '0.18.0', C80, { blockSize: 24 }, BLOCK],
  [
    'FA-15',
    'FLASH_ATTN',
    '0.29.0',
    C100,
    { headSize: 256, blockSize: 64 },
    BLOCK,
    { model: { ...MODEL, headSize: 256 } },
  ],
  [
    'FA-15',
    'FLASH_ATTN',
    '0.29.0',
    C100,
    { headSize: 256, blockSize: 128 },
    '',
    { model: { ...MODEL, headSize: 256 } },
  ],
  [
    'FA-16',
    'FLASH_ATTN',
    '0.31.0',
    C90,
    { headSize: 512, kvCacheDtype: 'fp8', blockSize: 32 },
    BLOCK,
    { cacheDtype: 'fp8', model: { ...MODEL, headSize: 512 } },
  ],
  ['FA-17', 'FLASH_ATTN', '0.33.0', C80, { usePerHeadQuantScales: true }, 'per-head quant scales not supported'],
  ['FA-17', 'FLASH_ATTN', '0.33.0', C90, { usePerHeadQuantScales: true }, ''],
  ['FA-18', 'FLASH_ATTN', '0.33.0', C80, { attnType: 'encoder_decoder' }, ''],
  ['FA-19', 'FLASH_ATTN', '0.30.0', C80, { hasSlidingWindow: true, useRswa: true, useNonCausal: true }, ''],
  ['FI-1', 'FLASHINFER', '0.21.0', C90, { headSize: 512 }, HEAD],
  ['FI-2', 'FLASHINFER', '0.22.0', C90, { headSize: 512 }, ''],
  ['FI-3', 'FLASHINFER', '0.23.0', C75, {}, ''],
  ['FI-4', 'FLASHINFER', '0.24.0', C75, {}, CC],
  ['FI-4 takes 12.1', 'FLASHINFER', '0.24.0', C121, {}, ''],
  ['FI-5', 'FLASHINFER', '0.20.2', C100, { kvCacheDtype: 'nvfp4' }, KV],
  ['FI-5', 'FLASHINFER', '0.21.0', C80, { kvCacheDtype: 'nvfp4' }, ''],
  ['FI-6', 'FLASHINFER', '0.25.0', C80, { kvCacheDtype: 'nvfp4' }, KV],
  ['FI-6', 'FLASHINFER', '0.25.0', C103, { kvCacheDtype: 'nvfp4' }, ''],
  ['FI-6', 'FLASHINFER', '0.32.0', C80, { kvCacheDtype: 'nvfp4' }, ''],
  ['FI-6 not 4over6 through FA2', 'FLASHINFER', '0.32.0', C80, { kvCacheDtype: 'nvfp4_4over6' }, KV],
  [
    'FI-7',
    'FLASHINFER',
    '0.32.0',
    C80,
    { kvCacheDtype: 'nvfp4', headSize: 64 },
    'fa2 prefill misreads an NVFP4 KV cache at head_size 64',
  ],
  [
    'FI-8',
    'FLASHINFER',
    '0.32.0',
    C90,
    { kvCacheDtype: 'nvfp4', hasSink: true },
    'the sink prefill wrapper cannot read an NVFP4 KV cache',
  ],
  ['FI-9', 'FLASHINFER', '0.12.0', C103, { hasSink: true }, 'sink setting not supported'],
  ['FI-9', 'FLASHINFER', '0.13.0', C103, { hasSink: true }, ''],
  [
    'FI-9 off by use_trtllm_attention',
    'FLASHINFER',
    '0.33.0',
    C100,
    { hasSink: true },
    SINKS,
    { useTrtllmAttention: false },
  ],
  [
    'FI-9 without cubins',
    'FLASHINFER',
    '0.33.0',
    C100,
    { hasSink: true },
    SINKS,
    { libraries: { flashinferCubins: false } },
  ],
  ['FI-10', 'FLASHINFER', '0.27.1', C120, { hasSink: true }, SINKS],
  ['FI-10', 'FLASHINFER', '0.28.0', C120, { hasSink: true }, ''],
  ['FI-10', 'FLASHINFER', '0.29.0', C90, { hasSink: true }, SINKS],
  ['FI-10', 'FLASHINFER', '0.30.0', C90, { hasSink: true }, ''],
  ['FI-11', 'FLASHINFER', '0.33.0', C80, { blockSize: 128 }, ''],
  ['FI-11', 'FLASHINFER', '0.33.0', C80, { blockSize: 24 }, BLOCK],
  [
    'FI-12',
    'FLASHINFER',
    '0.33.0',
    C100,
    { useMmPrefix: true, attnType: 'encoder' },
    `${MM} · attention type encoder not supported`,
  ],
  ['FI-13', 'FLASHINFER', '0.24.0', C80, { useNonCausal: true }, ''],
  [
    'FI-14',
    'FLASHINFER',
    '0.33.0',
    C80,
    { useBatchInvariant: true },
    'batch invariance not supported',
    { batchInvariant: true },
  ],
  ['FI-15', 'FLASHINFER', '0.29.0', C100, { useAdaptiveVerification: true }, ''],
  ['TR-1', 'TRITON_ATTN', '0.33.0', C70, { headSize: 24 }, HEAD],
  ['TR-1', 'TRITON_ATTN', '0.33.0', C70, { dtype: 'float32', hasSink: true }, ''],
  ['TR-2', 'TRITON_ATTN', '0.33.0', C75, { useMmPrefix: true }, ''],
  ['TR-3', 'TRITON_ATTN', '0.13.0', C80, { attnType: 'encoder' }, 'attention type encoder not supported'],
  ['TR-3', 'TRITON_ATTN', '0.14.0', C80, { attnType: 'encoder' }, ''],
  ['TR-4', 'TRITON_ATTN', '0.24.0', C80, { kvCacheDtype: 'int4_per_token_head' }, KV],
  ['TR-4', 'TRITON_ATTN', '0.25.0', C80, { kvCacheDtype: 'int4_per_token_head' }, ''],
  ['TR-5', 'TRITON_ATTN', '0.33.0', C80, { blockSize: 8 }, BLOCK],
  ['TR-5', 'TRITON_ATTN', '0.23.0', C80, { useNonCausal: true }, 'non-causal attention not supported'],
  ['TR-5', 'TRITON_ATTN', '0.30.0', C80, { useNonCausal: true, hasSlidingWindow: true, useRswa: true }, ''],
  ['FX-1', 'FLEX_ATTENTION', '0.33.0', C70, { headSize: 8, dtype: 'float32' }, ''],
  ['FX-2', 'FLEX_ATTENTION', '0.33.0', C80, { attnType: 'encoder' }, 'attention type encoder not supported'],
  ['FX-3', 'FLEX_ATTENTION', '0.20.2', C80, { blockSize: 8 }, ''],
  ['FX-3', 'FLEX_ATTENTION', '0.21.0', C80, { blockSize: 8 }, BLOCK],
  ['TQ-1', 'TURBOQUANT', '0.20.0', C80, {}, KV],
  ['TQ-1', 'TURBOQUANT', '0.20.0', C80, { kvCacheDtype: 'turboquant_k8v4' }, ''],
  ['HPC-1', 'HPC_ATTN', '0.27.1', C120, {}, ''],
  ['HPC-1', 'HPC_ATTN', '0.28.0', C120, {}, CC],
  [
    'B12-1',
    'B12X',
    '0.30.0',
    C90,
    { headSize: 512 },
    `${HEAD} · ${CC} · b12x paged attention is not supported on the current device`,
  ],
  [
    'B12-2',
    'B12X',
    '0.30.0',
    C120,
    { dtype: 'float16' },
    'dtype not supported · b12x currently requires bfloat16 queries',
  ],
  [
    'B12-3',
    'B12X',
    '0.30.0',
    C120,
    {},
    'Install the b12x backend with `pip install vllm[b12x]`',
    { libraries: { b12x: false } },
  ],
  ['DK-1', 'FLASH_ATTN_DIFFKV', '0.14.0', C90, { headSize: 192 }, ''],
  ['DK-2', 'TRITON_ATTN_DIFFKV', '0.31.0', C80, { kvCacheDtype: 'fp8' }, KV],
  ['DK-2', 'TRITON_ATTN_DIFFKV', '0.32.0', C80, { kvCacheDtype: 'fp8' }, ''],
  ['CO-1', 'TRITON_FLASHINFER', '0.30.0', C100, { headSize: 128, useMmPrefix: true }, HEAD],
  ['CO-1', 'TRITON_FLASHINFER', '0.30.0', C100, { headSize: 256, useMmPrefix: true, blockSize: 64 }, ''],
  ['CO-1', 'TRITON_FLASHINFER', '0.30.0', C90, { headSize: 256, useMmPrefix: true }, CC],
  ['CO-2', 'TRITON_FLASH_ATTN', '0.31.0', C90, { headSize: 256, useMmPrefix: true }, ''],
  ['CO-2', 'TRITON_FLASH_ATTN', '0.31.0', C100, { headSize: 256, useMmPrefix: true }, CC],
  [
    'CO-3',
    'TRITON_FLASH_ATTN',
    '0.30.0',
    C90,
    { headSize: 256, useMmPrefix: true },
    'FLASH_ATTN: causal route requires FlashAttention v4',
  ],
  [
    'CO-4',
    'TRITON_FLASH_ATTN',
    '0.31.0',
    C90,
    { headSize: 256, useMmPrefix: true },
    'FLASH_ATTN: causal route requires FlashAttention v3 or v4',
    { flashAttnVersion: 2 },
  ],
  [
    'CO-5',
    'TRITON_FLASHINFER',
    '0.30.0',
    C100,
    { headSize: 256, useMmPrefix: true, useDcp: true },
    'DCP not supported',
  ],
  ['ML-1', 'FLASH_ATTN_MLA', '0.33.0', C80, MLA, `${CC} · FlashAttention MLA not supported on this device`],
  ['ML-1', 'FLASH_ATTN_MLA', '0.33.0', C90, { ...MLA, kvCacheDtype: 'fp8' }, KV],
  ['ML-2', 'FLASHMLA', '0.33.0', C100, MLA, 'FlashMLA Dense is only supported on Hopper devices.'],
  ['ML-2', 'FLASHMLA', '0.33.0', C90, { ...MLA, kvCacheDtype: 'fp8' }, ''],
  ['ML-3', 'CUTLASS_MLA', '0.33.0', C100, { ...MLA, blockSize: 64 }, BLOCK],
  ['ML-4', 'FLASHINFER_MLA', '0.14.1', C100, MLA, '', { model: MLA_MODEL({ qkNopeHeadDim: 96 }) }],
  [
    'ML-4',
    'FLASHINFER_MLA',
    '0.15.0',
    C100,
    MLA,
    'FlashInfer MLA kernel requires qk_nope_head_dim == 128, but got 64',
    { model: MLA_MODEL({ qkNopeHeadDim: 64 }) },
  ],
  [
    'ML-4',
    'FLASHINFER_MLA',
    '0.18.0',
    C100,
    MLA,
    'FlashInfer MLA kernel requires qk_nope_head_dim in [64, 128], but got 192',
    { model: MLA_MODEL({ qkNopeHeadDim: 192 }) },
  ],
  ['ML-4', 'FLASHINFER_MLA', '0.19.0', C100, MLA, '', { model: MLA_MODEL({ qkNopeHeadDim: 192 }) }],
  ['ML-5', 'TOKENSPEED_MLA', '0.21.0', C100, MLA, KV],
  [
    'ML-5',
    'TOKENSPEED_MLA',
    '0.21.0',
    C100,
    { ...MLA, kvCacheDtype: 'fp8' },
    'tokenspeed_mla requires DeepSeek R1 MLA dimensions (qk_nope_head_dim=128, qk_rope_head_dim=64, v_head_dim=128), got (192, 64, 256)',
    { model: MLA_MODEL({ qkNopeHeadDim: 192, vHeadDim: 256 }) },
  ],
  [
    'ML-5',
    'TOKENSPEED_MLA',
    '0.21.0',
    C100,
    { ...MLA, kvCacheDtype: 'fp8' },
    'tokenspeed_mla package is not installed. Install it with: `uv pip install tokenspeed-mla`',
    { libraries: { tokenspeedMla: false } },
  ],
  ['ML-6', 'TRITON_MLA', '0.17.1', C80, { ...MLA, kvCacheDtype: 'fp8' }, KV],
  ['ML-6', 'TRITON_MLA', '0.18.0', C80, { ...MLA, kvCacheDtype: 'fp8' }, ''],
  ['ML-7', 'FLASHMLA_SPARSE', '0.20.0', C90, { ...SPARSE, headSize: 512 }, ''],
  ['ML-7', 'FLASHMLA_SPARSE', '0.22.0', C90, { ...SPARSE, headSize: 512 }, HEAD],
  [
    'ML-7b',
    'FLASHMLA_SPARSE',
    '0.31.0',
    C90,
    { ...SPARSE, headSize: 512 },
    'FLASHMLA_SPARSE supports head_size 512 only for rope-free (NoPE) models',
    { model: MLA_MODEL() },
  ],
  [
    'ML-7b',
    'FLASHMLA_SPARSE',
    '0.32.0',
    C100,
    { ...SPARSE, headSize: 512 },
    'FLASHMLA_SPARSE supports head_size 512 only with bf16 or fp8_ds_mla kv-cache on SM90 (NoPE), got kv_cache_dtype=auto, capability=DeviceCapability(major=10, minor=0)',
  ],
  [
    'ML-7c',
    'FLASHMLA_SPARSE',
    '0.30.0',
    C90,
    { ...SPARSE, kvCacheDtype: 'nvfp4_ds_mla' },
    'FLASHMLA_SPARSE only supports the nvfp4_ds_mla kv-cache dtype on SM100 (Blackwell)',
  ],
  [
    'ML-8',
    'FLASHINFER_MLA_SPARSE',
    '0.18.1',
    C100,
    SPARSE,
    'FlashInfer MLA Sparse kernel requires qk_nope_head_dim == 128, but got 192',
    { model: MLA_MODEL({ qkNopeHeadDim: 192 }) },
  ],
  ['ML-8', 'FLASHINFER_MLA_SPARSE', '0.19.0', C100, SPARSE, '', { model: MLA_MODEL({ qkNopeHeadDim: 192 }) }],
  [
    'ML-8b',
    'FLASHINFER_MLA_SPARSE',
    '0.24.0',
    C100,
    { ...SPARSE, kvCacheDtype: 'fp8_ds_mla' },
    `${KV} · FLASHINFER_MLA_SPARSE SM10 does not support fp8_ds_mla kv-cache dtype`,
  ],
  [
    'ML-8c',
    'FLASHINFER_MLA_SPARSE',
    '0.30.0',
    C100,
    SPARSE,
    'FlashInfer native no-rope MLA requires qk_nope_head_dim=256 and kv_lora_rank=512, but got qk_nope_head_dim=128, kv_lora_rank=512',
    { model: MLA_MODEL({ qkRopeHeadDim: 0 }) },
  ],
  [
    'ML-9',
    'FLASHINFER_MLA_SPARSE_SM120',
    '0.24.0',
    C120,
    SPARSE,
    'FLASHINFER_MLA_SPARSE_SM120 requires index_topk=2048; got 1024',
    { model: MLA_MODEL({ indexTopk: 1024 }) },
  ],
  [
    'ML-10',
    'FLASH_ATTN_MLA_SPARSE',
    '0.25.0',
    C90,
    SPARSE,
    'FlashAttention MLA Sparse does not support DCP for now',
    { model: MLA_MODEL(), decodeContextParallelSize: 2 },
  ],
  [
    'ML-11',
    'FLASHINFER_MLA_SPARSE_SM90',
    '0.30.0',
    C90,
    SPARSE,
    'FLASHINFER_MLA_SPARSE_SM90 requires qk_rope_head_dim in (0, 64)',
    { model: MLA_MODEL({ qkRopeHeadDim: 96 }) },
  ],
  [
    'ML-12',
    'FLASH_ATTN_MLA_SPARSE_FA4',
    '0.33.0',
    C100,
    SPARSE,
    'FA4 sparse MLA requires index_topk % 128 == 0, got 96',
    { model: MLA_MODEL({ indexTopk: 96 }) },
  ],
  ['ML-12', 'FLASH_ATTN_MLA_SPARSE_FA4', '0.33.0', C100, SPARSE, '', { model: MLA_MODEL() }],
];

describe('rows of the reference: reasons of validate_configuration', () => {
  ROWS.forEach(([id, backend, release, on, query, reasons, change], index) => {
    test(`${id}: ${backend} ${release} on ${on.join('.')} (${index})`, () => {
      const candidate = judge(backend, { ...QUERY, ...query }, context(release, on, change));
      assert.equal(candidate.reasons.map((reason) => reason.text).join(' · '), reasons);
    });
  });
});

const VERSIONS: readonly (readonly [string, Release, Capability, FlashAttnArgs, number | null, Change?])[] = [
  ['V1', '0.16.0', C100, {}, 2],
  ['V1', '0.17.0', C100, {}, 4],
  ['V1 11.x is not 10.x', '0.33.0', C110, {}, 2],
  ['V1', '0.33.0', C90, {}, 3],
  ['V2', '0.33.0', C90, {}, 2, { flashAttnVersion: 2 }],
  ['V3', '0.16.0', C100, {}, 2, { flashAttnVersion: 3 }],
  ['V3', '0.17.0', C110, {}, 4, { flashAttnVersion: 3 }],
  ['V3', '0.33.0', C120, {}, 2, { flashAttnVersion: 3 }],
  ['V4', '0.16.0', C90, { requiresAlibi: true }, 2],
  ['V4', '0.33.0', C90, { requiresAlibi: true }, 2, { flashAttnVersion: 4 }],
  ['V5a', '0.20.0', C90, { hasSinks: true, headSize: 192, headSizeV: 128 }, 4],
  ['V5b', '0.20.2', C90, { headSize: 512 }, 3],
  ['V5b', '0.21.0', C90, { headSize: 512 }, 4],
  ['V5c', '0.24.0', C90, {}, 4, { model: { ...MODEL, isDiffusion: true } }],
  ['V6', '0.17.1', C90, {}, 4, { flashAttnVersion: 4, batchInvariant: true }],
  ['V6', '0.18.0', C90, {}, 2, { flashAttnVersion: 4, batchInvariant: true }],
  ['V7', '0.27.0', C100, { headSize: 256 }, 4],
  ['V7', '0.27.0', C100, { headSize: 256, requiresLocalAttention: true }, 2],
  ['V7', '0.28.0', C100, { headSize: 256 }, 2],
  ['V7', '0.29.0', C100, { headSize: 256 }, 2],
  ['V7', '0.29.0', C100, { headSize: 256, supportsFa4Hd256: true }, 4],
  ['V7 sinks', '0.29.0', C100, { headSize: 256, supportsFa4Hd256: true, hasSinks: true }, 2],
  ['V7 page', '0.29.0', C100, { headSize: 256, supportsFa4Hd256: true, kvCacheBlockSize: 64 }, 2],
  ['V8', '0.17.1', C100, { headSize: 192, headSizeV: 128 }, 2],
  ['V8', '0.18.0', C100, { headSize: 192, headSizeV: 192 }, 4],
  ['V8', '0.27.0', C100, { headSize: 192, headSizeV: 192 }, 2],
  ['V8', '0.28.0', C100, { headSize: 192, headSizeV: 128 }, 4],
  ['V9', '0.33.0', C80, {}, null, { flashAttnVersion: 3 }],
  ['V9', '0.33.0', C120, {}, null, { flashAttnVersion: 4 }],
  ['V9', '0.33.0', C75, {}, null],
];

describe('rows of the reference: the FlashAttention version', () => {
  VERSIONS.forEach(([id, release, on, args, expected, change], index) => {
    test(`${id}: ${release} on ${on.join('.')} gives ${String(expected)} (${index})`, () => {
      assert.equal(resolveFlashAttnVersion(context(release, on, change), args).version, expected);
    });
  });
});

describe('rows of the reference: errors and warnings of the selection', () => {
  test('ERR-1: an explicit backend is never replaced', () => {
    const selection = selectBackend(
      { kind: 'backend', name: 'FLASHMLA' },
      { ...QUERY, ...MLA },
      context('0.33.0', C100),
    );
    assert.equal(
      selection.error,
      "Selected backend AttentionBackendEnum.FLASHMLA is not valid for this configuration. Reason: ['FlashMLA Dense is only supported on Hopper devices.']",
    );
  });
  test('ERR-2 and ERR-3: an import problem', () => {
    const error = (release: Release): string =>
      selectBackend(
        { kind: 'backend', name: 'FLASHINFER' },
        QUERY,
        context(release, C90, { libraries: { flashinfer: false } }),
      ).error ?? '';
    assert.match(error('0.28.0'), /Reason: \['ImportError'\]$/);
    assert.match(error('0.29.0'), /Reason: \[ModuleNotFoundError: No module named 'flashinfer'\]$/);
  });
  test('ERR-4: nothing is valid', () => {
    const query = { ...QUERY, ...MLA, useSparse: true };
    const error = selectBackend({ kind: 'automatic' }, query, context('0.33.0', C80)).error ?? '';
    assert.match(error, /^No valid attention backend found for cuda with AttentionSelectorConfig\(head_size=576, /);
    assert.match(error, /TRITON_MLA: \[sparse not supported\]/);
  });
  test('LOG-5: only a block size that alone kept a backend out is blamed', () => {
    const model = { ...MODEL, headSize: 256 };
    const precluded = (headSize: number, blockSize: number): readonly string[] =>
      selectBackend({ kind: 'automatic' }, { ...QUERY, headSize, blockSize }, context('0.33.0', C90, { model }))
        .precludedByBlockSize;
    assert.deepEqual(precluded(128, 64), []);
    assert.deepEqual(precluded(128, 8), []);
    const mla = { ...QUERY, ...MLA, blockSize: 48 };
    assert.deepEqual(selectBackend({ kind: 'automatic' }, mla, context('0.33.0', C100)).precludedByBlockSize, [
      'FLASHINFER_MLA',
      'CUTLASS_MLA',
    ]);
  });
});
