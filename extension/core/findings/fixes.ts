/**
 * What can be done about a finding, as buttons in the panel and next steps on the command line: edits of the serve file,
 * text to copy, the switch, and commands of the editor. Which edits are possible depends on the file's text as it was read.
 */
import { resolveRelease, within } from '../catalog/releases';
import { configFixes } from '../serve/configEditsFixes';
import type { Finding, Fix } from '../verdict';

/** What the fixes of a finding depend on. */
export interface FixContext {
  /** The serve file as it was read; `null` = none, or its text is not known. */
  readonly serveFile: { readonly path: string; readonly text: string } | null;
  /** Release that will read the file. */
  readonly vllmVersion: string;
  /** The switch is on, so findings about the flag can be solved by turning it off. */
  readonly flagOn: boolean;
}

/** Fixes of kind `setting`: what the host writes. */
export const SETTING_FIXES = [{ id: 'flag-off', key: 'useSystemFlashAttn', value: false }] as const;

/** Fixes of kind `command`: closed list, so that a finding can never name a command of its own. */
export const COMMAND_FIXES = [
  'compare-releases',
  'choose-interpreter',
  'validate-selection',
  'export-bug-report',
  'export-report',
  'show-log',
] as const;
export type CommandFix = (typeof COMMAND_FIXES)[number];

const COMMAND_TITLES: Readonly<Record<CommandFix, string>> = {
  'compare-releases': 'Compare with the newest release',
  'choose-interpreter': 'Choose the interpreter …',
  'validate-selection': 'Ask the installed vLLM',
  'export-bug-report': 'Export a bug report …',
  'export-report': 'Export a report …',
  'show-log': 'Show log',
};

/** Which command helps with which finding. */
const COMMANDS: Readonly<Record<string, CommandFix>> = {
  'silent-fallback': 'compare-releases',
  'forced-fallback': 'compare-releases',
  'no-valid-backend': 'compare-releases',
  'unknown-backend': 'compare-releases',
  'selected-but-fails': 'compare-releases',
  'environment-vllmIsNamespace': 'choose-interpreter',
  'environment-interpreterUnusable': 'choose-interpreter',
  'environment-interpreterTooOld': 'choose-interpreter',
  'environment-interpreterTimeout': 'choose-interpreter',
  'environment-catalogDiffers': 'export-report',
  catalogContradiction: 'export-bug-report',
  releaseNotInCatalog: 'validate-selection',
  'validation-failed': 'show-log',
};

/** Fails because of the flag: turning it off is a fix. */
function blamesFlag(finding: Finding): boolean {
  return finding.code.startsWith('flag-') || (finding.source?.ruleId ?? '').startsWith('FLAG');
}

function fixesOf(finding: Finding, context: FixContext): readonly Fix[] {
  const { serveFile, vllmVersion, flagOn } = context;
  const inFile = serveFile !== null && finding.range?.path === serveFile.path;
  const edits = inFile
    ? configFixes(finding, serveFile.path, serveFile.text, vllmVersion).map(({ id, title }): Fix => ({
        id,
        title,
        kind: 'edit',
      }))
    : [];
  const command = COMMANDS[finding.code];
  const newer = command !== 'compare-releases' || !within(resolveRelease(vllmVersion).release, '0.33.0');
  return [
    ...edits,
    ...finding.fixes,
    ...(flagOn && blamesFlag(finding)
      ? [{ id: 'flag-off', title: 'Turn use_system_flash_attn off', kind: 'setting' } as const]
      : []),
    ...(command !== undefined && newer
      ? [{ id: command, title: COMMAND_TITLES[command], kind: 'command' } as const]
      : []),
  ];
}

/** The same findings with everything that can be done about each. */
export function withFixes(findings: readonly Finding[], context: FixContext): readonly Finding[] {
  return findings.map((finding) => {
    const fixes = fixesOf(finding, context);
    return fixes.length === 0 ? finding : { ...finding, fixes };
  });
}
