/** The README's measurements: a section made of reports, nothing typed by hand. */
import { parseReport } from './report';
import { reportMarkdown, reportTallyMarkdown } from './reportMarkdown';

/** One report of the README. */
export interface ReadmeReport {
  readonly title: string;
  /** Path as the README links it. */
  readonly file: string;
  readonly text: string;
}

/** Self-tests become one line, other reports tables. */
export function readmeSection(reports: readonly ReadmeReport[]): string {
  const parts = reports.map(({ title, file, text }) => {
    const report = parseReport(text, file);
    const body = report.command === 'selftest' ? reportTallyMarkdown(report) : reportMarkdown(report);
    return `### ${title}\n\n${body}\n\n([${file}](${file}))`;
  });
  return ['\n## Measured', ...parts].join('\n\n') + '\n\n';
}
