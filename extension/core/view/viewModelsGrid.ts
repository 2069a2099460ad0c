/** State → measurements at a glance: per workload one table, page layouts down, head sizes across as in the support matrix. */
import type { AttentionCase, ResultRow, ResultStatus } from '../attentionCase';
import { formatLengths, formatMs, formatPageSize, formatPercent } from '../format';
import { rateText } from '../measure/countedRate';
import { headDimText } from '../measure/caseGrid';
import { BUNDLED_ENGINE, engineLabel } from '../measure/engines';

/** How a result's status is said. */
export const STATUS_WORDS: Record<ResultStatus, string> = {
  ok: 'ok',
  unsupported: 'unsupported',
  wrong: 'wrong result',
  failed: 'failed',
  timeout: 'timed out',
  outOfMemory: 'out of memory',
  crashed: 'crashed',
  cancelled: 'cancelled',
};

/** One workload of one engine on one device; what differs within it is head size and page layout. */
export interface GridView {
  /** `Bundled kernels: prefill, bf16, 32/8 heads, batch 1, q 16k, kv 16k, causal`. */
  readonly title: string;
  /** Column heads: `128`, or `192/128` where keys and values differ. */
  readonly headDims: readonly string[];
  /** Contiguous first. */
  readonly rows: readonly GridRowView[];
}

export interface GridRowView {
  /** `contiguous`, `page 16`. */
  readonly layout: string;
  /** One per head size; `null` = not run. */
  readonly cells: readonly (GridCellView | null)[];
}

export interface GridCellView {
  readonly answer: 'yes' | 'no' | 'unknown';
  /** Median time, or how it ended. */
  readonly text: string;
  /** `480 TFLOP/s · 55 %`; empty unless it is ok. */
  readonly sub: string;
}

/** Tables shown; the newest workloads win. */
const MAX_GRIDS = 12;

/** Rows as tables, bundled kernels first. A workload with a single case is left to the list of cases. */
export function measurementGrids(rows: readonly ResultRow[], isCpu: (row: ResultRow) => boolean): readonly GridView[] {
  const workloads = new Map<string, ResultRow[]>();
  for (const row of rows) {
    const key = JSON.stringify([row.engine, row.deviceId, { ...row.case, headDim: 0, headDimV: 0, pageSize: null }]);
    workloads.set(key, [...(workloads.get(key) ?? []), row]);
  }
  const grids = [...workloads.values()].filter((group) => group.length > 1).slice(-MAX_GRIDS);
  const isBundled = (group: readonly ResultRow[]): boolean => group[0]?.engine === BUNDLED_ENGINE;
  return [...grids.filter(isBundled), ...grids.filter((group) => !isBundled(group))].map((group) => grid(group, isCpu));
}

/** `bf16, 32/8 heads, batch 1, q 16k, kv 16k, causal`. */
export function caseShape(asked: AttentionCase): string {
  return [
    asked.dtype,
    `${asked.qHeads}/${asked.kvHeads} heads`,
    `batch ${asked.batch}`,
    `q ${formatLengths(asked.qLens)}`,
    `kv ${formatLengths(asked.kvLens)}`,
    asked.causal ? 'causal' : 'full',
  ].join(', ');
}

function grid(group: readonly ResultRow[], isCpu: (row: ResultRow) => boolean): GridView {
  const [first] = group as readonly [ResultRow, ...ResultRow[]];
  const layouts = [...new Set(group.map((row) => row.case.pageSize))].sort((a, b) => (a ?? 0) - (b ?? 0));
  const headDims = [...new Map(group.map((row) => [headDimText(row.case), row.case.headDim]))].sort(
    ([, a], [, b]) => a - b,
  );
  const device = isCpu(first) ? ' on the CPU' : '';
  return {
    title: `${engineLabel(first.engine)}${device}: ${first.case.op}, ${caseShape(first.case)}`,
    headDims: headDims.map(([headDim]) => headDim),
    rows: layouts.map((layout) => ({
      layout: formatPageSize(layout),
      cells: headDims.map(([headDim]) => {
        const row = group.find((each) => each.case.pageSize === layout && headDimText(each.case) === headDim);
        return row === undefined ? null : cell(row);
      }),
    })),
  };
}

function cell(row: ResultRow): GridCellView {
  const { result } = row;
  if (result.status !== 'ok') {
    const open = result.status === 'unsupported' || result.status === 'cancelled';
    return { answer: open ? 'unknown' : 'no', text: STATUS_WORDS[result.status], sub: '' };
  }
  // A check without timing has no figures, and says only that it is right.
  if (result.gpuMs === null) return { answer: 'yes', text: STATUS_WORDS.ok, sub: '' };
  const parts = [
    rateText(row.case, row.result),
    ...(result.percentOfCeiling === null ? [] : [formatPercent(result.percentOfCeiling)]),
    ...(result.contended ? ['contended'] : []),
  ];
  return { answer: 'yes', text: formatMs(result.gpuMs.median), sub: parts.join(' · ') };
}
