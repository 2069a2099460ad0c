/**
 * The exact surface of the native addon. It reports facts and runs cases; it never judges and knows no vLLM.
 * Every method is asynchronous and runs off the JavaScript thread, so that a cancel can always be heard.
 * All results are plain copied objects with the field names and units of extension/core.
 */
import type { AttentionCase, CaseResult, Ceilings } from '../extension/core/attentionCase';
import type { SystemFacts } from '../extension/core/facts';
import type { RunOptions, RunProgress } from '../extension/protocol/helperApi';

export interface AttentionAddon {
  readonly version: string;

  /**
   * Facts at the given level. `nvml` never touches libcuda; `driver` calls cuInit but creates no context.
   * Never rejects for a missing or failing driver: that is what `loadAttempts` and `driverErrors` say.
   * @param kernelDir folder of built kernel modules and their manifest, or null when there is none
   */
  probe(level: 'nvml' | 'driver', kernelDir: string | null): Promise<SystemFacts>;

  /** Opens a device for running: creates the context on a GPU, the thread pool on the CPU. Rejects with `{code, data}`. */
  openDevice(deviceId: string, kernelDir: string | null): Promise<DeviceSession>;
}

/** One opened device. One call at a time; `cancel` may be called during another call. */
export interface DeviceSession {
  /** Measures the read stream, copy and tensor-core ceilings (nulls on the CPU device). */
  ceilings(options: RunOptions): Promise<Ceilings>;
  /**
   * Runs one case: allocate, fill with seeded random data, check against the float64 reference, time, free. With `hold` it is
   * kept until another case comes: asked for again, it is checked and timed without being allocated and filled anew.
   * Never rejects for anything a case can cause; that is the result's `status`.
   * @param onPhase called on the JavaScript thread when the case enters a phase
   */
  runCase(
    attentionCase: AttentionCase,
    options: RunOptions,
    onPhase: (phase: Extract<RunProgress, { kind: 'phase' }>['phase']) => void,
  ): Promise<CaseResult>;
  /** Sets the flag that is checked between launches. Cheap, thread-safe, callable at any time. */
  cancel(): void;
  /** Frees the context. Idempotent. */
  close(): void;
}
