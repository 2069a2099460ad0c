/**
 * Quick fixes for findings about a serve file, as text edits of the file as it is now. A fix that cannot be made in place
 * is not offered. Pure.
 */
import type { ConfigEditResult, ConfigTextEdit } from './configEdits';
import { editAttentionField, removeSetting } from './configEdits';
import { parseServeFile, serveFileKind } from './serveConfig';
import type { Finding } from '../verdict';

/** One fix: what the menu says, and what it changes. */
export interface ConfigFix {
  readonly title: string;
  readonly edits: readonly ConfigTextEdit[];
}

/** Settings whose removal solves a finding, by code; `ABOUT` is the part of the finding's id behind its code. */
const REMOVALS: Readonly<Record<string, readonly string[]>> = {
  'unknown-config-field': ['attention_config.ABOUT'],
  'flash-attn-version-invalid': ['attention_config.flash_attn_version'],
  'flash-attn-version-unsupported': ['attention_config.flash_attn_version'],
  'flash-attn-version-without-effect': ['attention_config.flash_attn_version'],
  'fa4-slower-on-hopper': ['attention_config.flash_attn_version'],
  'block-size-precludes-backend': ['block_size'],
  'exclusive-backends': ['attention_backend', 'attention_config.backend'],
  'unknown-kind': ['attention_config.backend_per_kind.ABOUT'],
  'kind-never-matches': ['attention_config.backend_per_kind.ABOUT'],
};

function offered(title: string, result: ConfigEditResult): readonly ConfigFix[] {
  return result.ok && result.edits.length > 0 ? [{ title, edits: result.edits }] : [];
}

function yamlFixes(code: string, about: string, text: string, vllmVersion: string): readonly ConfigFix[] {
  const removals = (REMOVALS[code] ?? []).flatMap((pattern) => {
    const name = pattern.replace('ABOUT', about);
    return offered(`Remove ${name}`, removeSetting(text, name));
  });
  if (code !== 'flash-attn-version-string') return removals;
  const field = 'flash_attn_version';
  const written = parseServeFile('', text, 'vllmYaml').located.find(
    (each) => each.name === `attention_config.${field}`,
  );
  const value = typeof written?.value === 'string' && /^\d$/.test(written.value) ? Number(written.value) : null;
  return value === null
    ? removals
    : offered(`Write ${field} as the number ${value}`, editAttentionField(text, { field, value }, vllmVersion));
}

/** Removes the line of a variable from a `.env` file, when the line holds nothing else. */
function dotEnvFixes(path: string, text: string, name: string): readonly ConfigFix[] {
  const entry = parseServeFile(path, text, 'dotEnv').env.find((each) => each.name === name);
  if (entry === undefined || entry.range.startLine !== entry.range.endLine) return [];
  const lines = text.split('\n');
  const line = lines[entry.range.startLine] ?? '';
  const alone =
    new RegExp(`^\\s*(export\\s+)?${name}=`).test(line) && !/\s[A-Za-z_]\w*=/.test(line.slice(entry.range.endColumn));
  if (!alone) return [];
  const offset = lines.slice(0, entry.range.startLine).reduce((sum, each) => sum + each.length + 1, 0);
  const length = Math.min(line.length + 1, text.length - offset);
  return [{ title: `Remove ${name}`, edits: [{ offset, length, newText: '' }] }];
}

/**
 * What can be done in the file about a finding, for the file's text as it is now (also unsaved). Empty for findings and
 * kinds of files that have no fix in place.
 */
export function configFixes(
  finding: Pick<Finding, 'id' | 'code'>,
  path: string,
  text: string,
  vllmVersion: string,
): readonly ConfigFix[] {
  const about = finding.id.startsWith(`${finding.code}:`) ? finding.id.slice(finding.code.length + 1) : '';
  const kind = serveFileKind(path, text);
  if (kind === 'vllmYaml') return yamlFixes(finding.code, about, text, vllmVersion);
  const isVariable = finding.code === 'dead-env-variable' || finding.code === 'deprecated-env-variable';
  return kind === 'dotEnv' && isVariable && /^[A-Z0-9_]+$/.test(about) ? dotEnvFixes(path, text, about) : [];
}
