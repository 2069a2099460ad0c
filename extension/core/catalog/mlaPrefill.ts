/**
 * The MLA prefill backend, chosen apart from the decode backend since 0.21.0:
 * `v1/attention/backends/mla/prefill/` (order in `platforms/interface.py` from 0.32.0 on).
 */
import { resolveFlashAttnVersion } from './flashAttnVersion';
import type { QueryDtype, SelectorContext } from './query';
import { within, type Release } from './releases';

/** `qk_nope_head_dim`, `qk_rope_head_dim`, `v_head_dim` of a model. */
export type MlaDimensions = readonly [nope: number, rope: number, v: number];

/** Outcome of the prefill selection. */
export interface MlaPrefillSelection {
  /** `null` = none, see `error`. */
  readonly backend: string | null;
  readonly explicit: boolean;
  /** The exception text vLLM would raise. */
  readonly error: string | null;
  /** Reasons against each backend that was tried and refused, in order. */
  readonly refused: readonly { readonly backend: string; readonly reasons: readonly string[] }[];
  /** Where the choice is written. */
  readonly source: string;
}

const NAMES: readonly { readonly name: string; readonly since: Release }[] = [
  { name: 'FLASH_ATTN', since: '0.21.0' },
  { name: 'FLASHINFER', since: '0.21.0' },
  { name: 'TRTLLM_RAGGED', since: '0.21.0' },
  { name: 'TOKENSPEED_MLA', since: '0.21.0' },
];

/** Backends on CUDA a release takes for `mla_prefill_backend`; empty before 0.21.0. */
export function mlaPrefillBackends(release: Release): readonly string[] {
  return NAMES.filter((entry) => within(release, entry.since)).map((entry) => entry.name);
}

const DEEPSEEK: MlaDimensions = [128, 64, 128];
const GLM: MlaDimensions = [192, 64, 256];
const MISTRAL: MlaDimensions = [64, 64, 128];
const ROPE_FREE: MlaDimensions = [256, 0, 256];

const same = (a: MlaDimensions, b: MlaDimensions): boolean => a.every((value, index) => value === b[index]);

/** How Python prints `MLADimensions`. */
const shown = ([nope, rope, v]: MlaDimensions): string =>
  `(qk_nope_head_dim=${nope}, qk_rope_head_dim=${rope}, v_head_dim=${v})`;

/** Dimensions FLASH_ATTN takes; `null` = any (up to 0.25.1). */
function flashAttnDimensions(context: SelectorContext): readonly MlaDimensions[] | null {
  const { release } = context;
  if (!within(release, '0.26.0')) {
    return null;
  }
  if (within(release, '0.30.0')) {
    return [DEEPSEEK, GLM, MISTRAL, ROPE_FREE];
  }
  const withoutGlm = within(release, '0.26.0', '0.26.0') && resolveFlashAttnVersion(context).version === 4;
  return withoutGlm ? [DEEPSEEK, MISTRAL] : [DEEPSEEK, GLM, MISTRAL];
}

function acceptedDimensions(name: string, context: SelectorContext): readonly MlaDimensions[] | null {
  if (name === 'FLASH_ATTN') {
    return flashAttnDimensions(context);
  }
  return name === 'TRTLLM_RAGGED' && within(context.release, '0.24.0') ? [DEEPSEEK, GLM] : [DEEPSEEK];
}

function isAvailable(name: string, context: SelectorContext): boolean {
  const { flashinfer, tokenspeedMla } = context.libraries;
  return name === 'FLASH_ATTN' || (name === 'TOKENSPEED_MLA' ? tokenspeedMla : flashinfer);
}

/** `validate_configuration` of a prefill backend. */
function reasonsAgainst(
  name: string,
  dimensions: MlaDimensions,
  dtype: QueryDtype,
  context: SelectorContext,
): readonly string[] {
  const { release, capability } = context;
  const reasons: string[] = [];
  if (name !== 'FLASH_ATTN' && capability[0] !== 10) {
    reasons.push(`compute capability ${capability.join('.')} not supported`);
  }
  if (dtype === 'float32') {
    reasons.push(`dtype torch.${dtype} not supported`);
  }
  if (!isAvailable(name, context)) {
    reasons.push(
      name === 'TOKENSPEED_MLA'
        ? 'tokenspeed_mla package is not installed. Install it with: `uv pip install tokenspeed-mla`'
        : 'required dependencies not available',
    );
  }
  const accepted = acceptedDimensions(name, context);
  if (accepted !== null && !accepted.some((entry) => same(entry, dimensions))) {
    if (!within(release, '0.24.0')) {
      reasons.push(
        'model does not have DeepSeek R1 MLA dimensions (qk_nope_head_dim=128, qk_rope_head_dim=64, v_head_dim=128)',
      );
    } else {
      // FLASH_ATTN decides in code, so vLLM has no list to print for it.
      const list = name === 'FLASH_ATTN' ? '' : `; supported: ${accepted.map(shown).join(', ')}`;
      reasons.push(`Model does not have supported MLA dimensions (got ${shown(dimensions)}${list})`);
    }
  }
  return reasons;
}

function priorities(dimensions: MlaDimensions, context: SelectorContext): readonly string[] {
  if (context.capability[0] !== 10) {
    return ['FLASH_ATTN'];
  }
  return within(context.release, '0.27.0') && same(dimensions, GLM)
    ? ['TRTLLM_RAGGED', 'FLASH_ATTN', 'FLASHINFER', 'TOKENSPEED_MLA']
    : ['FLASH_ATTN', 'TRTLLM_RAGGED', 'FLASHINFER', 'TOKENSPEED_MLA'];
}

/** Chooses the prefill backend of dense MLA layers; `null` before 0.21.0, where flags decided. */
export function selectMlaPrefill(
  asked: string | null,
  dimensions: MlaDimensions,
  dtype: QueryDtype,
  context: SelectorContext,
): MlaPrefillSelection | null {
  const { release } = context;
  if (!within(release, '0.21.0')) {
    return null;
  }
  const file = within(release, '0.32.0') ? 'platforms/interface.py' : 'v1/attention/backends/mla/prefill/selector.py';
  const base = { explicit: asked !== null, source: `vllm ${release} ${file}` };
  if (asked !== null) {
    const name = asked.toUpperCase();
    if (!mlaPrefillBackends(release).includes(name)) {
      return { ...base, backend: null, refused: [], error: `Unknown MLA prefill backend: '${name}'.` };
    }
    const reasons = reasonsAgainst(name, dimensions, dtype, context);
    return reasons.length === 0
      ? { ...base, backend: name, refused: [], error: null }
      : {
          ...base,
          backend: null,
          refused: [{ backend: name, reasons }],
          error: `Selected MLA prefill backend ${name} is not valid for this configuration. Reason: [${reasons.map((text) => `'${text}'`).join(', ')}]`,
        };
  }
  const refused: { backend: string; reasons: readonly string[] }[] = [];
  for (const name of priorities(dimensions, context)) {
    const reasons = reasonsAgainst(name, dimensions, dtype, context);
    if (reasons.length === 0) {
      return { ...base, backend: name, refused, error: null };
    }
    refused.push({ backend: name, reasons });
  }
  const list = refused.map((entry) => `${entry.backend}: [${entry.reasons.join(', ')}]`).join(', ');
  return {
    ...base,
    backend: null,
    refused,
    error: `No valid MLA prefill backend found for MLA dimensions ${shown(dimensions)}. Reasons: {${list}}.`,
  };
}
