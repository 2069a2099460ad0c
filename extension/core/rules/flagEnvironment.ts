/** What the inspected environment says about `use_system_flash_attn`: the field of the installed vLLM, and the system library. */
import { declaresAttentionField, installedVllmVersion, type EnvironmentFacts } from '../environment';
import { sentences } from '../format';
import { SYSTEM_FLASH_ATTN_FIELD, type FlagNote } from './flashAttnFlag';

/** The system library as it is installed, in one or two sentences. */
function libraryNote(facts: EnvironmentFacts | null): FlagNote {
  if (facts === null) {
    return {
      severity: 'info',
      text: 'System library: not looked for, because no Python environment was inspected.',
      source: null,
    };
  }
  const { systemFa4 } = facts;
  if (systemFa4 === null) {
    return {
      severity: 'warning',
      text: 'System library: flash-attn-4 is not installed in the inspected environment.',
      source: facts.python.prefix,
    };
  }
  const { cute, version, importedIsOwn } = systemFa4;
  const hidden = systemFa4.interface === null ? 'its files are gone' : 'another flash_attn is imported instead of it';
  const usable = systemFa4.interface !== null && importedIsOwn;
  const limit = cute?.sm90HeadDimMax ?? null;
  return {
    severity: usable ? 'info' : 'warning',
    text: sentences(
      `System library: flash-attn-4 ${version} is installed${usable ? '' : `, but ${hidden}`}`,
      limit === null ? '' : `On Hopper it takes head sizes up to ${limit}`,
      cute?.refusesSplitKvOnSm90 === true ? 'On Hopper it refuses split-KV' : '',
    ),
    source: systemFa4.interface ?? systemFa4.importedInterface,
  };
}

/**
 * The notes of the rules with what was inspected: whether the installed vLLM has the field overrules what the catalog says of
 * its release, and the library is named as it is.
 */
export function withFlagEnvironment(
  notes: readonly FlagNote[],
  facts: EnvironmentFacts | null,
  vllmVersion: string,
): readonly FlagNote[] {
  const [passing, ...others] = notes;
  const installed = facts !== null && installedVllmVersion(facts) === vllmVersion;
  const declares = installed && declaresAttentionField(facts, SYSTEM_FLASH_ATTN_FIELD) === true;
  const field: readonly FlagNote[] = declares
    ? [
        {
          severity: 'info',
          text: `The installed vLLM ${vllmVersion} declares ${SYSTEM_FLASH_ATTN_FIELD}; it can be written to its YAML.`,
          source: facts.vllm?.attentionConfig?.path ?? null,
        },
      ]
    : passing === undefined
      ? []
      : [passing];
  return [...field, libraryNote(facts), ...others];
}
