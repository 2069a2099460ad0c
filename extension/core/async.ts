/**
 * Time and cancellation as plain interfaces, so that code without Node or DOM types can wait and be stopped,
 * and tests can run supervision without waiting.
 */

import { DiagError } from './errors';

/** A clock that can be replaced by a test. Milliseconds throughout. */
export interface Clock {
  /** Milliseconds since some fixed point; never goes back. */
  nowMs(): number;
  /** Calls `callback` once after `delayMs`; the returned function takes it back. */
  schedule(delayMs: number, callback: () => void): () => void;
}

/** The part of `AbortSignal` that is used; an `AbortSignal` fits. */
export interface CancelSignal {
  readonly aborted: boolean;
  addEventListener(type: 'abort', listener: () => void, options?: { once?: boolean }): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}

/** The sending side of a {@link CancelSignal}, for code that has no `AbortController`. */
export class CancelSource {
  readonly #listeners = new Set<() => void>();
  #aborted = false;
  readonly signal: CancelSignal;

  constructor() {
    const isAborted = (): boolean => this.#aborted;
    this.signal = {
      get aborted() {
        return isAborted();
      },
      addEventListener: (_type, listener) => {
        this.#listeners.add(listener);
      },
      removeEventListener: (_type, listener) => {
        this.#listeners.delete(listener);
      },
    };
  }

  /** Tells every listener, once. */
  cancel(): void {
    if (this.#aborted) return;
    this.#aborted = true;
    const listeners = [...this.#listeners];
    this.#listeners.clear();
    for (const listener of listeners) listener();
  }
}

/** Calls `listener` when `signal` aborts, at once when it already has; returns how to stop listening. */
export function onCancel(signal: CancelSignal | undefined, listener: () => void): () => void {
  if (signal === undefined) return () => undefined;
  if (signal.aborted) {
    listener();
    return () => undefined;
  }
  signal.addEventListener('abort', listener, { once: true });
  return () => signal.removeEventListener('abort', listener);
}

/** Resolves after `delayMs` on `clock`, or at once with `false` when `signal` aborts. */
export function sleep(clock: Clock, delayMs: number, signal?: CancelSignal): Promise<boolean> {
  return new Promise((resolve) => {
    let stopListening = (): void => undefined;
    const unschedule = clock.schedule(delayMs, () => {
      stopListening();
      resolve(true);
    });
    stopListening = onCancel(signal, () => {
      unschedule();
      resolve(false);
    });
  });
}

/** Waits for shared work that others may go on waiting for: an abort rejects with `cancelled` and leaves the work alone. */
export function abandonable<T>(work: Promise<T>, signal: CancelSignal | undefined): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const stopListening = onCancel(signal, () => reject(new DiagError('cancelled', {})));
    work.then(
      (value) => {
        stopListening();
        resolve(value);
      },
      (error: unknown) => {
        stopListening();
        reject(DiagError.from(error));
      },
    );
  });
}
