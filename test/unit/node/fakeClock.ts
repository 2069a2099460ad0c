/** A clock that stands still until it is moved. */
import type { Clock } from '../../../extension/core/async';

export class FakeClock implements Clock {
  #nowMs = 0;
  readonly #timers = new Map<number, { dueMs: number; callback: () => void }>();
  #nextTimer = 1;

  nowMs(): number {
    return this.#nowMs;
  }

  schedule(delayMs: number, callback: () => void): () => void {
    const id = this.#nextTimer++;
    this.#timers.set(id, { dueMs: this.#nowMs + delayMs, callback });
    return () => this.#timers.delete(id);
  }

  /** Timers not yet fired or taken back. */
  get pending(): number {
    return this.#timers.size;
  }

  /** Milliseconds until the next timer; `null` without one. */
  get nextDueInMs(): number | null {
    const due = [...this.#timers.values()].map((timer) => timer.dueMs - this.#nowMs);
    return due.length === 0 ? null : Math.min(...due);
  }

  /** Moves on, firing what becomes due in order. */
  advance(ms: number): void {
    const endMs = this.#nowMs + ms;
    for (;;) {
      const due = [...this.#timers.entries()]
        .filter(([, timer]) => timer.dueMs <= endMs)
        .sort((a, b) => a[1].dueMs - b[1].dueMs || a[0] - b[0])[0];
      if (due === undefined) break;
      const [id, timer] = due;
      this.#timers.delete(id);
      this.#nowMs = timer.dueMs;
      timer.callback();
    }
    this.#nowMs = endMs;
  }
}
