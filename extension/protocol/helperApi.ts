/**
 * The helper's methods: schemas and types shared by the forked helper and its client.
 * Everything that comes from the helper is parsed with these schemas before anybody else sees it.
 */
import * as v from 'valibot';
import { attentionCaseSchema, caseResultSchema, ceilingsSchema, MAX_RUN_CASES } from '../core/attentionCase';
import { probeLevelSchema, systemFactsSchema, type SystemFacts } from '../core/facts';
import type { RpcEvent, RpcMethod } from './rpc';

/** Raised whenever a message changes shape; the handshake refuses a helper of another version. */
export const HELPER_PROTOCOL_VERSION = 2;

/** First message of a helper, before any request. */
export const helloSchema = v.object({
  protocolVersion: v.number(),
  pid: v.number(),
  nodeVersion: v.string(),
  /** `null` when the addon could not be loaded; `addonAttempts` then says why. */
  addonVersion: v.nullable(v.string()),
  addonAttempts: v.array(v.object({ path: v.string(), ok: v.boolean(), error: v.nullable(v.string()) })),
});
export type Hello = v.InferOutput<typeof helloSchema>;

export const probeParamsSchema = v.object({ level: probeLevelSchema });
export const probeResultSchema = systemFactsSchema;

/** How much care and time a run takes. */
export const runOptionsSchema = v.object({
  /** Timed work per case after correctness, milliseconds of GPU time. */
  targetMs: v.pipe(v.number(), v.minValue(1), v.maxValue(60_000)),
  /** Warm-up before timing, milliseconds, so that the power limit has settled. */
  warmupMs: v.pipe(v.number(), v.minValue(0), v.maxValue(60_000)),
  /** Query rows per case compared with the float64 reference; `all` = every row (selftest). */
  checkRows: v.union([v.pipe(v.number(), v.integer(), v.minValue(1)), v.literal('all')]),
  /** Only correctness, no timing. */
  checkOnly: v.boolean(),
  /** Share of free device memory a case may allocate, 0…1. */
  maxMemoryFraction: v.pipe(v.number(), v.gtValue(0), v.maxValue(1)),
  /** Measure the ceilings first (needed for percentOfCeiling). */
  ceilings: v.boolean(),
  /** CPU device: run cases estimated over 10 s instead of answering `unsupported`. */
  allowSlowCpu: v.boolean(),
  /** The same case comes again soon: keep it, and the device, as they are meanwhile. What is not asked for again is freed. */
  hold: v.boolean(),
});
export type RunOptions = v.InferOutput<typeof runOptionsSchema>;

export const DEFAULT_RUN_OPTIONS: RunOptions = {
  targetMs: 200,
  warmupMs: 500,
  checkRows: 256,
  checkOnly: false,
  maxMemoryFraction: 0.5,
  ceilings: true,
  allowSlowCpu: false,
  hold: false,
};

export const runParamsSchema = v.object({
  deviceId: v.string(),
  cases: v.pipe(v.array(attentionCaseSchema), v.minLength(1), v.maxLength(MAX_RUN_CASES)),
  options: runOptionsSchema,
});
export type RunParams = v.InferOutput<typeof runParamsSchema>;

/** Sent while a run goes on; `finished` rows are kept whatever happens afterwards. */
export const runProgressSchema = v.variant('kind', [
  v.object({
    kind: v.literal('phase'),
    caseIndex: v.nullable(v.number()),
    phase: v.picklist(['context', 'ceilings', 'jit', 'allocate', 'check', 'warmup', 'time']),
  }),
  v.object({ kind: v.literal('ceilings'), ceilings: ceilingsSchema }),
  v.object({ kind: v.literal('row'), caseIndex: v.number(), result: caseResultSchema }),
]);
export type RunProgress = v.InferOutput<typeof runProgressSchema>;

export const runResultSchema = v.object({
  /** `cancelled` = stopped between launches on request; rows so far stand. */
  ended: v.picklist(['complete', 'cancelled']),
});
export type RunResult = v.InferOutput<typeof runResultSchema>;

/** Sent once by the helper when it is ready to be asked. */
export const helloEvent: RpcEvent<Hello> = { name: 'hello', body: helloSchema };

/** Facts of this machine. A cold cuInit on a machine with many GPUs and no persistence mode takes seconds. */
export const probeMethod: RpcMethod<v.InferOutput<typeof probeParamsSchema>, SystemFacts, unknown> = {
  name: 'probe',
  params: probeParamsSchema,
  result: probeResultSchema,
  progress: v.unknown(),
  deadlineMs: 10_000,
  onAbort: 'abandon',
};

/** Runs cases. No deadline: the client watches each case. */
export const runMethod: RpcMethod<RunParams, RunResult, RunProgress> = {
  name: 'run',
  params: runParamsSchema,
  result: runResultSchema,
  progress: runProgressSchema,
  deadlineMs: null,
  onAbort: 'await',
};
