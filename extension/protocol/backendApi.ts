/**
 * The wire between us and `python/bench_backends.py`, which runs one installed attention library under the user's
 * interpreter. One process per engine: what an import or a kernel breaks is that engine's loss alone.
 *
 * The script reads JSON requests from its standard input, one per line, and carries them out one after the other. Each is
 * answered with JSON documents, one per line behind `BACKEND_LINE_MARKER`, the last of them `done`. It ends when its input
 * ends: a process that stays keeps its context and what it compiled, so that engines can take turns case by case. Between
 * requests it gives back the device memory of its cases, except of one that is to be held: when the next request is about the
 * same case, its inputs, plan and reference are still there, and only a new output is computed, compared and timed.
 * What libraries print goes to standard error; lines without the marker are ignored.
 * Everything that comes back is parsed with these schemas before anybody else sees it.
 */
import * as v from 'valibot';
import { attentionCaseSchema, caseResultSchema, ceilingsSchema, reasonSchema } from '../core/attentionCase';
import { BACKEND_ENGINES } from '../core/measure/engines';
import { runOptionsSchema } from './helperApi';

/** Raised together with the script when a message changes shape; the script says which one it speaks. */
export const BACKEND_PROTOCOL_VERSION = 2;

/** First characters of every answer line. */
export const BACKEND_LINE_MARKER = '@attn-diag-bench ';

/** What the script is asked. */
export const backendRequestSchema = v.object({
  protocolVersion: v.literal(BACKEND_PROTOCOL_VERSION),
  /** `describe`: import it and say its version. `warm`: compile what the cases need, no timing. `run`: check and time. */
  command: v.picklist(['describe', 'warm', 'run']),
  engine: v.picklist(BACKEND_ENGINES),
  /** GPU UUID as in the device facts (the script finds its own CUDA index), or `cpu`. Unused by `describe`. */
  deviceId: v.string(),
  /** With the number each has in the whole run, which comes back with its row. Empty for `describe`. */
  cases: v.array(v.object({ caseIndex: v.number(), case: attentionCaseSchema })),
  options: runOptionsSchema,
  /** The native runner's ceilings, the denominators of `percentOfCeiling`; `null` = not measured. */
  ceilings: v.nullable(ceilingsSchema),
});
export type BackendRequest = v.InferOutput<typeof backendRequestSchema>;

/** One answer line. */
export const backendMessageSchema = v.variant('kind', [
  /** First line of the process, before anything heavy is imported. */
  v.object({ kind: v.literal('hello'), protocolVersion: v.number(), pid: v.number(), python: v.string() }),
  /**
   * Once per request, before its first case: the library is there and can be called, or why not: code `notInstalled`,
   * `importFailed`, `noDevice`, `wrongCuda` … When not, `done` follows at once and every case counts as `unsupported`.
   */
  v.object({
    kind: v.literal('library'),
    available: v.boolean(),
    /** Version of the distribution, with what it was built for where it says so. */
    version: v.nullable(v.string()),
    /** torch's version, as `2.11.0+cu130`. */
    torch: v.nullable(v.string()),
    reason: v.nullable(reasonSchema),
  }),
  v.object({
    kind: v.literal('phase'),
    caseIndex: v.nullable(v.number()),
    phase: v.picklist(['import', 'allocate', 'jit', 'check', 'warmup', 'time']),
  }),
  /**
   * A finished case. `unsupported` with code `refusedByLibrary` = the library refused, `text` in its own words.
   * `jitMs` is the first call's time, outside every other figure. Of a `warm` request only `jitMs` and the refusal count.
   */
  v.object({ kind: v.literal('row'), caseIndex: v.number(), result: caseResultSchema }),
  /** Last line of a request. Its absence means that the process died. */
  v.object({ kind: v.literal('done') }),
]);
export type BackendMessage = v.InferOutput<typeof backendMessageSchema>;
