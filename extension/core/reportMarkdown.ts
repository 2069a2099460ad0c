/** A report's measurements as Markdown, for the README and for bug reports. */
import type { ResultRow } from './attentionCase';
import { formatMs, formatPageSize, formatPercent, formatRate, formatRelError, formatTokens, NOT_KNOWN } from './format';
import type { Report } from './report';

/** Heading line, device and build, then one table row per measured case. Rows that are not `ok` say why in the last column. */
export function reportMarkdown(report: Report): string {
  return [summary(report), '', ...table(report.rows)].join('\n');
}

/** One line for a report whose rows are too many to list, like a self-test: where, how many ended how, the largest error. */
export function reportTallyMarkdown(report: Report): string {
  const counts = new Map<string, number>();
  for (const { result } of report.rows) counts.set(result.status, (counts.get(result.status) ?? 0) + 1);
  const tally = [...counts].map(([status, count]) => `${count} ${status}`).join(', ') || 'no rows';
  const errors = report.rows.flatMap(({ result }) => (result.relError === null ? [] : [result.relError]));
  const largest = errors.length === 0 ? '' : `; largest relative error ${formatRelError(Math.max(...errors))}`;
  return `${report.command}: ${report.rows.length} cases, ${tally}${largest}. ${summary(report)}`;
}

function summary(report: Report): string {
  const deviceIds = new Set(report.rows.map((row) => row.deviceId));
  const devices = (report.facts?.devices ?? []).filter((device) => deviceIds.has(device.id));
  const names =
    devices
      .map((device) => (device.kind === 'cpu' ? `${device.name} (CPU reference device)` : device.name))
      .join(', ') || 'unknown device';
  const day = new Date(report.createdAtMs).toISOString().slice(0, 10);
  const driver = report.facts?.driverVersion ?? null;
  const hash = report.facts?.kernelBuild?.hash;
  const ceilings = report.ceilings
    .filter((each) => deviceIds.has(each.deviceId))
    .map(({ ceilings: each }) =>
      [
        ...(each.tensorCoreTflops === null ? [] : [`tensor cores ${formatRate(each.tensorCoreTflops, 'TFLOP/s')}`]),
        ...(each.readStreamTbps === null ? [] : [`read stream ${formatRate(each.readStreamTbps, 'TB/s')}`]),
      ].join(', '),
    )
    .filter((each) => each !== '');
  return [
    `Measured on ${names}`,
    ...(driver === null ? [] : [`driver ${driver}`]),
    day,
    ...(hash === undefined ? [] : [`kernels \`${hash.slice(0, 12)}\``]),
    ...(ceilings.length === 0 ? [] : [`measured ceilings: ${ceilings.join('; ')}`]),
  ].join(' · ');
}

function table(rows: readonly ResultRow[]): string[] {
  const cells = rows.map((row): string[] => {
    const { case: asked, result } = row;
    const bandwidth = asked.op !== 'prefill';
    const lens = (value: number | readonly number[]): string =>
      typeof value === 'number' ? formatTokens(value) : `${value.length} lengths`;
    return [
      asked.op,
      `${asked.headDim}${asked.headDimV === asked.headDim ? '' : `/${asked.headDimV}`}`,
      `${asked.qHeads}/${asked.kvHeads}`,
      bandwidth
        ? `B ${asked.batch}, kv ${lens(asked.kvLens)}`
        : `q ${lens(asked.qLens)}, kv ${lens(asked.kvLens)}${asked.causal ? ', causal' : ''}`,
      formatPageSize(asked.pageSize),
      formatMs(result.gpuMs?.median ?? null),
      bandwidth ? formatRate(result.tbps, 'TB/s') : formatRate(result.tflops, 'TFLOP/s'),
      formatPercent(result.percentOfCeiling),
      formatRelError(result.relError),
      result.kernel === null ? NOT_KNOWN : `\`${result.kernel.name}\``,
      result.status === 'ok'
        ? result.contended
          ? 'ok, contended'
          : 'ok'
        : `${result.status}: ${result.reason?.text ?? ''}`,
    ];
  });
  return [
    ['step', 'head', 'heads q/kv', 'lengths', 'KV', 'time', 'rate', 'of ceiling', 'rel. error', 'kernel', 'result'],
    ['---', '---:', '---:', '---', '---', '---:', '---:', '---:', '---:', '---', '---'],
    ...cells,
  ].map((row) => `| ${row.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`);
}
