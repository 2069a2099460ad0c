/** The README's measurements: a section made of reports, nothing typed by hand. */
import { parseReport } from './report';
import { reportMarkdown, reportTallyMarkdown } from './reportMarkdown';

/** @param reports path (as the README links it) and text of each report; self-tests become one line, the others tables */
export function readmeSection(reports: readonly { readonly file: string; readonly text: string }[]): string {
  const parts = reports.map(({ file, text }) => {
    const report = parseReport(text, file);
    const body = report.command === 'selftest' ? reportTallyMarkdown(report) : reportMarkdown(report);
    return `${body}\n\n([${file}](${file}))`;
  });
  return ['\n## Measured', ...parts].join('\n\n') + '\n\n';
}
