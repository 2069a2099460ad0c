/**
 * When FlashInfer's trtllm-gen / XQA kernels are usable: `utils/flashinfer.py`.
 */
import { isCapability, isFamily, type SelectorContext } from './query';
import { within } from './releases';

/** `supports_trtllm_attention(is_prefill)`; one answer for both phases up to 0.24.0. */
export function supportsTrtllmAttention(context: SelectorContext, isPrefill: boolean): boolean {
  const { release, libraries } = context;
  if (context.batchInvariant || !libraries.flashinferCubins) {
    return false;
  }
  const xqa = within(release, '0.25.0') && isCapability(context, 9, 0);
  const xqa12 = within(release, '0.28.0') && isFamily(context, 12);
  if (xqa || xqa12) {
    return !isPrefill;
  }
  return within(release, '0.13.0') ? isFamily(context, 10) : isCapability(context, 10, 0);
}

/** `can_use_trtllm_attention`. Heads are per rank. */
export function canUseTrtllmAttention(
  context: SelectorContext,
  numQHeads: number,
  numKvHeads: number,
  isPrefill: boolean,
): boolean {
  return (
    context.useTrtllmAttention !== false && supportsTrtllmAttention(context, isPrefill) && numQHeads % numKvHeads === 0
  );
}

/** `has_flashinfer()`: installed, and its kernels are either downloaded or can be compiled. */
export function hasFlashInfer(context: SelectorContext): boolean {
  const { flashinfer, flashinferCubins, flashinferCompiler } = context.libraries;
  return flashinfer && (flashinferCubins || flashinferCompiler);
}
