/**
 * The order in which vLLM tries backends: `_get_backend_priorities` of `platforms/cuda.py`.
 */
import { isQuantizedKvCache } from './kvCacheDtype';
import type { SelectorQuery } from './query';
import { within, type Release } from './releases';

/** Sparse MLA backends on 10.x, by KV dtype and heads per rank. */
function sparseOn10(release: Release, query: SelectorQuery): readonly string[] {
  if (!within(release, '0.17.0')) {
    return ['FLASHMLA_SPARSE'];
  }
  const kv = query.kvCacheDtype;
  const quantized =
    kv !== null &&
    (within(release, '0.20.0') ? isQuantizedKvCache(release, kv) : within(release, '0.19.0') && kv.startsWith('fp8'));
  if (quantized) {
    return ['FLASHINFER_MLA_SPARSE', 'FLASHMLA_SPARSE'];
  }
  if (query.numHeads === null || query.numHeads > 16) {
    return ['FLASHMLA_SPARSE', 'FLASHINFER_MLA_SPARSE'];
  }
  return within(release, '0.33.0')
    ? ['FLASH_ATTN_MLA_SPARSE_FA4', 'FLASHINFER_MLA_SPARSE', 'FLASHMLA_SPARSE']
    : ['FLASHINFER_MLA_SPARSE', 'FLASHMLA_SPARSE'];
}

function mlaOn10(release: Release, query: SelectorQuery): readonly string[] {
  const front = !within(release, '0.15.0')
    ? ['CUTLASS_MLA', 'FLASHINFER_MLA']
    : within(release, '0.21.0')
      ? ['FLASHINFER_MLA', 'TOKENSPEED_MLA', 'CUTLASS_MLA']
      : ['FLASHINFER_MLA', 'CUTLASS_MLA'];
  return [...front, 'FLASH_ATTN_MLA', 'FLASHMLA', 'TRITON_MLA', ...sparseOn10(release, query)];
}

function mlaElsewhere(release: Release, query: SelectorQuery): readonly string[] {
  const dense = ['FLASH_ATTN_MLA', 'FLASHMLA', 'FLASHINFER_MLA', 'TRITON_MLA'];
  if (!within(release, '0.25.0')) {
    return [...dense, 'FLASHMLA_SPARSE'];
  }
  const sparse = ['FLASH_ATTN_MLA_SPARSE', 'FLASHMLA_SPARSE'];
  if (!within(release, '0.30.0')) {
    return [...dense, ...sparse];
  }
  return query.headSize === 512
    ? [...dense, 'FLASHINFER_MLA_SPARSE_SM90', ...sparse]
    : [...dense, ...sparse, 'FLASHINFER_MLA_SPARSE_SM90'];
}

/** Backends of a release in the order it tries them for this question on this capability. */
export function backendPriorities(
  release: Release,
  capability: readonly [number, number],
  query: SelectorQuery,
): readonly string[] {
  const major = capability[0];
  if (query.useMla) {
    if (major === 10) {
      return mlaOn10(release, query);
    }
    return major === 12 && within(release, '0.24.0')
      ? ['TRITON_MLA', 'FLASHINFER_MLA_SPARSE_SM120']
      : mlaElsewhere(release, query);
  }
  const tail = ['TRITON_ATTN', 'FLEX_ATTENTION', ...(within(release, '0.20.0') ? ['TURBOQUANT'] : [])];
  const composite = within(release, '0.30.0') && query.useMmPrefix;
  const nonCausal = within(release, '0.26.0') && query.useNonCausal;
  if (major === 10 && !nonCausal) {
    return [...(composite ? ['TRITON_FLASHINFER'] : []), 'FLASHINFER', 'FLASH_ATTN', ...tail];
  }
  return [...(composite && major === 9 ? ['TRITON_FLASH_ATTN'] : []), 'FLASH_ATTN', 'FLASHINFER', ...tail];
}

/** Where the order is written. */
export function prioritiesSource(release: Release): string {
  return `vllm ${release} platforms/cuda.py`;
}
