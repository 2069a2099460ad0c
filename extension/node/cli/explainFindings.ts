/** Findings and lists as text: what is wrong, where, and the next steps. */
import { placeText, wrap } from '../../core/format';
import type { Finding, Fix } from '../../core/verdict';
import { paint, type CliIo } from './io';

/** Findings with their place and what can be done about each. */
export function findingsText(findings: readonly Finding[], io: CliIo): string {
  return findings
    .flatMap((finding) => [
      paint(io, finding.severity === 'error' ? 'bad' : 'strong', `${finding.severity}: ${finding.title}`),
      ...wrap(finding.detail, io.columns - 2).map((line) => `  ${line}`),
      ...finding.fixes.flatMap((fix) => fixLines(finding, fix)),
      ...(finding.range === null
        ? []
        : [
            paint(
              io,
              'dim',
              `  at ${finding.range.path}:${finding.range.startLine + 1}:${finding.range.startColumn + 1}`,
            ),
          ]),
      ...(finding.source === null ? [] : [paint(io, 'dim', `  [${finding.source.where}]`)]),
    ])
    .join('\n');
}

/** A fix as something to do without an editor; what only the editor can do is left out. */
function fixLines(finding: Finding, fix: Fix): readonly string[] {
  switch (fix.kind) {
    case 'edit':
      return [`  → ${fix.title}${finding.range === null ? '' : ` (${placeText(finding.range)})`}`];
    case 'copy':
      return [`  → ${fix.text ?? fix.title}`];
    case 'setting':
      return ['  → leave out --system-fa4 on'];
    case 'command':
      return fix.id === 'compare-releases' ? ['  → compare with the newest release: --upgrade-to newest'] : [];
  }
}

/** A bulleted list, wrapped. */
export function listText(title: string, items: readonly string[], io: CliIo): string {
  const lines = items.flatMap((item) =>
    wrap(item, io.columns - 2).map((line, index) => `${index === 0 ? '- ' : '  '}${line}`),
  );
  return [...(title === '' ? [] : [title]), ...lines].join('\n');
}
