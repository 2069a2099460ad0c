/** What the panel shows about asking the installed vLLM itself. */
import type { AppState } from '../state/appState';
import { currentRequest } from '../state/derive';
import { known } from '../state/store';
import { contradictions, validationKey } from '../rules/validation';

/** The installed vLLM's part of the selection section. */
export interface ValidationView {
  /** There is an environment with vLLM and a question to ask it. */
  readonly canAsk: boolean;
  readonly asking: boolean;
  /** One sentence about the last answer; `null` = it was not asked, or a finding says why it could not be. */
  readonly text: string | null;
  /** It answered the question on screen, so a bug report can be made of it. */
  readonly canReport: boolean;
}

/** From the state; a report on screen has no environment to ask. */
export function validationView(state: AppState): ValidationView {
  const { validation, environment, trusted } = state;
  const asking = validation.status === 'loading';
  const request = state.report === null ? currentRequest(state) : null;
  const canAsk = !asking && trusted && request !== null && known(environment)?.vllm != null;
  const nothing = { canAsk, asking, text: null, canReport: false };
  if (asking) return { ...nothing, text: 'The installed vLLM is being asked; importing it takes 10 to 40 seconds.' };
  const answered = known(validation);
  if (answered === null || request === null || answered.kind === 'failed') return nothing;
  if (answered.key !== validationKey(request)) {
    return { ...nothing, text: 'The installed vLLM was asked about something else; ask again for what is shown.' };
  }
  const { answer } = answered;
  const found = contradictions(request, answer).length;
  const where = `compute capability ${answer.device.capability.join('.')}${answer.device.stated ? ', stated' : ''}`;
  const verdict =
    found === 0
      ? 'it agrees with the catalog'
      : `it contradicts the catalog in ${found} ${found === 1 ? 'place' : 'places'}`;
  return {
    ...nothing,
    text: `The installed vLLM ${answer.vllm} was asked itself (${where}): ${verdict}.`,
    canReport: true,
  };
}
