/** The bundled kernel beside the fastest installed library on each case, from the rounds of one run. */
import type { AttentionCase } from '../attentionCase';
import { formatPageSize } from '../format';
import { rateText } from '../measure/countedRate';
import { BUNDLED_ENGINE, engineLabel } from '../measure/engines';
import type { Errors } from '../measure/largestErrors';
import type { RoundRatio } from '../measure/rounds';
import type { Report } from './report';
import { caseCells, ERROR_COLUMNS, errorCells } from './reportMarkdown';

/** A case with the library that came closest to the bundled kernel, or went past it. */
export interface BestPeer {
  readonly case: AttentionCase;
  /** Rate of the bundled kernel in the same run, in words. */
  readonly rate: string;
  /** Of the bundled kernel in the same run. */
  readonly errors: Errors;
  /** `null` = no library was right on it in rounds. */
  readonly best: RoundRatio | null;
}

/** What the rounds show: an interval that lies on one side of 1 is a verdict, anything else none. */
export type PeerVerdict = 'faster' | 'slower' | 'open' | 'alone';

/**
 * Cases that the bundled kernels ran in rounds, in the order of the reports. The library with the smallest ratio counts: each
 * ratio is of one run, so libraries that were measured in different runs compare by it, although their times do not.
 */
export function bestPeers(reports: readonly Report[]): readonly BestPeer[] {
  const found = new Map<string, BestPeer>();
  for (const report of reports.filter((each) => (each.ratios ?? []).length > 0)) {
    for (const { engine, case: asked, result } of report.rows) {
      if (engine !== BUNDLED_ENGINE || result.status !== 'ok') continue;
      const key = JSON.stringify(asked);
      const own = (report.ratios ?? []).filter((each) => JSON.stringify(each.case) === key);
      const best = [...own].sort((a, b) => a.ratio - b.ratio)[0] ?? null;
      const before = found.get(key);
      if (before !== undefined && (best === null || (before.best !== null && before.best.ratio <= best.ratio)))
        continue;
      found.set(key, { case: asked, rate: rateText(asked, result), errors: result, best });
    }
  }
  return [...found.values()];
}

/** Whether the bundled kernel is faster or slower than its best peer, as far as the rounds show it. */
export function peerVerdict({ best }: BestPeer): PeerVerdict {
  if (best === null) return 'alone';
  if (best.interval === null) return 'open';
  return best.interval.low > 1 ? 'faster' : best.interval.high < 1 ? 'slower' : 'open';
}

/** The table with a line that counts; empty when no report has rounds. */
export function peerMarkdown(reports: readonly Report[]): string {
  const peers = bestPeers(reports);
  if (peers.length === 0) return '';
  const count = (verdict: PeerVerdict): number => peers.filter((peer) => peerVerdict(peer) === verdict).length;
  const layouts = [...new Set(peers.map((peer) => peer.case.pageSize))].sort((a, b) => (a ?? 0) - (b ?? 0));
  const groups = new Map<string, { cells: readonly string[]; peers: BestPeer[] }>();
  for (const peer of peers) {
    const cells = caseCells(peer);
    const group = groups.get(cells.join('|')) ?? { cells, peers: [] };
    group.peers.push(peer);
    groups.set(cells.join('|'), group);
  }
  const lines = [...groups.values()].map(({ cells, peers: own }) => [
    ...cells,
    ...layouts.map((layout) =>
      own
        .filter((peer) => peer.case.pageSize === layout)
        .map(peerCell)
        .join('<br>'),
    ),
    ...errorCells(own.map((peer) => peer.errors)),
  ]);
  const table = [
    ['step', 'head', 'heads q/kv', 'lengths', ...layouts.map(formatPageSize), ...ERROR_COLUMNS],
    ['---', '---:', '---:', '---', ...layouts.map(() => '---:'), ...ERROR_COLUMNS.map(() => '---:')],
    ...lines,
  ].map((cells) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`);
  return [
    `Of ${peers.length} cases the bundled kernel is faster than every library measured in ${count('faster')}, slower than the best in ${count('slower')} (bold), and in ${count('open')} the rounds show no difference; in ${count('alone')} no library was right.`,
    'Each cell: the bundled kernel’s rate, and the time of the best library ÷ its own, the median over the rounds of one run with its 95 % interval. Above 1 the bundled kernel is faster. The errors are the largest of the row’s bundled kernels against the float64 reference.',
    table.join('\n'),
  ].join('\n\n');
}

function peerCell(peer: BestPeer): string {
  const { rate, best } = peer;
  if (best === null) return `${rate}; no library`;
  const { ratio, interval, engine } = best;
  const band = interval === null ? '' : ` (${interval.low.toFixed(3)}–${interval.high.toFixed(3)})`;
  const text = `×${ratio.toFixed(3)}${band}`;
  return `${rate}; ${peerVerdict(peer) === 'slower' ? `**${text}**` : text} ${engineLabel(engine)}`;
}
