/** Which interpreter is meant, and what is known of it. Pure. */
import type { AppState } from './appState';
import { IDLE, known, loading } from './store';

/** False only when what is known of the environment was found under this very interpreter. */
export function mustInspect(state: Pick<AppState, 'environment' | 'interpreter'>, interpreter: string | null): boolean {
  return known(state.environment) === null || state.interpreter !== interpreter;
}

/**
 * The state while an interpreter is inspected; `null` = there is none. Of the same one the last answers stay; those of
 * another one say nothing about it.
 */
export function inspecting(state: AppState, interpreter: string | null): AppState {
  if (state.interpreter === interpreter) return { ...state, environment: loading(state.environment) };
  return { ...state, interpreter, environment: loading(IDLE), validation: IDLE };
}
