/**
 * One run over as many helpers as it takes: a case that crashes or hangs its helper costs its own row, and a new helper
 * goes on with the next case.
 */
import * as v from 'valibot';
import { onCancel, type CancelSignal, type Clock } from '../core/async';
import type { AttentionCase, CaseResult, ResultStatus } from '../core/attentionCase';
import { describeCase } from '../core/measure/caseGrid';
import { emptyResult } from '../core/measure/emptyResult';
import { firstIssue } from '../core/schemaIssue';
import { DiagError } from '../core/errors';
import { errorText, exitWords } from '../core/errorText';
import { runMethod, type RunOptions, type RunParams, type RunProgress, type RunResult } from '../protocol/helperApi';
import { KILL_LADDER_MS, type EndOutcome, type HelperProcess } from './helperProcess';

/** What a helper is asked for: decides whom a stuck one blocks. */
export type HelperPurpose = 'probe' | { readonly deviceId: string };

/** What a run needs of the lender. */
export interface HelperLender {
  /** A running helper, started if needed. Rejects with start errors, `helperStuck`, `cancelled`. */
  acquire(purpose: HelperPurpose, signal?: CancelSignal): Promise<{ helper: HelperProcess; release: () => void }>;
  /** Ends a helper that is not to be used again. */
  discard(helper: HelperProcess, purpose: HelperPurpose, reason: DiagError | null): Promise<EndOutcome>;
  /** The helper did what it was asked: the restart budget is full again. */
  noteSuccess(): void;
  /** It crashed or had to be killed. Throws `helperGaveUp` when the budget is spent. */
  noteFailure(error: DiagError): void;
}

/** Who hears of a run. */
export interface RunListeners {
  readonly onProgress: (progress: RunProgress) => void;
  readonly signal?: CancelSignal | undefined;
  /** The helper has heard the cancel and stops at the end of the current launch. */
  readonly onCancelAck?: () => void;
}

/** Creating a context on a machine without persistence mode takes seconds. */
const CONTEXT_DEADLINE_MS = 60_000;
const CEILINGS_DEADLINE_MS = 60_000;
/** The driver compiles PTX for devices without an image; minutes for all kernels, never for ever. */
const JIT_DEADLINE_MS = 300_000;

/** How long one case may take without PTX compilation: what was asked of it many times over, and a floor for the check. */
export function caseDeadlineMs(options: RunOptions): number {
  const workMs = options.checkOnly ? 0 : 20 * (options.targetMs + options.warmupMs);
  return (options.allowSlowCpu ? 3_600_000 : 60_000) + workMs;
}

type PhaseProgress = Extract<RunProgress, { kind: 'phase' }>;

function phaseDeadlineMs(phase: PhaseProgress['phase'], options: RunOptions): number {
  switch (phase) {
    case 'context':
      return CONTEXT_DEADLINE_MS;
    case 'ceilings':
      return CEILINGS_DEADLINE_MS;
    case 'jit':
      return JIT_DEADLINE_MS;
    case 'allocate':
    case 'check':
    case 'warmup':
    case 'time':
      return caseDeadlineMs(options);
  }
}

/** How one helper's part of the run ended. */
type Part =
  | { readonly kind: 'complete' }
  | { readonly kind: 'cancelled' }
  /** The helper is gone; `caseIndex` is the case it was busy with, if any. */
  | { readonly kind: 'lost'; readonly error: DiagError; readonly caseIndex: number | null };

/** See `HelperClient.run`. Reports exactly one row per case unless it rejects. */
export async function superviseRun(
  lender: HelperLender,
  params: RunParams,
  listeners: RunListeners,
  clock: Clock,
): Promise<RunResult> {
  const open = new Map<number, AttentionCase>(params.cases.entries());
  const finish = (caseIndex: number, result: CaseResult): void => {
    if (open.delete(caseIndex)) listeners.onProgress({ kind: 'row', caseIndex, result });
  };
  const closeRest = (status: ResultStatus, code: string, text: string): void => {
    for (const caseIndex of [...open.keys()]) finish(caseIndex, emptyResult(status, code, text));
  };
  const cancelled = (): RunResult => {
    closeRest('cancelled', 'cancelled', 'Cancelled before it finished.');
    return { ended: 'cancelled' };
  };

  while (open.size > 0) {
    let part: Part;
    try {
      part = await runPart(lender, params, [...open.keys()], listeners, clock, finish);
    } catch (error) {
      if (DiagError.is(error, 'cancelled')) return cancelled();
      throw error;
    }
    if (part.kind === 'cancelled') return cancelled();
    if (part.kind === 'complete') {
      closeRest('failed', 'noResult', 'The helper finished without a result for this case.');
      break;
    }
    const { error, caseIndex } = part;
    if (caseIndex !== null) finish(caseIndex, lostResult(error));
    if (listeners.signal?.aborted === true) return cancelled();
    if (error.code === 'helperStuck') throw error;
    if (open.size === 0) break;
    try {
      lender.noteFailure(error);
    } catch (gaveUp) {
      // Nothing finished at all: there is no table to show, only the reason.
      if (open.size === params.cases.length) throw gaveUp;
      closeRest('failed', 'helperGaveUp', errorText(gaveUp).what);
      break;
    }
  }
  return { ended: 'complete' };
}

function lostResult(error: DiagError): CaseResult {
  if (DiagError.is(error, 'requestTimeout')) {
    const seconds = Math.round(error.data.deadlineMs / 1000);
    return emptyResult('timeout', 'watchdog', `No result within ${seconds} s; the helper was ended.`);
  }
  if (DiagError.is(error, 'helperExited')) {
    const { exitCode, signal } = error.data;
    return emptyResult('crashed', signal ?? `exit ${exitCode ?? '?'}`, `The helper ${exitWords(exitCode, signal)}.`);
  }
  if (DiagError.is(error, 'helperStuck')) {
    return emptyResult('timeout', 'stuckInDriver', errorText(error).what);
  }
  return emptyResult('crashed', error.code, errorText(error).what);
}

/** Runs the cases of `indices` on one helper until it is done, dead or cancelled. Rejects for what no other helper would change. */
async function runPart(
  lender: HelperLender,
  params: RunParams,
  indices: readonly number[],
  listeners: RunListeners,
  clock: Clock,
  finish: (caseIndex: number, result: CaseResult) => void,
): Promise<Part> {
  const cases = indices.map((index) => params.cases[index]).filter((each) => each !== undefined);
  const request = { ...params, cases };
  // Every helper refuses what its schema does not take. Told here, that is no crash of one, and none is started again for it.
  const checked = v.safeParse(runMethod.params, request);
  if (!checked.success) {
    const where = `parameters of ${runMethod.name}`;
    throw new DiagError('invalidMessage', { where, problem: firstIssue(checked.issues) });
  }
  const purpose = { deviceId: params.deviceId };
  const { helper, release } = await lender.acquire(purpose, listeners.signal);
  let current: number | null = null;
  let unwatch = (): void => undefined;
  let watchdog: DiagError | null = null;
  let ended: Promise<EndOutcome> | null = null;

  const watch = (phase: PhaseProgress['phase']): void => {
    unwatch();
    const deadlineMs = phaseDeadlineMs(phase, params.options);
    unwatch = clock.schedule(deadlineMs, () => {
      watchdog = new DiagError('requestTimeout', { method: phase, deadlineMs });
      ended = lender.discard(helper, purpose, watchdog);
    });
  };
  const hear = (progress: RunProgress): void => {
    // The helper counts the cases it was given; the caller counts the cases of the run.
    switch (progress.kind) {
      case 'phase': {
        const caseIndex = progress.caseIndex === null ? null : (indices[progress.caseIndex] ?? null);
        current = caseIndex;
        const running = caseIndex === null ? undefined : params.cases[caseIndex];
        helper.busyWith = running === undefined ? progress.phase : describeCase(running);
        watch(progress.phase);
        listeners.onProgress({ ...progress, caseIndex });
        return;
      }
      case 'row': {
        const caseIndex = indices[progress.caseIndex];
        if (caseIndex === undefined) return;
        current = null;
        lender.noteSuccess();
        // The next case has announced nothing yet; its first sign of life may take as long as a new context.
        watch('context');
        finish(caseIndex, progress.result);
        return;
      }
      case 'ceilings':
        listeners.onProgress(progress);
        return;
    }
  };

  let stopLadder = (): void => undefined;
  const stopListening = onCancel(listeners.signal, () => {
    // The cancel message is on its way; a launch that does not end is not waited for.
    stopLadder = clock.schedule(KILL_LADDER_MS.sigterm, () => {
      ended = lender.discard(helper, purpose, null);
    });
  });
  watch('context');
  try {
    const result = await helper.request(runMethod, request, {
      signal: listeners.signal,
      onProgress: hear,
      onCancelAck: listeners.onCancelAck,
    });
    return result.ended === 'cancelled' ? { kind: 'cancelled' } : { kind: 'complete' };
  } catch (caught) {
    const error = watchdog ?? DiagError.from(caught);
    if (error.code === 'invalidMessage' || error.code === 'messageTooLarge') {
      ended ??= lender.discard(helper, purpose, error);
    }
    if (ended !== null && (await ended) === 'stuck') {
      const stuck = new DiagError('helperStuck', { pid: helper.pid, deviceId: params.deviceId });
      return { kind: 'lost', error: stuck, caseIndex: current };
    }
    const lost: ReadonlySet<string> = new Set([
      'helperExited',
      'requestTimeout',
      'invalidMessage',
      'messageTooLarge',
      'helperStuck',
    ]);
    if (lost.has(error.code)) return { kind: 'lost', error, caseIndex: current };
    throw error;
  } finally {
    unwatch();
    stopLadder();
    stopListening();
    helper.busyWith = null;
    release();
  }
}
