/**
 * What the FA4 libraries themselves take: the copy inside vLLM and pip's `flash-attn-4`.
 * Source: `cute/interface.py` of each wheel (`_validate_head_dims`, `_flash_attn_fwd`).
 */
import { within, type Release } from './releases';

/** One question to an FA4 library. */
export interface Fa4Case {
  readonly capability: readonly [number, number];
  readonly headDim: number;
  readonly headDimV: number;
  /** Tokens per page; `null` = contiguous KV. */
  readonly pageSize: number | null;
}

/** Why an FA4 library refuses; `null` = it takes the case. */
export type Fa4Refusal = { readonly text: string; readonly ruleId: string } | null;

const refusal = (text: string, ruleId = 'FA4-LIB'): Fa4Refusal => ({ text, ruleId });

/** Head sizes on 10.x and 11.x, by the generation's limits. */
function blackwellRefusal(asked: Fa4Case, hd256: boolean, hd256NeedsPage: number | null): Fa4Refusal {
  const { headDim: d, headDimV: dv, pageSize } = asked;
  if ((d <= 128 && dv <= 128) || (d === 192 && dv === 128)) {
    return null;
  }
  if (d === 256 && dv === 256 && hd256) {
    return hd256NeedsPage !== null && pageSize !== null && pageSize % hd256NeedsPage !== 0
      ? refusal(`the 256-wide kernel takes pages of ${hd256NeedsPage} tokens, not ${pageSize}`)
      : null;
  }
  return refusal(`FA4 on 10.x/11.x takes head sizes 8 to 128, (192, 128)${hd256 ? ' and 256' : ''}; not (${d}, ${dv})`);
}

/**
 * Head sizes that are no multiple of 16 work with pages only where a page is one KV tile, which is 128 tokens up to
 * head size 128 (`flash_fwd_sm90.py`, `flash_fwd_sm100.py`).
 */
function irregularHeadRefusal(asked: Fa4Case): Fa4Refusal {
  const oneTile = asked.pageSize === 128 && asked.headDim <= 128;
  return asked.headDim % 16 !== 0 && asked.pageSize !== null && !oneTile
    ? refusal('Paged KV does not support irregular head dim')
    : null;
}

/** The FA4 copy vendored in a vLLM release (0.17.0 on). */
export function vendoredFa4Refusal(release: Release, asked: Fa4Case): Fa4Refusal {
  const [major, minor] = asked.capability;
  const { headDim, pageSize } = asked;
  if (!within(release, '0.17.0')) {
    return refusal(`vLLM ${release} has no vendored FA4`);
  }
  if (headDim % 8 !== 0) {
    return refusal(`FA4 takes head sizes that are a multiple of 8, not ${headDim}`);
  }
  if (major === 9) {
    const limit = within(release, '0.20.0') ? 512 : 256;
    if (headDim > limit || asked.headDimV > limit) {
      return refusal(`the FA4 of vLLM ${release} takes head sizes up to ${limit} on 9.x, not ${headDim}`);
    }
    return pageSize !== null && !within(release, '0.20.0')
      ? refusal(
          'FA4 with paged KV is not supported on SM90 (Hopper). Use FA3 or upgrade to Blackwell (SM100+).',
          'TRAP-3',
        )
      : irregularHeadRefusal(asked);
  }
  if (major === 10 || major === 11) {
    if (!within(release, '0.20.0')) {
      return headDim <= 256 ? null : refusal(`the FA4 of vLLM ${release} takes head sizes up to 256, not ${headDim}`);
    }
    const hd256 = within(release, '0.22.0');
    if (hd256 && headDim === 256 && pageSize !== null && !within(release, '0.29.0')) {
      return refusal('SM100 forward with head_dim=256 does not support seqused_q/seqused_k', 'TRAP-5');
    }
    return blackwellRefusal(asked, hd256, within(release, '0.29.0') ? 128 : null) ?? irregularHeadRefusal(asked);
  }
  return pageSize !== null
    ? refusal(`paged KV not supported on SM ${major}.${minor}`)
    : refusal(`vLLM gives FA4 to 9.x, 10.x and 11.x only, not ${major}.${minor}`);
}

/** Newest `flash-attn-4` beta whose files were read. */
export const NEWEST_FA4_BETA = 36;

/** Beta number of a `flash-attn-4` version (`4.0.0b36` → 36); `null` = not of that form. */
export function fa4Beta(version: string): number | null {
  const match = /^4\.0\.0b(\d{1,3})$/.exec(version.trim());
  return match === null ? null : Number(match[1]);
}

/** pip's `flash-attn-4`. */
export function systemFa4Refusal(beta: number, asked: Fa4Case): Fa4Refusal {
  const [major, minor] = asked.capability;
  const { headDim, headDimV, pageSize } = asked;
  const name = `flash-attn-4 4.0.0b${beta}`;
  if (headDim % 8 !== 0) {
    return refusal(`FA4 takes head sizes that are a multiple of 8, not ${headDim}`);
  }
  if (major === 9) {
    if (headDim < 8 || headDim > 256 || headDimV > 256) {
      return refusal(`${name} takes head sizes 8 to 256 on 9.x, not ${headDim}`);
    }
    return pageSize !== null && beta < 5 ? refusal(`${name} has no paged KV on 9.x`) : irregularHeadRefusal(asked);
  }
  if (major === 10 || major === 11) {
    if (beta < 5) {
      return headDim <= 256 ? null : refusal(`${name} takes head sizes up to 256, not ${headDim}`);
    }
    if (headDim === 256 && beta >= 11 && beta < 31 && pageSize !== null) {
      return refusal(`${name}'s 256-wide kernel takes no per-sequence lengths, which paging needs`);
    }
    return blackwellRefusal(asked, beta >= 11, beta >= 31 && beta < 34 ? 128 : null) ?? irregularHeadRefusal(asked);
  }
  if (major === 8 || major === 12) {
    return pageSize === null
      ? refusal(`what ${name} takes on ${major}.${minor} with contiguous KV is not in the catalog`, 'UNKNOWN')
      : refusal(
          major === 8
            ? `paged KV not supported on SM ${major}.${minor}`
            : 'Paged KV not supported on SM 12.0 in this PR',
        );
  }
  return refusal(`${name} has no kernels for compute capability ${major}.${minor}`);
}
