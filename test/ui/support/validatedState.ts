/** A state in which the installed vLLM was asked itself and contradicts the catalog. */
import facts from '../../fixtures/environments/vllm-0.33.0.facts.json' with { type: 'json' };
import * as v from 'valibot';
import { environmentFactsSchema } from '../../../extension/core/environment';
import { validationKey, validationQuestion, type ValidationAnswer } from '../../../extension/core/rules/validation';
import type { AppState } from '../../../extension/core/state/appState';
import { currentRequest } from '../../../extension/core/state/derive';
import { loading, ready } from '../../../extension/core/state/store';
import { VALIDATION_HEAD } from '../../unit/core/rules/validationFixtures';
import { evaluated, hopperState } from './states';

/** vLLM is installed, and was not asked yet. */
export function askableState(): AppState {
  const environment = ready(v.parse(environmentFactsSchema, facts));
  return evaluated({ ...hopperState(), trusted: true, environment });
}

/** It is being asked. */
export function askingState(): AppState {
  const state = askableState();
  return { ...state, validation: loading(state.validation) };
}

/** It answered: TRITON_ATTN for every layer group, which is not what the catalog says. */
export function validatedState(): AppState {
  const state = askableState();
  const request = currentRequest(state);
  if (request === null) throw new Error('the state asks nothing');
  const answer: ValidationAnswer = {
    ...VALIDATION_HEAD,
    cases: validationQuestion(request, false).cases.map(({ id }) => ({
      id,
      unsupported: [],
      answer: {
        priority: ['TRITON_ATTN'],
        perBackend: { FLASH_ATTN: ['head_size not supported'], TRITON_ATTN: [] },
        raised: {},
        selected: 'TRITON_ATTN',
        error: null,
        errorType: null,
        faVersion: 3,
        faVersionBare: 3,
      },
    })),
    durationMs: 30_000,
  };
  return evaluated({
    ...state,
    validation: ready({ kind: 'answered', key: validationKey(request), answer }),
  });
}
