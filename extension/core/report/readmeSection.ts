/** The README's measurements: a section and a chart made of reports, nothing typed by hand. */
import type { Report } from './report';
import { parseReport } from './report';
import { engineChart } from './engineChart';
import { engineMarkdown, hasEngines } from './engineTables';
import { peerMarkdown } from './peerTable';
import { reportSummary, reportTallyMarkdown, rowsMarkdown } from './reportMarkdown';

/** One report of the README. */
export interface ReadmeReport {
  readonly title: string;
  /** Path as the README links it. */
  readonly file: string;
  readonly text: string;
}

/** Self-tests become one line, reports with installed libraries what is declared and measured of each, other ones tables; tables of single reports are folded. */
export function readmeSection(reports: readonly ReadmeReport[], chartFile: string): string {
  const parts = reports.map(({ title, file, text }) => {
    const report = parseReport(text, file);
    return `### ${title}\n\n${body(report)}\n\n([${file}](${file}))`;
  });
  const peers = peerMarkdown(reports.map(({ file, text }) => parseReport(text, file)));
  return (
    [
      '\n## Measured',
      ...(peers === '' ? [] : [`### Beside the fastest installed library\n\n${peers}`]),
      ...(readmeChart(reports) === null
        ? []
        : [
            `![Measured rates of attention engines by head size](${chartFile})\n\nLibraries whose pins conflict were measured in runs of their own; a rate moves by a few percent from run to run, the ratios do not.`,
          ]),
      ...parts,
    ].join('\n\n') + '\n\n'
  );
}

/** The chart of all reports with installed libraries; `null` = there is none. Of an engine in several reports the first counts. */
export function readmeChart(reports: readonly ReadmeReport[]): string | null {
  const own = reports.map(({ file, text }) => parseReport(text, file)).filter(hasEngines);
  const seen = new Set<string>();
  const rows = own
    .flatMap((report) => report.rows)
    .filter(({ engine, case: asked }) => {
      const key = JSON.stringify([engine, asked]);
      return seen.has(key) ? false : seen.add(key);
    });
  const [first] = own;
  const device = first?.facts?.devices.find((each) => each.id === first.rows[0]?.deviceId);
  return engineChart(rows, device?.name ?? 'an unknown device');
}

/** The line that says where and when, and the tables folded below it: a README is for reading. */
function body(report: Report): string {
  if (report.command === 'selftest') return reportTallyMarkdown(report);
  const tables = hasEngines(report) ? engineMarkdown(report) : rowsMarkdown(report.rows);
  return `${reportSummary(report)}\n\n<details>\n<summary>${report.rows.length} measurements</summary>\n\n${tables}\n\n</details>`;
}
