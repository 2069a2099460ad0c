/** What only the panel knows: where the user is. Kept over hiding and restart; never facts. */
import * as v from 'valibot';
import { loadState, saveState } from './host';

const cellRefSchema = v.object({
  subject: v.string(),
  headDim: v.number(),
  question: v.picklist(['selects', 'works']),
});

const uiStateSchema = v.object({
  /** Page layout tab; `null` = contiguous. */
  layoutPageSize: v.optional(v.nullable(v.number())),
  /** Cell whose reasons are shown. */
  cell: v.optional(v.nullable(cellRefSchema)),
  /** Ids of open disclosures. */
  open: v.optional(v.array(v.pipe(v.string(), v.maxLength(100)))),
});

export type CellRef = v.InferOutput<typeof cellRefSchema>;

/** Complete UI state. */
export interface UiState {
  readonly layoutPageSize: number | null;
  readonly cell: CellRef | null;
  readonly open: readonly string[];
}

/** What was kept, or the state of a fresh panel. */
export function restoreUiState(): UiState {
  const parsed = v.safeParse(uiStateSchema, loadState());
  const kept = parsed.success ? parsed.output : {};
  return { layoutPageSize: kept.layoutPageSize ?? null, cell: kept.cell ?? null, open: kept.open ?? [] };
}

/** Keeps it. */
export function keepUiState(state: UiState): void {
  saveState(state);
}
