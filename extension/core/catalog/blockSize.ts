/**
 * KV block size vLLM settles on once the backends are known: `update_block_size_for_backend` of
 * `platforms/interface.py` (0.18.0 on), `check_and_update_config` of `platforms/cuda.py` before.
 */
import type { Source } from '../verdict';
import type { BackendRow } from './backendRow';
import type { SelectorContext } from './query';
import { backendRow } from './registry';
import { valueAt, within } from './releases';
import { advertisedBlockSizes, takesBlockSize } from './validator';

/** Default of every release, in tokens. */
export const DEFAULT_BLOCK_SIZE = 16;

/** The size, or why there is none. */
export interface BlockSizeChoice {
  /** Tokens per block; `null` = not established, see `reason`. */
  readonly tokens: number | null;
  readonly reason: string | null;
  /** vLLM stops with this text. */
  readonly error: string | null;
  readonly source: Source;
}

/** `get_preferred_block_size` of one backend. */
export function preferredBlockSize(row: BackendRow, context: SelectorContext): number {
  const own = row.preferredBlockSize && valueAt(row.preferredBlockSize, context.release);
  if (own !== undefined) {
    const special = own(context, DEFAULT_BLOCK_SIZE);
    if (special !== DEFAULT_BLOCK_SIZE) {
      return special;
    }
  }
  if (takesBlockSize(row, DEFAULT_BLOCK_SIZE, context)) {
    return DEFAULT_BLOCK_SIZE;
  }
  return Math.min(...advertisedBlockSizes(row, context).map((size) => size.tokens));
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

/** Smallest common size of several backends (0.31.0 on); `null` = they share none. */
function commonBlockSize(rows: readonly BackendRow[], context: SelectorContext): number | null {
  if (rows.every((row) => takesBlockSize(row, DEFAULT_BLOCK_SIZE, context))) {
    return DEFAULT_BLOCK_SIZE;
  }
  let products: readonly number[] = [1];
  for (const row of rows) {
    const sizes = advertisedBlockSizes(row, context).map((size) => size.tokens);
    products = [...new Set(products.flatMap((a) => sizes.map((b) => (a / gcd(a, b)) * b)))];
  }
  const candidates = [...products].sort((a, b) => a - b);
  return candidates.find((tokens) => rows.every((row) => takesBlockSize(row, tokens, context))) ?? null;
}

/** Whether the model's layers use latent attention, and which kind; only sizes up to 0.17.1 depend on it. */
export interface BlockSizeModel {
  readonly mla: boolean;
  readonly sparse: boolean;
  /** Backend as configured, the release's own rewrites included; `null` = automatic. */
  readonly configured: string | null;
}

/**
 * Sizes up to 0.17.1: `check_and_update_config` forces one for MLA by what is configured, before anything is selected,
 * so an automatic choice gets FlashMLA's size wherever dense FlashMLA runs, whatever wins later.
 */
function legacyBlockSize(model: BlockSizeModel, user: number | null, context: SelectorContext): number {
  const { release, capability } = context;
  const size = user ?? DEFAULT_BLOCK_SIZE;
  if (!model.mla) {
    return size;
  }
  const cutlassByDefault = within(release, '0.15.0') && capability[0] === 10 && !model.sparse;
  const backend = model.configured ?? (cutlassByDefault ? 'CUTLASS_MLA' : 'FLASHMLA');
  const dense = capability[0] === 9 && context.libraries.flashmla;
  const forced =
    (backend === 'FLASHMLA' && dense && size % 64 !== 0) ||
    (backend === 'FLASHINFER_MLA' && size !== 32 && size % 64 !== 0)
      ? 64
      : backend === 'CUTLASS_MLA' && size % 128 !== 0
        ? 128
        : size;
  if (!model.sparse) {
    return forced;
  }
  const keeps32 = within(release, '0.17.0') && backend === 'FLASHINFER_MLA_SPARSE' && forced === 32;
  return keeps32 ? 32 : 64;
}

/**
 * Tokens per KV block for a model whose layers got `backends` (layer order). Not established for hybrid models, whose
 * Mamba state raises the size.
 */
export function chooseBlockSize(
  backends: readonly (string | null)[],
  user: number | null,
  context: SelectorContext,
  model: BlockSizeModel,
): BlockSizeChoice {
  const { release } = context;
  const file = within(release, '0.18.0') ? 'platforms/interface.py' : 'platforms/cuda.py';
  const source: Source = { where: `vllm ${release} ${file}`, ruleId: 'BLOCK' };
  const none = (reason: string): BlockSizeChoice => ({ tokens: null, reason, error: null, source });
  const named = backends.filter((backend): backend is string => backend !== null);
  if (named.length === 0 || named.length !== backends.length) {
    return none('the backend of a layer is not established');
  }
  if (context.model?.isHybrid === true) {
    return none('the Mamba state of a hybrid model can raise the block size');
  }
  if (!within(release, '0.18.0')) {
    return { tokens: legacyBlockSize(model, user, context), reason: null, error: null, source };
  }
  if (user !== null) {
    return { tokens: user, reason: null, error: null, source };
  }
  const distinct = [...new Set(named)];
  const rows = distinct.map((name) => backendRow(release, name)).filter((row): row is BackendRow => row !== undefined);
  const first = rows[0];
  if (first === undefined || rows.length !== distinct.length) {
    return none('a backend is not in the catalog');
  }
  if (!within(release, '0.31.0') || rows.length === 1) {
    return { tokens: preferredBlockSize(first, context), reason: null, error: null, source };
  }
  const tokens = commonBlockSize(rows, context);
  return tokens === null
    ? {
        tokens: null,
        reason: null,
        error: `The attention backends share no supported KV cache block size (${distinct.join('; ')}).`,
        source,
      }
    : { tokens, reason: null, error: null, source };
}
