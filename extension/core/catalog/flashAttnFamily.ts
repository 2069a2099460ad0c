/** Which backends run FlashAttention: the ones whose wrapper the generation resolver and the what-if flag concern. */

/** TRITON_FLASH_ATTN is a composite whose causal child is FLASH_ATTN. */
const FLASH_ATTN_FAMILY = new Set(['FLASH_ATTN', 'FLASH_ATTN_DIFFKV', 'TRITON_FLASH_ATTN']);

/** Whether a backend's layers get their FlashAttention generation from the resolver. */
export function isFlashAttnFamily(backend: string | null): boolean {
  return backend !== null && FLASH_ATTN_FAMILY.has(backend);
}
