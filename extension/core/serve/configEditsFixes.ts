/**
 * Quick fixes for findings about a serve file, as text edits of the file as it is now. A fix that cannot be made in place
 * is not offered. Pure.
 */
import { attentionConfigFields } from '../catalog/configFields';
import { resolveRelease, within } from '../catalog/releases';
import { SYSTEM_FLASH_ATTN_FIELD } from '../rules/flashAttnFlag';
import { applyTextEdits, editAttentionField, removeSetting } from './configEdits';
import type { ConfigEditResult, ConfigTextEdit } from './configEdits';
import { removeVariable } from './configEditsVariable';
import { removeArgument, replaceValue } from './configEditsWords';
import { parseServeFile, serveFileKind, type ServeFileKind } from './serveConfig';
import type { Finding } from '../verdict';

/** One fix: what the menu says, and what it changes. */
export interface ConfigFix {
  /** Names the same fix of the same finding again after the file was read anew. */
  readonly id: string;
  readonly title: string;
  readonly edits: readonly ConfigTextEdit[];
}

const FLAG = `attention_config.${SYSTEM_FLASH_ATTN_FIELD}`;
const VERSION = 'attention_config.flash_attn_version';
const BACKEND = ['attention_backend', 'attention_config.backend'];

/** Settings whose removal solves a finding, by code; `ABOUT` is the part of the finding's id behind its code. */
const REMOVALS: Readonly<Record<string, readonly string[]>> = {
  'unknown-option': ['ABOUT'],
  'unknown-config-field': ['attention_config.ABOUT'],
  'flash-attn-version-invalid': [VERSION],
  'flash-attn-version-unsupported': [VERSION],
  'flash-attn-version-without-effect': [VERSION],
  'fa4-slower-on-hopper': [VERSION],
  'explicit-backend-refused': BACKEND,
  'mla-mismatch': BACKEND,
  'unknown-backend': BACKEND,
  'exclusive-backends': BACKEND,
  'mla-prefill-refused': ['attention_config.mla_prefill_backend'],
  'selected-but-fails': [VERSION, ...BACKEND],
  'block-size-precludes-backend': ['block_size'],
  'block-size-refused': ['block_size'],
  'kv-cache-dtype-refused': ['kv_cache_dtype'],
  'unknown-kv-cache-dtype': ['kv_cache_dtype'],
  'unknown-kind': ['attention_config.backend_per_kind.ABOUT'],
  'kind-never-matches': ['attention_config.backend_per_kind.ABOUT'],
  'flag-not-declared': [FLAG],
  'flag-mla-decode-fails': [FLAG],
  'flag-mla-no-qv': [FLAG],
  'flag-library-missing': [FLAG],
  'flag-host-time': [FLAG],
  'flag-needs-fa4': [FLAG],
  'flag-without-effect': [FLAG],
  'flag-system-fa4-refuses': [FLAG],
  'flag-system-fa4-split-kv': [FLAG],
};

/** The file a fix is made for. */
interface Place {
  readonly path: string;
  readonly text: string;
  readonly kind: ServeFileKind;
  readonly vllmVersion: string;
}

function offered(id: string, title: string, result: ConfigEditResult): readonly ConfigFix[] {
  return result.ok && result.edits.length > 0 ? [{ id: `edit:${id}`, title, edits: result.edits }] : [];
}

function removal(place: Place, name: string): readonly ConfigFix[] {
  const { path, text, kind } = place;
  return offered(
    `remove:${name}`,
    `Remove ${name}`,
    kind === 'vllmYaml' ? removeSetting(text, name) : removeArgument(path, text, kind, name),
  );
}

/** The value of a setting as it is written now. */
function written({ path, text, kind }: Place, name: string): unknown {
  return parseServeFile(path, text, kind)
    .located.filter((each) => each.name === name)
    .at(-1)?.value;
}

function versionAsNumber(place: Place): readonly ConfigFix[] {
  const { path, text, kind, vllmVersion } = place;
  const field = 'flash_attn_version';
  const value = written(place, VERSION);
  if (typeof value !== 'string' || !/^\d$/.test(value)) return [];
  return offered(
    'number',
    `Write ${field} as the number ${value}`,
    kind === 'vllmYaml'
      ? editAttentionField(text, { field, value: Number(value) }, vllmVersion)
      : replaceValue(path, text, kind, VERSION, value, Number(value)),
  );
}

/** FA4 as the release has it, in place of the flag that it does not have, or beside one that needs it. */
function versionFour(place: Place, insteadOfFlag: boolean): readonly ConfigFix[] {
  const { text, kind, vllmVersion } = place;
  const { release } = resolveRelease(vllmVersion);
  const takesFour = within(release, '0.17.0') && attentionConfigFields(release).includes('flash_attn_version');
  if (kind !== 'vllmYaml' || !takesFour || written(place, VERSION) === 4) return [];
  const removed = insteadOfFlag ? removeSetting(text, FLAG) : { ok: true as const, edits: [] };
  if (!removed.ok) return [];
  const without = applyTextEdits(text, removed.edits);
  const set = editAttentionField(without, { field: 'flash_attn_version', value: 4 }, vllmVersion);
  if (!set.ok) return [];
  const result = applyTextEdits(without, set.edits);
  if (insteadOfFlag && written({ ...place, text: result }, FLAG) !== undefined) return [];
  return offered('fa4', insteadOfFlag ? 'Write flash_attn_version: 4 instead' : 'Set flash_attn_version: 4 as well', {
    ok: true,
    edits: difference(text, result),
  });
}

/** One edit that turns a text into another; none when they are equal. */
function difference(before: string, after: string): readonly ConfigTextEdit[] {
  if (before === after) return [];
  let start = 0;
  while (start < before.length && before[start] === after[start]) start += 1;
  let end = 0;
  const room = Math.min(before.length, after.length) - start;
  while (end < room && before[before.length - 1 - end] === after[after.length - 1 - end]) end += 1;
  return [{ offset: start, length: before.length - start - end, newText: after.slice(start, after.length - end) }];
}

/** bfloat16 where the GPU has none. */
function halfPrecision({ path, text, kind }: Place): readonly ConfigFix[] {
  return offered('half', 'Write dtype half', replaceValue(path, text, kind, 'dtype', 'half', 'half'));
}

function moreFixes(code: string, about: string, place: Place): readonly ConfigFix[] {
  switch (code) {
    case 'flash-attn-version-string':
      return versionAsNumber(place);
    case 'unknown-config-field':
      return about === SYSTEM_FLASH_ATTN_FIELD ? versionFour(place, true) : [];
    case 'flag-needs-fa4':
      return versionFour(place, false);
    case 'bfloat16-unsupported':
      return halfPrecision(place);
    case 'dead-env-variable':
    case 'deprecated-env-variable':
      return offered(`remove:${about}`, `Remove ${about}`, removeVariable(place.path, place.text, place.kind, about));
    default:
      return [];
  }
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
  const kind = serveFileKind(path, text);
  if (kind === null) return [];
  const about = finding.id.startsWith(`${finding.code}:`) ? finding.id.slice(finding.code.length + 1) : '';
  const place: Place = { path, text, kind, vllmVersion };
  const names = (REMOVALS[finding.code] ?? []).map((pattern) => pattern.replace('ABOUT', about));
  return [...names.flatMap((name) => removal(place, name)), ...moreFixes(finding.code, about, place)];
}
