/**
 * Every error this product raises on purpose: a code from a closed list with the data that belongs to it.
 * Sentences are made from it at the edge (errorText.ts); a status of the driver travels as number and name.
 */

/** The codes and what each of them carries. */
export interface DiagErrorData {
  /** The user asked for it. */
  cancelled: Record<never, never>;
  /** The command line or an intent did not make sense; `problem` is a full sentence. */
  usage: { problem: string };

  /** No answer within the deadline. */
  requestTimeout: { method: string; deadlineMs: number };
  /** The other side does not know this method. */
  unsupportedMethod: { method: string };
  /** A message did not fit its schema; `problem` names the field. */
  invalidMessage: { where: string; problem: string };
  /** A message was longer than the channel takes. */
  messageTooLarge: { limitBytes: number };

  /** The helper process could not be started at all. */
  helperStartFailed: { path: string; problem: string };
  /** The helper speaks another protocol version. */
  helperVersion: { expected: number; got: number };
  /** The helper ended while it was needed; `during` is the method or case it was busy with. */
  helperExited: { exitCode: number | null; signal: string | null; during: string | null };
  /** It failed to start too often in a row. */
  helperGaveUp: { attempts: number; last: string };
  /** SIGKILL was sent and the process is still there: it sleeps inside the driver. */
  helperStuck: { pid: number; deviceId: string | null };
  /** The client was disposed. */
  helperDisposed: Record<never, never>;

  /** No native addon could be loaded; every attempt with its error. */
  addonMissing: { attempts: readonly { path: string; error: string }[] };
  /** A call into the driver or the addon failed. */
  nativeFailure: { call: string; status: number | null; name: string; text: string };

  /** The device asked for is not on this machine. */
  deviceNotFound: { asked: string; present: readonly string[] };
  /** Something else uses the GPU, and nobody confirmed the run. */
  deviceBusy: { deviceId: string; summary: string };
  /** nvidia-smi -c: no compute allowed. */
  deviceProhibited: { deviceId: string };
  /** nvidia-smi -c: one process at a time, and there is one. */
  deviceExclusive: { deviceId: string; pids: readonly number[] };
  /** CUDA_VISIBLE_DEVICES keeps it from this process. */
  deviceHidden: { deviceId: string; cudaVisibleDevices: string | null };
  /** MIG is on and the id names the whole GPU, on which no context can be made. */
  deviceIsMigParent: { deviceId: string };
  /** Another window or command line of ours runs on this GPU. */
  runLocked: { deviceId: string; pid: number; sinceMs: number };
  /** The driver cannot load the kernels; versions as cuDriverGetVersion counts. */
  driverTooOld: { installed: number; needed: number; driverVersion: string | null };
  /** Nothing was built or shipped for GPUs. */
  kernelsMissing: Record<never, never>;

  fileUnreadable: { path: string; problem: string };
  fileUnwritable: { path: string; problem: string };
  /** A file is larger than is read; nothing was read of it. */
  fileTooLarge: { path: string; bytes: number; limitBytes: number };
  /** A report file ends in the middle. */
  reportTruncated: { path: string };
  /** Valid or not, it is not one of our reports. */
  notAReport: { path: string; problem: string };
  /** A file of `--cases` that holds none; `problem` says what is wrong with it. */
  notACaseList: { path: string; problem: string };
  /** Written by a newer version of this product. */
  reportNewer: { path: string; schema: string };
  /** Says it is a report, but a field is not what it should be. */
  reportInvalid: { path: string; problem: string };

  /** Changed between reading and writing; nothing was written. */
  fileChanged: { path: string };
  /** A config.json that cannot be understood; `problem` is a full sentence, `field` may be empty. */
  modelConfigInvalid: { path: string; field: string; problem: string };

  /** The Python interpreter cannot be started, or what it says is not an answer; `problem` has no full stop. */
  interpreterUnusable: { path: string; problem: string };
  /** Older than 3.8. */
  interpreterTooOld: { path: string; version: string };
  /** Nothing says which Python interpreter to use. */
  interpreterUnknown: Record<never, never>;
  /** It did not finish in time and was killed with everything it started. */
  interpreterTimeout: { path: string; deadlineMs: number };

  /** A defect of ours; `problem` is what was caught. */
  internal: { problem: string };
}

export type DiagErrorCode = keyof DiagErrorData;

/** Every code, and whether trying the same thing again can help. */
const CODES: { readonly [C in DiagErrorCode]: { readonly retryable: boolean } } = {
  cancelled: { retryable: false },
  usage: { retryable: false },
  requestTimeout: { retryable: true },
  unsupportedMethod: { retryable: false },
  invalidMessage: { retryable: false },
  messageTooLarge: { retryable: false },
  helperStartFailed: { retryable: false },
  helperVersion: { retryable: false },
  helperExited: { retryable: true },
  helperGaveUp: { retryable: false },
  helperStuck: { retryable: false },
  helperDisposed: { retryable: false },
  addonMissing: { retryable: false },
  nativeFailure: { retryable: false },
  deviceNotFound: { retryable: false },
  deviceBusy: { retryable: true },
  deviceProhibited: { retryable: false },
  deviceExclusive: { retryable: true },
  deviceHidden: { retryable: false },
  deviceIsMigParent: { retryable: false },
  runLocked: { retryable: true },
  driverTooOld: { retryable: false },
  kernelsMissing: { retryable: false },
  fileUnreadable: { retryable: false },
  fileUnwritable: { retryable: false },
  fileTooLarge: { retryable: false },
  reportTruncated: { retryable: false },
  notAReport: { retryable: false },
  notACaseList: { retryable: false },
  reportNewer: { retryable: false },
  reportInvalid: { retryable: false },
  fileChanged: { retryable: true },
  modelConfigInvalid: { retryable: false },
  interpreterUnusable: { retryable: false },
  interpreterTooOld: { retryable: false },
  interpreterUnknown: { retryable: false },
  interpreterTimeout: { retryable: true },
  internal: { retryable: false },
};

/** True for a code of this version; an error from another process may carry one of a newer version. */
export function isDiagErrorCode(code: string): code is DiagErrorCode {
  return Object.hasOwn(CODES, code);
}

/** A known failure. `message` is for logs (code and data); sentences come from `errorText`. */
export class DiagError<C extends DiagErrorCode = DiagErrorCode> extends Error {
  readonly code: C;
  readonly data: DiagErrorData[C];
  readonly retryable: boolean;

  constructor(code: C, data: DiagErrorData[C], cause?: unknown) {
    super(`${code} ${JSON.stringify(data)}`, cause === undefined ? undefined : { cause });
    this.name = 'DiagError';
    this.code = code;
    this.data = data;
    this.retryable = CODES[code].retryable;
  }

  /** True for a `DiagError` of this code, with its data typed. */
  static is<C extends DiagErrorCode>(error: unknown, code: C): error is DiagError<C> {
    return error instanceof DiagError && error.code === code;
  }

  /** Anything caught, as a `DiagError`: unknown things become `internal`. */
  static from(error: unknown): DiagError {
    if (error instanceof DiagError) return error as DiagError;
    return new DiagError('internal', { problem: error instanceof Error ? error.message : String(error) }, error);
  }
}
