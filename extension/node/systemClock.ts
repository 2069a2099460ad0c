/** The real clock. */
import { performance } from 'node:perf_hooks';
import type { Clock } from '../core/async';

export const systemClock: Clock = {
  nowMs: () => performance.now(),
  schedule: (delayMs, callback) => {
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  },
};
