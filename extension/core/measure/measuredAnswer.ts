/** What one row says about the question "works", and how it is put into words. */
import type { ResultRow } from '../attentionCase';
import { BUNDLED_ENGINE, engineLabel } from './engines';

/** How a case ended, as far as it says something about the code that ran. */
export interface MeasuredAnswer {
  readonly outcome: 'right' | 'wrong' | 'refused' | 'failed' | 'crashed';
  /** The engine's own words, or what was seen. */
  readonly words: string;
}

/** Reasons of a library's row that are the library's; every other one is ours, or the machine's, and says nothing about it. */
const REFUSED_BY_LIBRARY = 'refusedByLibrary';
const FAILED_IN_LIBRARY: ReadonlySet<string> = new Set(['libraryFailed', 'libraryExited']);
/** Its processes ended, but over other cases. */
const NOT_TRIED = 'gaveUp';

/** `null` when the row says nothing about whether it works: cancelled, timed out, out of memory, not tried, not our reading. */
export function measuredAnswer({ engine, result }: ResultRow): MeasuredAnswer | null {
  const words = result.reason?.text ?? '';
  const code = result.reason?.code ?? '';
  switch (result.status) {
    case 'ok':
      return {
        outcome: 'right',
        words: `Ran here and is right: relative error ${result.relError?.toExponential(1) ?? 'not stated'} over ${result.checkedRows} rows.`,
      };
    case 'wrong':
      return { outcome: 'wrong', words: words === '' ? 'Ran here and is wrong.' : words };
    case 'unsupported':
      return engine === BUNDLED_ENGINE || code === REFUSED_BY_LIBRARY ? { outcome: 'refused', words } : null;
    case 'crashed':
      return engine === BUNDLED_ENGINE || code === NOT_TRIED ? null : { outcome: 'crashed', words };
    case 'failed':
      return FAILED_IN_LIBRARY.has(code) ? { outcome: 'failed', words } : null;
    case 'timeout':
    case 'outOfMemory':
    case 'cancelled':
      return null;
  }
}

/** The words of an answer with who was called: a direct call, which is not vLLM. */
export function measuredText(engine: string, answer: MeasuredAnswer): string {
  if (engine === BUNDLED_ENGINE) return answer.words;
  const label = engineLabel(engine);
  switch (answer.outcome) {
    case 'right':
      return `Direct call of ${label}. ${answer.words}`;
    case 'wrong':
      return `Direct call of ${label}. Wrong: ${answer.words}`;
    case 'refused':
      return `Direct call of ${label}. Refused: ${answer.words}`;
    case 'failed':
      return `Direct call of ${label}. Failed: ${answer.words}`;
    case 'crashed':
      return `Direct call of ${label}. Crashed: ${answer.words}`;
  }
}
