/** An opened report as it is written again. Pure. */
import type { PrivateWords } from '../report/redact';
import { createReport, type Report } from '../report/report';

/**
 * The report with identifying words replaced, once: stand-ins stay as they are. Its host is the one that it names; which
 * users that machine has is not known here, so their names go where they are part of a home folder.
 *
 * @param words of the user who exports, who may have written it too
 */
export function exportedReport(report: Report, words: PrivateWords): Report {
  if (report.redacted) return report;
  const { tool, libraries, ratios, ...rest } = report;
  return createReport({
    ...rest,
    toolVersion: tool.version,
    ...(libraries === undefined ? {} : { libraries }),
    ...(ratios === undefined ? {} : { ratios }),
    privateWords: { ...words, hostName: report.machine.hostName },
  });
}
