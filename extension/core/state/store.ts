/**
 * The one observable store and the tagged union for everything that arrives later. Surfaces subscribe to selectors;
 * no surface talks to another.
 */

/** Undoes a subscription. Calling it twice is harmless. */
export type Unsubscribe = () => void;

/** Holds one immutable state. Updates are synchronous; listeners run after the state has changed, in order of subscription. */
export class Store<S> {
  readonly #listeners = new Set<() => void>();
  readonly #onListenerError: (error: unknown) => void;
  #state: S;
  #notifying = false;
  #again = false;

  /** @param onListenerError told about a listener that throws; the other listeners still run */
  constructor(initial: S, onListenerError: (error: unknown) => void) {
    this.#state = initial;
    this.#onListenerError = onListenerError;
  }

  get state(): S {
    return this.#state;
  }

  /** Replaces the given members. A patch that changes nothing (by `Object.is`) wakes nobody. */
  patch(members: Partial<S>): void {
    this.update((state) => ({ ...state, ...members }));
  }

  /** Replaces the state by what `reduce` returns. Returning the same object, or one with the same members, wakes nobody. */
  update(reduce: (state: S) => S): void {
    const next = reduce(this.#state);
    if (shallowEqual(next, this.#state)) return;
    this.#state = next;
    this.#notify();
  }

  /**
   * Calls `listener` whenever what `select` returns has changed.
   * @param equal when two selections count as the same; default `Object.is`
   */
  subscribe<T>(
    select: (state: S) => T,
    listener: (selected: T, before: T) => void,
    equal: (a: T, b: T) => boolean = Object.is,
  ): Unsubscribe {
    let last = select(this.#state);
    const check = () => {
      const selected = select(this.#state);
      if (equal(selected, last)) return;
      const before = last;
      last = selected;
      listener(selected, before);
    };
    this.#listeners.add(check);
    return () => {
      this.#listeners.delete(check);
    };
  }

  /** An update made by a listener is delivered after the present round, so that nobody sees an older state after a newer one. */
  #notify(): void {
    if (this.#notifying) {
      this.#again = true;
      return;
    }
    this.#notifying = true;
    try {
      do {
        this.#again = false;
        for (const check of [...this.#listeners]) {
          try {
            check();
          } catch (error) {
            this.#onListenerError(error);
          }
        }
      } while (this.#again);
    } finally {
      this.#notifying = false;
    }
  }
}

/** Same members with identical values; for selectors that build a small object or tuple. */
export function shallowEqual<T>(a: T, b: T): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  const keysOfA = Object.keys(a) as (keyof T)[];
  return keysOfA.length === Object.keys(b).length && keysOfA.every((key) => Object.is(a[key], b[key]));
}

/** What a failed collector leaves behind: a stable code, what happened, and the next step (core/errorText.ts). */
export interface Failure {
  readonly code: string;
  readonly what: string;
  readonly next: string;
}

/** Something collected asynchronously. `lastGood` is what was known before, so that a refresh or a failure hides nothing. */
export type Async<T> =
  | { readonly status: 'idle' }
  | { readonly status: 'loading'; readonly lastGood: T | null }
  | { readonly status: 'ready'; readonly value: T; readonly stale: boolean }
  | { readonly status: 'failed'; readonly failure: Failure; readonly lastGood: T | null };

/** Nothing asked yet. */
export const IDLE = { status: 'idle' } as const;

/** The best value there is, fresh or not; `null` when there never was one. */
export function known<T>(value: Async<T>): T | null {
  switch (value.status) {
    case 'idle':
      return null;
    case 'ready':
      return value.value;
    case 'loading':
    case 'failed':
      return value.lastGood;
  }
}

/** The state to enter when a new collection starts. */
export function loading<T>(before: Async<T>): Async<T> {
  return { status: 'loading', lastGood: known(before) };
}

/** The state to enter when a collection fails. */
export function failed<T>(before: Async<T>, failure: Failure): Async<T> {
  return { status: 'failed', failure, lastGood: known(before) };
}

/** A freshly collected value. */
export function ready<T>(value: T): Async<T> {
  return { status: 'ready', value, stale: false };
}
