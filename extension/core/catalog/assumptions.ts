/**
 * Libraries a rule depends on when nobody inspected them: what the release's Linux wheel ships and requires.
 * Every gap that was filled is said in a plain sentence. Source: wheel contents and metadata of each release.
 */
import type { LibraryAvailability } from '../request';
import type { Libraries } from './query';
import { within, type Release } from './releases';

/** Libraries as the rules need them, and what had to be assumed. */
export interface AssumedLibraries {
  readonly libraries: Libraries;
  readonly assumptions: readonly string[];
}

/** Whether a release requires `flashinfer-cubin`. */
export function requiresFlashInferCubin(release: Release): boolean {
  return within(release, '0.19.0', '0.25.1');
}

/** Fills what was not inspected with what the release ships. */
export function assumeLibraries(release: Release, has: LibraryAvailability): AssumedLibraries {
  const shipped: string[] = [];
  const assumptions: string[] = [];
  const fromWheel = (value: boolean | null, name: string, ships: boolean): boolean => {
    if (value === null && ships) {
      shipped.push(name);
    }
    return value ?? ships;
  };
  const fa2 = fromWheel(has.fa2, 'FlashAttention 2', true);
  const fa3 = fromWheel(has.fa3, 'FlashAttention 3', true);
  const fa4 = fromWheel(has.fa4, 'FlashAttention 4', within(release, '0.17.0'));
  const flashmla = fromWheel(has.flashmla, 'FlashMLA', true);
  const flashinfer = fromWheel(has.flashinfer, 'FlashInfer', true);
  const tokenspeedMla = fromWheel(has.tokenspeedMla, 'tokenspeed-mla', within(release, '0.21.0'));
  if (shipped.length > 0) {
    assumptions.push(
      `Not inspected, so taken from what the vLLM ${release} wheel ships or requires: ${shipped.join(', ')}.`,
    );
  }
  if (has.flashinferCubins === null) {
    assumptions.push(
      requiresFlashInferCubin(release)
        ? `FlashInfer's trtllm kernels were not looked for; vLLM ${release} requires flashinfer-cubin, so they are taken as present.`
        : `FlashInfer's trtllm kernels were not looked for; vLLM ${release} does not require flashinfer-cubin, so they are taken as downloadable. An offline host has none.`,
    );
  }
  if (has.flashinferCubins === false) {
    assumptions.push(
      has.flashinferCompiler === undefined
        ? 'flashinfer-cubin is not installed; the NVIDIA artifactory is taken as unreachable, and nvcc and ninja as present.'
        : 'flashinfer-cubin is not installed; the NVIDIA artifactory is taken as unreachable.',
    );
  }
  return {
    libraries: {
      fa2,
      fa3,
      fa4,
      flashinfer,
      flashinferCubins: has.flashinferCubins ?? true,
      flashinferCompiler: has.flashinferCompiler ?? true,
      flashmla,
      tokenspeedMla,
      b12x: within(release, '0.33.0') ? flashinfer : null,
      fa4Importable: fa4,
      systemFa4: has.systemFa4,
    },
    assumptions,
  };
}
