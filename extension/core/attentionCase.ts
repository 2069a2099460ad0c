/**
 * The one description of "an attention problem to run" and of "what came of it".
 *
 * Every engine that runs attention speaks this schema: the bundled CUDA kernels, the CPU reference device and the
 * runner of installed backends. Later work adds kernels, not fields.
 */
import * as v from 'valibot';

/** Which attention step a case stands for. `mlaDecode` has K = V storage: headDim 576 = 512 latent + 64 rope. */
export const opSchema = v.picklist(['prefill', 'decode', 'mlaDecode']);
export type AttentionOp = v.InferOutput<typeof opSchema>;

/** Page sizes the bundled kernels know, in tokens. `null` in a case means contiguous KV. */
export const PAGE_SIZES = [16, 32, 64, 128, 256] as const;

/** Largest number of elements accepted for one dimension; anything above is a typing error, not a workload. */
const MAX_LENGTH = 16_777_216;

/** More cases than this are not taken for one run: a typing error, not a workload. */
export const MAX_RUN_CASES = 4096;

const lengthsSchema = v.union([
  v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(MAX_LENGTH)),
  v.pipe(
    v.array(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(MAX_LENGTH))),
    v.minLength(1),
    v.maxLength(4096),
  ),
]);

/**
 * One attention problem. Shapes follow vLLM's names:
 * Q `[batch, qLen, qHeads, headDim]`, K `[batch, kvLen, kvHeads, headDim]`, V `[batch, kvLen, kvHeads, headDimV]`.
 * The schema only bounds types and sizes; whether a value is *supported* (headDim 7, pageSize 24) is the engine's answer,
 * so that it comes back as `unsupported` with a reason instead of being refused at the door.
 */
export const attentionCaseSchema = v.object({
  op: opSchema,
  /** Type of Q, and of K and V unless `kvDtype` says otherwise. */
  dtype: v.picklist(['bf16', 'fp16']),
  /** Storage type of the KV cache; `auto` = same as `dtype`. */
  kvDtype: v.picklist(['auto', 'fp8_e4m3']),
  /** Per-tensor scale: stored value × kvScale = real value. 1 for 16-bit KV. */
  kvScale: v.pipe(v.number(), v.finite(), v.gtValue(0)),
  headDim: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(1_000_000)),
  headDimV: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(1_000_000)),
  qHeads: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(65_536)),
  kvHeads: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(65_536)),
  batch: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(65_536)),
  /** Query tokens per sequence: one number for all, or one per sequence. */
  qLens: lengthsSchema,
  /** Key/value tokens per sequence: one number for all, or one per sequence. */
  kvLens: lengthsSchema,
  /** Bottom-right aligned: query i of a sequence sees keys 0 … kvLen − qLen + i. */
  causal: v.boolean(),
  /** Sliding window: a query sees at most this many keys including its own position; `null` = unlimited. */
  window: v.nullable(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(MAX_LENGTH))),
  /** Logit soft cap: s → softcap · tanh(s / softcap); 0 = off. */
  softcap: v.pipe(v.number(), v.finite(), v.minValue(0)),
  /** One learned logit per query head that takes part in the softmax denominator only. */
  sinks: v.boolean(),
  /** Order of the token and head axes of a KV page (or of the contiguous KV). */
  kvLayout: v.picklist(['NHD', 'HND']),
  /** Tokens per KV page; `null` = contiguous. */
  pageSize: v.nullable(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(1_000_000))),
  /** Also return the log-sum-exp per query row and head. The bundled kernels compare it in any case, this also times it. */
  lse: v.boolean(),
  /** Seed of the random inputs, so that a failing case can be run again exactly. */
  seed: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(4_294_967_295)),
});
export type AttentionCase = v.InferOutput<typeof attentionCaseSchema>;

/** How a case ended. Only `ok` carries a time that may be shown. */
export const resultStatusSchema = v.picklist([
  'ok',
  'unsupported',
  'wrong',
  'failed',
  'timeout',
  'outOfMemory',
  'crashed',
  'cancelled',
]);
export type ResultStatus = v.InferOutput<typeof resultStatusSchema>;

/** A machine-readable reason with the sentence that goes with it. `code` is stable, `text` may change. */
export const reasonSchema = v.object({ code: v.string(), text: v.string() });
export type Reason = v.InferOutput<typeof reasonSchema>;

/** Times of repeated launches, in milliseconds of GPU (or, on the CPU device, wall) time per launch. */
export const timingSchema = v.object({
  median: v.number(),
  p10: v.number(),
  p90: v.number(),
  /** Number of timed batches the percentiles rest on. */
  runs: v.pipe(v.number(), v.integer(), v.minValue(1)),
});
export type Timing = v.InferOutput<typeof timingSchema>;

/** Which code ran: a row of the kernel table, or a library function. */
export const kernelIdentitySchema = v.object({
  /** Name in the kernel table, e.g. `prefill_mma_bf16_d128`; for a library its function. */
  name: v.string(),
  /** Head-dim tile the problem was padded to, in elements; `null` for libraries that do not say. */
  headDimTile: v.nullable(v.number()),
  /** Image that ran: `sm_80`, `sm_90a`, `compute_80 PTX`, `cpu` … */
  target: v.string(),
  /** KV splits used (decode); 1 = none. */
  numSplits: v.nullable(v.number()),
  /** One sentence: why this kernel and no other. Absent where there was no choice, and in older reports. */
  why: v.optional(v.string()),
});
export type KernelIdentity = v.InferOutput<typeof kernelIdentitySchema>;

/** What came of one case on one device. Fields that were not established are `null`, never a guess. */
export const caseResultSchema = v.object({
  status: resultStatusSchema,
  reason: v.nullable(reasonSchema),
  kernel: v.nullable(kernelIdentitySchema),
  gpuMs: v.nullable(timingSchema),
  /** CPU microseconds per launch as the caller sees it, measured back to back. */
  hostUs: v.nullable(v.number()),
  /** 10¹² useful floating-point operations per second: 2·(headDim + headDimV) per (query, visible key, head). */
  tflops: v.nullable(v.number()),
  /** 10¹² bytes of K and V read per second; for decode the figure that counts. */
  tbps: v.nullable(v.number()),
  /** Share of this device's measured ceiling (0…100+), and which ceiling. */
  percentOfCeiling: v.nullable(v.number()),
  ceiling: v.nullable(v.picklist(['tensorCore', 'readStream'])),
  /** ‖out − ref‖ / ‖ref‖ over the checked rows against the float64 reference. */
  relError: v.nullable(v.number()),
  /** The same metric for an fp32 evaluation whose P and O are rounded to `dtype`: what rounding alone costs. */
  roundingFloor: v.nullable(v.number()),
  /** Largest absolute error of the log-sum-exp over the checked rows; `null` = the library was not asked for it. */
  lseError: v.nullable(v.number()),
  /** Rows compared with the reference; 0 is never `ok`. */
  checkedRows: v.number(),
  /** SM clock seen during the timed launches. */
  smClockMHz: v.nullable(v.number()),
  /** Time the driver spent compiling PTX for this device, outside every other figure. */
  jitMs: v.nullable(v.number()),
  /** Another process used the GPU while this ran: the time is not a statement about the kernel. */
  contended: v.boolean(),
});
export type CaseResult = v.InferOutput<typeof caseResultSchema>;

/** One line of a results table: who ran what, where, and what came of it. */
export const resultRowSchema = v.object({
  /** `bundled` for the extension's own kernels, else an installed backend's id (`torch.sdpa.flash`, `fa4.system` …). */
  engine: v.string(),
  /** Device id as in the device facts (`cpu`, or the GPU's UUID or its redacted stand-in). */
  deviceId: v.string(),
  case: attentionCaseSchema,
  result: caseResultSchema,
  /** Median of each round in milliseconds, in order, when the case was measured in several; `result` is the middle one. */
  roundMs: v.optional(v.array(v.number())),
});
export type ResultRow = v.InferOutput<typeof resultRowSchema>;

/** Measured ceilings of a device; the denominators of `percentOfCeiling`. */
export const ceilingsSchema = v.object({
  /** Read-only stream over more than the L2 cache, 10¹² bytes/s. */
  readStreamTbps: v.nullable(v.number()),
  /** Device-to-device copy, bytes read plus bytes written, 10¹² bytes/s. */
  copyTbps: v.nullable(v.number()),
  /** Tensor-core issue loop on random data, 10¹² FLOP/s, and the instruction it used. */
  tensorCoreTflops: v.nullable(v.number()),
  tensorCoreInstruction: v.nullable(v.string()),
  smClockMHz: v.nullable(v.number()),
});
export type Ceilings = v.InferOutput<typeof ceilingsSchema>;

/** Per-sequence lengths of a case, `batch` numbers long. Returns `null` when a list has another length than `batch`. */
export function expandLengths(lens: number | readonly number[], batch: number): number[] | null {
  if (typeof lens === 'number') return new Array<number>(batch).fill(lens);
  return lens.length === batch ? [...lens] : null;
}
