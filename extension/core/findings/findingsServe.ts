/**
 * Findings about what a serve file says under a release: dead environment variables, settings that exclude each other,
 * fields the release does not have, values of the wrong kind. Each points at its place in the file.
 */
import { configSource, fieldEffect, fieldSpan, flashAttnVersionValues } from '../catalog/configFields';
import { envEffect, findEnvVariable } from '../catalog/envVars';
import { kvCacheDtypes } from '../catalog/kvCacheDtype';
import { resolveRelease, within, type Release } from '../catalog/releases';
import { locateFindings, type FindingRanges, type FindingSetting } from './findings';
import { insteadOfVariable } from './variableSuccessor';
import { passingText, SYSTEM_FLASH_ATTN_FIELD } from '../rules/flashAttnFlag';
import type { ParsedServe } from '../serve/serveConfig';
import type { LocatedSetting } from '../serve/serveConfigArgs';
import { copyFix, type Finding, type Fix, type Severity, type Source, type SourceRange } from '../verdict';

/** The parts of a parsed serve file that are judged here. */
export type JudgedServe = Pick<ParsedServe, 'located' | 'env'>;

const last = (located: readonly LocatedSetting[], name: string): LocatedSetting | undefined =>
  located.filter((setting) => setting.name === name).at(-1);

function make(
  code: string,
  about: string,
  severity: Severity,
  title: string,
  detail: string,
  source: Source,
  range: SourceRange,
  fixes: readonly Fix[] = [],
): Finding {
  return { id: `${code}:${about}`, code, severity, title, detail, level: 'declared', source, range, fixes };
}

function deadVariables(release: Release, { env, located }: JudgedServe): readonly Finding[] {
  const strict = last(located, 'fail_on_environ_validation')?.value === true;
  return env.flatMap((entry): readonly Finding[] => {
    const effect = envEffect(release, entry.name);
    const variable = findEnvVariable(entry.name);
    if (variable === undefined || effect === 'read' || effect === 'notCatalogued') {
      return [];
    }
    const source: Source = { where: `vllm ${release} envs.py` };
    const instead = insteadOfVariable(release, variable.replacedBy, entry.value, located);
    if (effect === 'deprecated') {
      return [
        make(
          'deprecated-env-variable',
          entry.name,
          'warning',
          `${entry.name} overrides the configuration, but is deprecated`,
          `vLLM ${release} still reads it; it is gone from 0.15.0 on. ${instead.text}`,
          source,
          entry.range,
          instead.fixes,
        ),
      ];
    }
    const stops = effect === 'unknownWarning' && strict;
    const consequence =
      effect === 'ignored'
        ? `vLLM ${release} ignores it without a word.`
        : stops
          ? `vLLM ${release} stops: Unknown vLLM environment variable detected: ${entry.name}.`
          : `vLLM ${release} only warns: Unknown vLLM environment variable detected: ${entry.name}.`;
    return [
      make(
        'dead-env-variable',
        entry.name,
        stops ? 'error' : 'warning',
        `${entry.name} has no effect in vLLM ${release}`,
        `It was read up to ${variable.until ?? ''}. ${consequence} ${instead.text}`,
        source,
        entry.range,
        instead.fixes,
      ),
    ];
  });
}

function exclusiveBackends(release: Release, { located }: JudgedServe): readonly Finding[] {
  const flag = last(located, 'attention_backend');
  const field = last(located, 'attention_config.backend');
  return flag === undefined || field === undefined || field.value === null || !within(release, '0.13.0')
    ? []
    : [
        make(
          'exclusive-backends',
          'backend',
          'error',
          'The backend is given twice',
          'Start-up stops: attention_backend and attention_config.backend are mutually exclusive. Keep one of them.',
          { where: `vllm ${release} engine/arg_utils.py` },
          flag.range,
        ),
      ];
}

/** `--attention-backend` before 0.13.0 (attention-selection.md §1.2). */
function unknownOption(release: Release, { located }: JudgedServe): readonly Finding[] {
  const setting = last(located, 'attention_backend');
  if (setting === undefined || within(release, '0.13.0')) {
    return [];
  }
  const variable =
    typeof setting.value === 'string' && /^\w+$/.test(setting.value)
      ? [copyFix(`VLLM_ATTENTION_BACKEND=${setting.value}`)]
      : [];
  return [
    make(
      'unknown-option',
      'attention_backend',
      'error',
      `vLLM ${release} has no --attention-backend`,
      `It exists from 0.13.0 on; start-up stops at the unknown option, and the setting does not count here. Set the environment variable VLLM_ATTENTION_BACKEND instead.`,
      { where: `vllm ${release} engine/arg_utils.py` },
      setting.range,
      variable,
    ),
  ];
}

function unknownFields(requested: string, release: Release, { located }: JudgedServe): readonly Finding[] {
  const seen = new Set<string>();
  return located.flatMap((setting): readonly Finding[] => {
    const field = /^attention_config\.([^.]+)/.exec(setting.name)?.[1];
    if (field === undefined || seen.has(field)) {
      return [];
    }
    const effect = fieldEffect(release, field);
    if (effect === 'declared') {
      return [];
    }
    seen.add(field);
    const span = fieldSpan(field);
    const where =
      field === SYSTEM_FLASH_ATTN_FIELD
        ? 'No release declares it; for FA4 use flash_attn_version: 4.'
        : span === null
          ? 'No release declares it; check the spelling.'
          : `It exists from ${span.since}${span.until === null ? ' on' : ` to ${span.until}`}.`;
    const text =
      field === SYSTEM_FLASH_ATTN_FIELD
        ? passingText(resolveRelease(requested).stamp, effect)
        : effect === 'aborts'
          ? 'Start-up stops with "Unexpected keyword argument".'
          : effect === 'ignored'
            ? 'It is silently ignored.'
            : 'This release has no --attention-config; start-up stops at the unknown option.';
    return [
      make(
        'unknown-config-field',
        field,
        effect === 'ignored' ? 'warning' : 'error',
        `vLLM ${release} has no attention_config.${field}`,
        `${text} ${where}`,
        { where: configSource(release), ruleId: effect === 'aborts' ? 'CFG-2' : 'CFG-1' },
        setting.range,
      ),
    ];
  });
}

function versionAsString(release: Release, { located }: JudgedServe): readonly Finding[] {
  const setting = last(located, 'attention_config.flash_attn_version');
  const allowed = flashAttnVersionValues(release);
  return setting === undefined || typeof setting.value !== 'string' || allowed.length === 0
    ? []
    : [
        make(
          'flash-attn-version-string',
          'flash_attn_version',
          'error',
          'flash_attn_version is a string',
          `Start-up stops: Input should be ${allowed.slice(0, -1).join(', ')} or ${allowed.at(-1) ?? ''}. Write the number without quotes.`,
          { where: configSource(release), ruleId: 'CFG-4' },
          setting.range,
        ),
      ];
}

function kvDtype(release: Release, { located }: JudgedServe): readonly Finding[] {
  const setting = last(located, 'kv_cache_dtype');
  const known = kvCacheDtypes(release);
  return setting === undefined || typeof setting.value !== 'string' || known.includes(setting.value)
    ? []
    : [
        make(
          'unknown-kv-cache-dtype',
          'kv_cache_dtype',
          'error',
          `vLLM ${release} has no KV cache dtype ${setting.value}`,
          `Start-up stops. Values of this release: ${known.join(', ')}.`,
          { where: `vllm ${release} config/cache.py` },
          setting.range,
        ),
      ];
}

function nestedYaml(release: Release, { located }: JudgedServe): readonly Finding[] {
  const nested = located.find((setting) => setting.form === 'yaml' && setting.name.startsWith('attention_config.'));
  return nested === undefined || within(release, '0.16.0')
    ? []
    : [
        make(
          'nested-yaml-unsupported',
          'attention_config',
          'error',
          `vLLM ${release} takes no nested attention-config in YAML`,
          'Nested mappings in the --config file work from 0.16.0 on. Pass --attention-config on the command line, or upgrade.',
          { where: `vllm ${release} utils/argparse_utils.py` },
          nested.range,
        ),
      ];
}

/** What is wrong with a serve file under a release (as asked for, `0.33.0`). Too-old releases are not judged. */
export function serveFindings(vllmVersion: string, parsed: JudgedServe): readonly Finding[] {
  const { release, stamp } = resolveRelease(vllmVersion);
  if (stamp.match === 'tooOld') {
    return [];
  }
  return [
    ...deadVariables(release, parsed),
    ...exclusiveBackends(release, parsed),
    ...unknownOption(release, parsed),
    ...unknownFields(vllmVersion, release, parsed),
    ...versionAsString(release, parsed),
    ...kvDtype(release, parsed),
    ...nestedYaml(release, parsed),
  ];
}

const SETTING_NAMES: Readonly<Record<FindingSetting, readonly string[]>> = {
  backend: ['attention_config.backend', 'attention_backend'],
  flashAttnVersion: ['attention_config.flash_attn_version'],
  blockSize: ['block_size'],
  kvCacheDtype: ['kv_cache_dtype'],
  backendPerKind: ['attention_config.backend_per_kind'],
  dtype: ['dtype'],
  useSystemFlashAttn: [`attention_config.${SYSTEM_FLASH_ATTN_FIELD}`],
};

/** Where the settings that findings of `evaluate` point at were written. */
export function findingRanges(located: readonly LocatedSetting[]): FindingRanges {
  const ranges: Partial<Record<FindingSetting, SourceRange>> = {};
  for (const [setting, names] of Object.entries(SETTING_NAMES) as [FindingSetting, readonly string[]][]) {
    const found = located.filter((entry) =>
      names.some((name) => entry.name === name || entry.name.startsWith(`${name}.`)),
    );
    const place = found.at(-1);
    if (place !== undefined) {
      ranges[setting] = place.range;
    }
  }
  return ranges;
}

/** A request without a serve file. */
export const NOTHING_WRITTEN: JudgedServe = { located: [], env: [] };

/** What is wrong in the file itself, then the findings of the rules with their places; each thing once. */
export function withServeFile(
  findings: readonly Finding[],
  vllmVersion: string,
  written: JudgedServe,
): readonly Finding[] {
  return [...serveFindings(vllmVersion, written), ...placedFindings(findings, vllmVersion, written)];
}

/** Findings of the rules with their places, without those that the file's own findings already make. */
export function placedFindings(
  findings: readonly Finding[],
  vllmVersion: string,
  written: JudgedServe,
): readonly Finding[] {
  const own = serveFindings(vllmVersion, written);
  const unknown = new Set(
    own.filter((finding) => finding.code === 'unknown-config-field').map((finding) => finding.id),
  );
  const said = (finding: Finding): boolean =>
    (finding.code === 'unknown-config-field' && unknown.has('unknown-config-field:backend_per_kind')) ||
    (finding.code === 'flag-not-declared' && unknown.has(`unknown-config-field:${SYSTEM_FLASH_ATTN_FIELD}`));
  return locateFindings(
    findings.filter((finding) => !said(finding)),
    findingRanges(written.located),
  );
}
