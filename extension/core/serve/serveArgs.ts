/** State → the arguments of `vllm serve` that pin what is on screen, in the spelling of the release. */
import type { AppState } from '../state/appState';
import { fieldEffect, flashAttnVersionValues } from '../catalog/configFields';
import { resolveRelease, within } from '../catalog/releases';
import { DiagError } from '../errors';
import { known } from '../state/store';
import { answerInForce } from '../view/viewModelsMatrix';

/** Arguments to paste, and what had to be left out. */
export interface ServeArgs {
  /** One line; environment variables in front for releases that had no arguments for it. */
  readonly text: string;
  /** Sentence about what is not in it; `null` = nothing is missing. */
  readonly note: string | null;
}

/**
 * The arguments. `use_system_flash_attn` is only among them where the release declares the field: elsewhere start-up would
 * abort or drop it. Throws `usage` when no single backend is selected for all layers.
 */
export function serveArgs(state: AppState): ServeArgs {
  const derived = known(state.derived);
  if (derived === null) {
    throw new DiagError('usage', {
      problem: 'There is nothing to copy yet: probe this machine or choose an SM family in the panel first.',
    });
  }
  const { evaluation } = answerInForce(state, derived);
  const backends = new Set(evaluation.selections.map((selection) => selection.backend));
  const [backend] = backends;
  if (backends.size !== 1 || backend === undefined || backend === null) {
    throw new DiagError('usage', {
      problem:
        'The layers of this request do not all get one known backend, so one argument cannot pin it. Ask for one head size, or leave the choice to vLLM.',
    });
  }
  const { release } = resolveRelease(evaluation.catalog.evaluatedAs);
  const versions = new Set(evaluation.selections.map((selection) => selection.flashAttnVersion));
  const [version] = versions;
  const pinned = versions.size === 1 ? (version ?? null) : null;
  const words: string[] = [];
  if (within(release, '0.13.0')) {
    words.push('--attention-backend', backend);
    if (pinned !== null && flashAttnVersionValues(release).includes(pinned)) {
      words.push(`--attention-config.flash_attn_version=${pinned}`);
    }
  } else {
    words.push(`VLLM_ATTENTION_BACKEND=${backend}`);
    if (pinned === 2 || pinned === 3) words.push(`VLLM_FLASH_ATTN_VERSION=${pinned}`);
  }
  const effect = fieldEffect(release, 'use_system_flash_attn');
  if (state.flag.value && effect === 'declared') words.push('--attention-config.use_system_flash_attn=true');
  return {
    text: words.join(' '),
    note: state.flag.value && effect !== 'declared' ? FLAG_NOTES[effect](release) : null,
  };
}

const FLAG_NOTES: Record<'ignored' | 'aborts' | 'noConfigClass', (release: string) => string> = {
  ignored: (release) =>
    `use_system_flash_attn is left out: vLLM ${release} has no such field and would drop it silently.`,
  aborts: (release) =>
    `use_system_flash_attn is left out: vLLM ${release} has no such field and would not start with it.`,
  noConfigClass: (release) => `use_system_flash_attn is left out: vLLM ${release} has no attention configuration.`,
};
