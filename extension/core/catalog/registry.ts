/**
 * `AttentionBackendEnum` per release, and the rows the catalog has rules for.
 *
 * Source: `v1/attention/backends/registry.py` (`attention/backends/registry.py` up to 0.13.0). The list keeps the
 * order of the enum, because vLLM prints it in error messages.
 */
import type { BackendRow } from './backendRow';
import { TRITON_FLASH_ATTN, TRITON_FLASHINFER } from './composites';
import { FLASH_ATTN, FLASH_ATTN_DIFFKV } from './flashAttn';
import { FLASHINFER } from './flashinfer';
import { FLEX_ATTENTION } from './flex';
import { CUTLASS_MLA, FLASH_ATTN_MLA, FLASHINFER_MLA, FLASHMLA, TOKENSPEED_MLA, TRITON_MLA } from './mla';
import {
  FLASH_ATTN_MLA_SPARSE,
  FLASH_ATTN_MLA_SPARSE_FA4,
  FLASHINFER_MLA_SPARSE,
  FLASHINFER_MLA_SPARSE_SM120,
  FLASHINFER_MLA_SPARSE_SM90,
  FLASHMLA_SPARSE,
} from './mlaSparse';
import { B12X, HPC_ATTN, TREE_ATTN, TURBOQUANT, ULTRAQUANT, XFORMERS } from './otherBackends';
import { within, type Release } from './releases';
import { TRITON_ATTN, TRITON_ATTN_DIFFKV } from './triton';

/** What an enum member is on CUDA. */
export type MemberKind =
  /** Rules are in the catalog. */
  | 'catalogued'
  /** Chosen by one model's own code; not in the catalog. */
  | 'modelDriven'
  /** Another platform's. */
  | 'otherPlatform'
  /** No class behind the name until a plug-in registers one. */
  | 'unregistered'
  /** Its module is in no wheel. */
  | 'missingModule'
  /** Turns into automatic selection. */
  | 'automatic';

interface EnumMember {
  readonly name: string;
  readonly since: Release;
  readonly until?: Release;
  readonly kind: MemberKind;
}

const member = (name: string, kind: MemberKind, since: Release = '0.11.1', until?: Release): EnumMember => ({
  name,
  kind,
  since,
  ...(until === undefined ? {} : { until }),
});

/** Every name an enum ever had since 0.11.1, in the order of the newest enum (removed ones where they stood). */
const MEMBERS: readonly EnumMember[] = [
  member('FLASH_ATTN', 'catalogued'),
  member('FLASH_ATTN_DIFFKV', 'catalogued', '0.14.0'),
  member('TRITON_ATTN', 'catalogued'),
  member('TRITON_ATTN_DIFFKV', 'catalogued', '0.24.0'),
  member('TRITON_FLASH_ATTN', 'catalogued', '0.30.0'),
  member('XFORMERS', 'catalogued', '0.11.1', '0.11.2'),
  member('ROCM_ATTN', 'otherPlatform'),
  member('ROCM_SEGMENTED_ATTN', 'otherPlatform', '0.32.0'),
  member('ROCM_AITER_MLA', 'otherPlatform'),
  member('ROCM_AITER_TRITON_MLA', 'otherPlatform', '0.12.0'),
  member('ROCM_AITER_FA', 'otherPlatform'),
  member('ROCM_AITER_MLA_SPARSE', 'otherPlatform', '0.12.0'),
  member('XPU_MLA_SPARSE', 'otherPlatform', '0.18.0'),
  member('TORCH_SDPA', 'unregistered'),
  member('FLASHINFER', 'catalogued'),
  member('TRITON_FLASHINFER', 'catalogued', '0.30.0'),
  member('FLASHINFER_MLA', 'catalogued'),
  member('TOKENSPEED_MLA', 'catalogued', '0.21.0'),
  member('FLASHINFER_MLA_SPARSE', 'catalogued', '0.17.0'),
  member('FLASHINFER_MLA_SPARSE_SM120', 'catalogued', '0.24.0'),
  member('FLASHINFER_MLA_SPARSE_SM90', 'catalogued', '0.30.0'),
  member('TRITON_MLA', 'catalogued'),
  member('CUTLASS_MLA', 'catalogued'),
  member('FLASHMLA', 'catalogued'),
  member('FLASHMLA_SPARSE', 'catalogued'),
  member('FLASHMLA_SPARSE_DSV4', 'modelDriven', '0.23.0'),
  member('FLASHINFER_MLA_SPARSE_DSV4', 'modelDriven', '0.23.0'),
  member('ROCM_FLASHMLA_SPARSE_DSV4', 'otherPlatform', '0.23.0'),
  member('FLASHMLA_SPARSE_DSV41', 'modelDriven', '0.30.0'),
  member('FLASHINFER_MLA_SPARSE_DSV41', 'modelDriven', '0.30.0'),
  member('ROCM_FLASHMLA_SPARSE_DSV41', 'otherPlatform', '0.33.0'),
  member('FLASHMLA_MEGA_ATTN_DSV41', 'modelDriven', '0.31.0'),
  member('B12X', 'catalogued', '0.30.0'),
  member('FLASH_ATTN_MLA', 'catalogued'),
  member('FLASH_ATTN_MLA_SPARSE', 'catalogued', '0.25.0'),
  member('FLASH_ATTN_MLA_SPARSE_FA4', 'catalogued', '0.33.0'),
  member('MINIMAX_M3_SPARSE', 'modelDriven', '0.24.0'),
  member('CUTLASS_MSA', 'automatic', '0.27.0'),
  member('TRITON_MSA', 'automatic', '0.27.0'),
  member('STEP5_DSA', 'modelDriven', '0.33.0'),
  member('PALLAS', 'otherPlatform', '0.11.1', '0.13.0'),
  member('IPEX', 'otherPlatform', '0.11.1', '0.15.1'),
  member('NO_ATTENTION', 'missingModule'),
  member('FLEX_ATTENTION', 'catalogued'),
  member('HPC_ATTN', 'catalogued', '0.25.0'),
  member('TREE_ATTN', 'catalogued', '0.11.1', '0.20.2'),
  member('ROCM_AITER_UNIFIED_ATTN', 'otherPlatform'),
  member('CPU_ATTN', 'otherPlatform'),
  member('CPU_MLA', 'otherPlatform', '0.28.0'),
  member('AMX_MLA', 'otherPlatform', '0.29.0'),
  member('TURBOQUANT', 'catalogued', '0.20.0'),
  member('ROCM_OCTAVE', 'otherPlatform', '0.33.0'),
  member('ULTRAQUANT', 'catalogued', '0.32.0'),
  member('CUSTOM', 'unregistered'),
];

const ROWS: readonly BackendRow[] = [
  FLASH_ATTN,
  FLASH_ATTN_DIFFKV,
  TRITON_ATTN,
  TRITON_ATTN_DIFFKV,
  TRITON_FLASH_ATTN,
  XFORMERS,
  FLASHINFER,
  TRITON_FLASHINFER,
  FLASHINFER_MLA,
  TOKENSPEED_MLA,
  FLASHINFER_MLA_SPARSE,
  FLASHINFER_MLA_SPARSE_SM120,
  FLASHINFER_MLA_SPARSE_SM90,
  TRITON_MLA,
  CUTLASS_MLA,
  FLASHMLA,
  FLASHMLA_SPARSE,
  B12X,
  FLASH_ATTN_MLA,
  FLASH_ATTN_MLA_SPARSE,
  FLASH_ATTN_MLA_SPARSE_FA4,
  FLEX_ATTENTION,
  HPC_ATTN,
  TREE_ATTN,
  TURBOQUANT,
  ULTRAQUANT,
];

/** Names a release accepts for a backend, in the enum's order. */
export function backendNames(release: Release): readonly string[] {
  return MEMBERS.filter((entry) => within(release, entry.since, entry.until)).map((entry) => entry.name);
}

/** What a name is in a release; `null` = not a name of that release. */
export function memberKind(release: Release, name: string): MemberKind | null {
  const found = MEMBERS.find((entry) => entry.name === name && within(release, entry.since, entry.until));
  return found?.kind ?? null;
}

/** Releases in which a name exists; `null` = no release since 0.11.1. */
export function memberSpan(name: string): { readonly since: Release; readonly until: Release | null } | null {
  const found = MEMBERS.find((entry) => entry.name === name);
  return found === undefined ? null : { since: found.since, until: found.until ?? null };
}

/** The rules of a backend in a release; `undefined` = none in the catalog. */
export function backendRow(release: Release, name: string): BackendRow | undefined {
  return ROWS.find((row) => row.id === name && within(release, row.since, row.until));
}

/** Where a backend's rules of a release are written. */
export function backendSource(release: Release, row: BackendRow): string {
  return `vllm ${release} ${row.file}`;
}
