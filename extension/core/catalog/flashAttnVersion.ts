/**
 * Which FlashAttention generation a layer gets: `get_flash_attn_version` of
 * `v1/attention/backends/fa_utils.py` (`attention/utils/fa_utils.py` up to 0.13.0) and the device checks of
 * `vllm_flash_attn/flash_attn_interface.py`.
 */
import { isQuantizedKvCache } from './kvCacheDtype';
import { isFamily, type SelectorContext } from './query';
import { within } from './releases';

/** The generations vLLM knows. */
export type FlashAttnGeneration = 2 | 3 | 4;

/** Arguments of the resolver; a release ignores those it does not have. */
export interface FlashAttnArgs {
  readonly requiresAlibi?: boolean;
  readonly headSize?: number | null;
  readonly headSizeV?: number | null;
  readonly hasSinks?: boolean;
  readonly requiresSoftcap?: boolean;
  readonly kvCacheBlockSize?: number | null;
  readonly supportsFa4Hd256?: boolean;
  readonly requiresLocalAttention?: boolean;
}

/** Outcome of the resolver. */
export interface FlashAttnResolution {
  /** `null` = vLLM logs an error and resolves none; the first forward then fails. */
  readonly version: FlashAttnGeneration | null;
  /** What the resolver prints or decides on the way, in order, in vLLM's words where it prints. */
  readonly notes: readonly string[];
}

/** Page size of the dedicated FA4 kernel for head size 256 on 10.x/11.x. */
export const FA4_HD256_PAGE_SIZE = 128;

/** Why the device or the build has no such generation; `null` = supported. */
export function flashAttnUnsupportedReason(version: FlashAttnGeneration, context: SelectorContext): string | null {
  const { libraries, release } = context;
  const [major, minor] = context.capability;
  const unavailable = within(release, '0.17.0') ? 'unavailable' : 'unavaible';
  const missing = `FA${version} is ${unavailable} due to: `;
  if (version === 2) {
    if (!libraries.fa2) {
      return missing;
    }
    return major >= 8 ? null : 'FA2 is only supported on devices with compute capability >= 8';
  }
  if (version === 3) {
    if (!libraries.fa3) {
      return missing;
    }
    if (within(release, '0.17.0')) {
      return major === 9 ? null : 'FA3 is only supported on devices with compute capability 9.x';
    }
    if (within(release, '0.12.0')) {
      return major === 9 ? null : 'FA3 is only supported on devices with compute capability 9.0';
    }
    const ada = major === 8 && (minor === 6 || minor === 9);
    return major >= 8 && major < 10 && !ada
      ? null
      : 'FA3 is only supported on devices with compute capability >= 8 excluding 8.6 and 8.9 and Blackwell archs (>=10)';
  }
  if (!libraries.fa4) {
    return missing;
  }
  if (within(release, '0.17.0')) {
    return major >= 9 && major <= 11
      ? null
      : 'FA4 is only supported on devices with compute capability 9.x, 10.x, or 11.x';
  }
  return major === 10 ? null : 'FA4 is only supported on devices with compute capability == 10';
}

/** `is_fa_version_supported`. */
export function isFlashAttnSupported(version: FlashAttnGeneration, context: SelectorContext): boolean {
  return flashAttnUnsupportedReason(version, context) === null;
}

/** Whether a number is one of vLLM's generations. */
export function isGeneration(version: number): version is FlashAttnGeneration {
  return version === 2 || version === 3 || version === 4;
}

/** Whether this head runs on FA4's dedicated 256-wide Blackwell kernel (0.29.0 on). */
export function usesFa4Hd256Kernel(
  context: SelectorContext,
  headSize: number | null,
  headSizeV: number | null = null,
): boolean {
  return (
    headSize === 256 && (headSizeV === null || headSizeV === 256) && (isFamily(context, 10) || isFamily(context, 11))
  );
}

/** Why the 256-wide Blackwell kernel cannot serve; `null` = it can (`_fa4_hd256_fallback_reason`, 0.29.0 on). */
function hd256FallbackReason(context: SelectorContext, args: FlashAttnArgs): string | null {
  const { model } = context;
  if (args.hasSinks === true) {
    return 'attention sinks';
  }
  if (args.requiresSoftcap === true || (model !== null && Boolean(model.hfText.attnLogitSoftcapping))) {
    return 'logits soft capping';
  }
  if (isQuantizedKvCache(context.release, context.cacheDtype)) {
    return `quantized KV cache dtype ${context.cacheDtype}`;
  }
  const blockSize = args.kvCacheBlockSize ?? null;
  if (blockSize !== null && blockSize % FA4_HD256_PAGE_SIZE !== 0) {
    return `a KV cache block size of ${blockSize}`;
  }
  if (model !== null) {
    if (model.isMmPrefixLm) {
      return 'mm_prefix bidirectional attention';
    }
    if (model.rswaWindow !== null) {
      return 'R-SWA';
    }
  }
  return context.decodeContextParallelSize > 1 ? 'decode context parallelism' : null;
}

/** Whether Tensor Memory leaves no room for this head on 10.x and newer (rule V8). */
function exceedsTensorMemory(context: SelectorContext, headSize: number, headSizeV: number | null): boolean {
  const { release } = context;
  if (headSize <= 128) {
    return false;
  }
  const k192v128 = headSize === 192 && headSizeV === 128;
  if (within(release, '0.29.0')) {
    return !((headSize === 256 && (headSizeV === null || headSizeV === 256)) || k192v128);
  }
  if (within(release, '0.28.0')) {
    return !k192v128;
  }
  if (within(release, '0.27.0')) {
    return !(headSize === 256 || k192v128);
  }
  return within(release, '0.18.0') ? headSize !== 192 : true;
}

/** Why FA3 on 9.x is raised to FA4 for this layer; `null` = it stays (rules V5a–V5c). */
function upgradeReason(context: SelectorContext, args: FlashAttnArgs): string | null {
  const { release } = context;
  const headSize = args.headSize ?? null;
  const headSizeV = args.headSizeV ?? null;
  if (within(release, '0.21.0') && headSize !== null && headSize > 256) {
    return `FA3 does not support head_size=${headSize} on SM90`;
  }
  if (
    within(release, '0.20.0') &&
    args.hasSinks === true &&
    headSize !== null &&
    headSizeV !== null &&
    headSize !== headSizeV
  ) {
    return 'Diff-KV with sinks';
  }
  if (within(release, '0.24.0') && context.model?.isDiffusion === true) {
    return 'Per-sequence causal (dynamic_causal) requires FA4';
  }
  return null;
}

function defaultVersion(context: SelectorContext): FlashAttnGeneration {
  if (isFamily(context, 9) && isFlashAttnSupported(3, context)) {
    return 3;
  }
  if (within(context.release, '0.17.0') && isFamily(context, 10) && isFlashAttnSupported(4, context)) {
    return 4;
  }
  return 2;
}

/** `get_flash_attn_version(**args)` of the release in `context`. */
export function resolveFlashAttnVersion(context: SelectorContext, args: FlashAttnArgs = {}): FlashAttnResolution {
  const { release } = context;
  const major = context.capability[0];
  const headSize = within(release, '0.17.0') ? (args.headSize ?? null) : null;
  const headSizeV = within(release, '0.20.0') ? (args.headSizeV ?? null) : null;
  const notes: string[] = [];
  let version: FlashAttnGeneration = defaultVersion(context);
  if (context.flashAttnVersion !== null) {
    const allowed = within(release, '0.17.0') ? [2, 3, 4] : [2, 3];
    if (!isGeneration(context.flashAttnVersion) || !allowed.includes(context.flashAttnVersion)) {
      return {
        version: null,
        notes: [`flash_attn_version ${context.flashAttnVersion} is not a version of this release`],
      };
    }
    version = context.flashAttnVersion;
    notes.push(`flash_attn_version is set to ${version}`);
  }
  if (version === 3 && (within(release, '0.17.0') ? major >= 10 : major === 10)) {
    if (within(release, '0.17.0')) {
      notes.push(
        'Cannot use FA version 3 on Blackwell platform, defaulting to FA version 4 if supported, otherwise FA2.',
      );
      version = isFlashAttnSupported(4, context) ? 4 : 2;
    } else {
      const comma = within(release, '0.14.0') ? ',' : '';
      notes.push(`Cannot use FA version 3 on Blackwell platform${comma} defaulting to FA version 2.`);
      version = 2;
    }
  }
  if (args.requiresAlibi === true && (version === 3 || (version === 4 && within(release, '0.17.0')))) {
    notes.push(`Cannot use FA version ${version} with ALiBi, defaulting to FA version 2.`);
    version = 2;
  }
  if (version === 3 && major === 9 && isFlashAttnSupported(4, context)) {
    const reason = upgradeReason(context, args);
    if (reason !== null) {
      notes.push(`${reason}: upgrading FlashAttention 3 -> 4`);
      version = 4;
    }
  }
  if (version === 4 && context.batchInvariant && within(release, '0.18.0')) {
    notes.push('Cannot use FA version 4 with batch invariance, defaulting to FA version 2.');
    version = 2;
  }
  if (version === 4 && major >= 10 && headSize === 256) {
    if (within(release, '0.27.0', '0.27.1') && args.requiresLocalAttention === true) {
      notes.push('FA4 on Blackwell does not support local attention with head_size=256, defaulting to FA version 2.');
      version = 2;
    } else if (within(release, '0.28.0', '0.28.0')) {
      notes.push('FA4 on Blackwell is temporarily disabled for head_size=256, defaulting to FA version 2.');
      version = 2;
    }
  }
  if (version === 4 && within(release, '0.29.0') && usesFa4Hd256Kernel(context, headSize, headSizeV)) {
    const reason = args.supportsFa4Hd256 === true ? hd256FallbackReason(context, args) : null;
    if (args.supportsFa4Hd256 !== true) {
      notes.push('the caller does not take the head_size=256 kernel, FA version 2');
      version = 2;
    } else if (reason !== null) {
      notes.push(`FA4's Blackwell head_size=256 kernel does not support ${reason}, defaulting to FA version 2.`);
      version = 2;
    }
  }
  if (version === 4 && major >= 10 && headSize !== null && exceedsTensorMemory(context, headSize, headSizeV)) {
    notes.push(
      `FA4 on Blackwell does not support head_size=${headSize} due to TMEM capacity limits, defaulting to FA version 2.`,
    );
    version = 2;
  }
  const unsupported = flashAttnUnsupportedReason(version, context);
  if (unsupported !== null) {
    notes.push(`Cannot use FA version ${version} is not supported due to ${unsupported}`);
    return { version: null, notes };
  }
  return { version, notes };
}

/** `flash_attn_supports_kv_cache_dtype` (0.27.0 on); before, FP8 KV needed FA3 on 9.x. */
export function flashAttnTakesQuantizedKv(
  context: SelectorContext,
  kvCacheDtype: string,
  args: FlashAttnArgs = {},
): boolean {
  const { release } = context;
  if (!within(release, '0.27.0')) {
    return isFamily(context, 9) && resolveFlashAttnVersion(context).version === 3;
  }
  if (kvCacheDtype === 'fp8_e5m2') {
    return false;
  }
  const { version } = resolveFlashAttnVersion(context, args);
  const headSize = args.headSize ?? null;
  const sm90Fa4 = within(release, '0.31.0') && version === 4 && (headSize === null || headSize === 512);
  return (isFamily(context, 9) && (version === 3 || sm90Fa4)) || (isFamily(context, 10) && version === 4);
}
