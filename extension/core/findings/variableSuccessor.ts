/**
 * What to do in place of an environment variable that a field of `attention_config` took over: a sentence, and an option to
 * copy where the release takes it beside everything else the file sets.
 */
import { attentionConfigFields, flashAttnVersionValues } from '../catalog/configFields';
import { memberKind } from '../catalog/registry';
import { within, type Release } from '../catalog/releases';
import { readBackendName } from '../catalog/select';
import type { LocatedSetting } from '../serve/serveConfigArgs';
import { copyFix, type Fix } from '../verdict';

/** The next step, and what can be copied for it. */
export interface Instead {
  readonly text: string;
  readonly fixes: readonly Fix[];
}

const step = (text: string, ...options: readonly string[]): Instead => ({
  text,
  fixes: options.map((option) => copyFix(option)),
});

/**
 * A variable's value as the release takes it for the field, `null` when it does not: a release refuses names it does not
 * have (CFG-5) and versions outside its own (CFG-3, CFG-4), and other platforms' backends do not start on CUDA.
 */
function valueOfField(release: Release, field: string, value: string): string | null {
  switch (field) {
    case 'backend': {
      const kind = memberKind(release, value.toUpperCase());
      return kind === 'catalogued' || kind === 'modelDriven' ? value : null;
    }
    case 'flash_attn_version':
      return flashAttnVersionValues(release).map(String).includes(value) ? value : null;
    case 'flash_attn_max_num_splits_for_cuda_graph':
      return /^[1-9]\d*$/.test(value) ? value : null;
    default:
      // On/off variables are whole numbers (envs.py). 0.21.0 declares the cuDNN field but raises when it is on (§1.1).
      if (value === '1') return field === 'use_cudnn_prefill' && within(release, '0.21.0') ? null : 'true';
      return value === '0' ? 'false' : null;
  }
}

/** Values that leave the choice to vLLM, as it does anyway. */
function saysNothing(release: Release, field: string, value: string): boolean {
  return value === '' || (field === 'backend' && readBackendName(release, value).kind === 'automatic');
}

/**
 * The next step for a variable with a value (`null` = only known when it runs) and the field that took over (`null` = none),
 * given what else is set.
 */
export function insteadOfVariable(
  release: Release,
  field: string | null,
  value: string | null,
  located: readonly LocatedSetting[],
): Instead {
  if (field === null || !attentionConfigFields(release).includes(field)) return step('Remove it.');
  if (value !== null && saysNothing(release, field, value)) return step('Remove it.');
  const isSet = (name: string): boolean => located.some((setting) => setting.name === name && setting.value !== null);
  // attention_backend and attention_config.backend exclude each other (§1.2).
  const own = [`attention_config.${field}`, ...(field === 'backend' ? ['attention_backend'] : [])].find(isSet);
  if (own !== undefined) return step(`Remove it; ${own} is set in this file.`);
  const taken = value === null ? null : valueOfField(release, field, value);
  if (value !== null && taken === null) {
    // A name without a class behind it may be one that a plug-in registers.
    const alone = field === 'backend' && memberKind(release, value.toUpperCase()) !== null;
    return step(
      `Remove it; vLLM ${release} does not take ${value} as ${field}${alone ? ' on CUDA without a plug-in' : ''}.`,
    );
  }
  // A dotted option replaces a configuration given as one value, or with the other spelling (-ac.x), as a whole
  // (utils/argparse_utils.py); attention_backend is put into whatever there is.
  const beside = located.some((setting) => setting.name.startsWith('attention_config.'));
  if (beside && field !== 'backend') {
    return step(`Set ${field} where the attention config of this file is set; an option of its own could replace it.`);
  }
  const option = beside ? '--attention-backend' : `--attention-config.${field}`;
  return step(`Use ${option} instead.`, ...(taken === null ? [] : [`${option}=${taken}`]));
}
