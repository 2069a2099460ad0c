/** What the measurements on screen say against the rules on screen. */
import { askedCapability, currentDevice, onScreen, type AppState } from '../state/appState';
import { columnOp } from '../state/derive';
import { engineFindings } from '../findings/engineFindings';
import { known } from '../state/store';
import type { Evaluation } from '../evaluation';
import type { MatrixColumn } from '../rules/matrix';
import { stronger, type Finding, type Verdict } from '../verdict';
import { answerInForce } from './viewModelsMatrix';

/**
 * Findings about installed libraries: rows of the selected GPU, while the rules are asked about that GPU's own family. The
 * CPU device shows nothing about a GPU, and neither does a what-if.
 */
export function measuredFindings(state: AppState): readonly Finding[] {
  const shown = onScreen(state);
  const derived = known(state.derived);
  const device = currentDevice(shown);
  const asked = askedCapability(shown);
  const own = device?.computeCapability ?? null;
  if (derived === null || device === null || asked === null || own === null) return [];
  if (asked[0] !== own[0] || asked[1] !== own[1]) return [];
  const { columns, cells, evaluation } = answerInForce(state, derived);
  const validated = new Map(validatedCells(evaluation, columns).map((cell) => [cellKey(cell), cell.verdict]));
  const ops = new Map(columns.map((column) => [column.headDim, columnOp(column, shown.form)]));
  return engineFindings({
    rows: shown.rows.filter(
      (row) =>
        row.deviceId === device.id && row.case.dtype === shown.form.dtype && row.case.op === ops.get(row.case.headDim),
    ),
    cells: cells.map((cell) => {
      const own = validated.get(cellKey(cell));
      return own === undefined ? cell : { ...cell, selects: stronger(cell.selects, own) };
    }),
    release: `vLLM ${evaluation.catalog.requestedVersion}`,
    fa4Forced: known(state.serve)?.settings.flashAttnVersion === 4,
  });
}

/** What the installed vLLM itself said, at the page size it would settle on, under the names of the matrix's rows. */
function validatedCells(
  evaluation: Evaluation,
  columns: readonly MatrixColumn[],
): {
  readonly subject: string;
  readonly headDim: number;
  readonly pageSize: number | null;
  readonly verdict: Verdict;
}[] {
  return evaluation.verdicts
    .filter((verdict) => verdict.level === 'validated' && verdict.question === 'selects')
    .flatMap((verdict) => {
      const selection = evaluation.selections.find((each) => each.layerGroup === verdict.layerGroup);
      const headDim = columns.find(
        (column) =>
          column.groups.some((group) => group.id === verdict.layerGroup) || `d${column.headDim}` === verdict.layerGroup,
      )?.headDim;
      if (selection === undefined || selection.blockSize === null || headDim === undefined) return [];
      const generation = selection.flashAttnVersion;
      const subject =
        verdict.subject === 'FLASH_ATTN' && generation !== null ? `FLASH_ATTN.FA${generation}` : verdict.subject;
      return [{ subject, headDim, pageSize: selection.blockSize, verdict }];
    });
}

function cellKey(cell: {
  readonly subject: string;
  readonly headDim: number;
  readonly pageSize: number | null;
}): string {
  return `${cell.subject}|${cell.headDim}|${cell.pageSize ?? 'contiguous'}`;
}
