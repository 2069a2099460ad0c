/**
 * What was measured of peers on one H200 (bf16), quoted in findings about FA4 on Hopper.
 */

interface HopperRow {
  readonly headDim: number;
  /** Causal prefill, 16k tokens, contiguous KV, TFLOP/s. */
  readonly prefillFa3: number;
  readonly prefillFa4: number;
  /** Paged decode, batch 32, 8k tokens, page of 16 tokens, TB/s. */
  readonly decodeFa3: number;
  readonly decodeFa4: number;
}

const ROWS: readonly HopperRow[] = [
  { headDim: 64, prefillFa3: 516, prefillFa4: 464, decodeFa3: 3.58, decodeFa4: 2.09 },
  { headDim: 128, prefillFa3: 652, prefillFa4: 609, decodeFa3: 4.1, decodeFa4: 3.3 },
  { headDim: 256, prefillFa3: 696, prefillFa4: 692, decodeFa3: 3.95, decodeFa4: 3.71 },
];

/** FA3 against the vendored FA4 at this head size, in one sentence; `null` = not measured at this size. */
export function hopperFa4Figures(headDim: number): string | null {
  const row = ROWS.find((candidate) => candidate.headDim === headDim);
  return row === undefined
    ? null
    : `Measured at head size ${headDim}: causal prefill ${row.prefillFa4} TFLOP/s with FA4 against ${row.prefillFa3} with FA3, paged decode ${row.decodeFa4} TB/s against ${row.decodeFa3}.`;
}

/** What system FA4 did with this head size; `null` = not measured, or it ran. */
export function systemFa4Measured(headDim: number): string | null {
  return headDim === 512 ? 'Measured on one H200: 4.0.0b36 refuses head size 512.' : null;
}

/** What system FA4 did with one long sequence. */
export const SPLIT_KV_MEASURED =
  'Measured on one H200: 4.0.0b36 refuses the decode of one sequence of 131072 tokens at head sizes 64, 128 and 256, pages of 16 tokens.';
