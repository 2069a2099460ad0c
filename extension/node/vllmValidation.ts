/**
 * Runs python/validate.py under the user's interpreter: the installed vLLM is imported there and asked itself.
 *
 * Slower and heavier than the environment probe (importing vLLM takes 10–40 s), so it runs on request only. The same
 * discipline (pythonAnswer.ts), and a folder of its own for everything that libraries write while they are imported, which
 * is removed with it.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import * as v from 'valibot';
import type { CancelSignal } from '../core/async';
import { DiagError } from '../core/errors';
import { errorText } from '../core/errorText';
import {
  failedValidation,
  VALIDATION_REQUEST_SCHEMA,
  VALIDATION_SCHEMA,
  validationOutputSchema,
  validationProgressSchema,
  type Validation,
  type ValidationProgress,
  type ValidationQuestion,
} from '../core/rules/validation';
import { askPython } from './pythonAnswer';

/** Imports take 10–40 s on a machine that does nothing else. */
export const VALIDATION_DEADLINE_MS = 120_000;

/** vLLM and what it imports log; a question has at most some hundred layer groups. */
const OUTPUT_LIMIT_BYTES = 32 * 1024 * 1024;

const MARKER = 'attn-diag-validate:';
const PROGRESS_MARKER = 'attn-diag-validate-progress:';

/** Variables that decide which device and which libraries vLLM finds. */
const MORE_VARIABLES = [
  'CUDA_VISIBLE_DEVICES',
  'CUDA_DEVICE_ORDER',
  'LD_LIBRARY_PATH',
  'VLLM_HAS_FLASHINFER_CUBIN',
  'VLLM_TARGET_DEVICE',
];

/** Where validate.py is in an installation or a checkout. */
export function validateScript(rootDir: string): string {
  return path.join(rootDir, 'extension', 'python', 'validate.py');
}

/** What is to be asked, of whom. */
export interface VllmValidationOptions {
  /** Absolute path of the interpreter. */
  readonly interpreter: string;
  /** Absolute path of validate.py. */
  readonly scriptPath: string;
  /** The editor's environment; only an allow-list of it is passed on. */
  readonly env: NodeJS.ProcessEnv;
  readonly question: ValidationQuestion;
  /** Names the question the answer belongs to. */
  readonly key: string;
  readonly deadlineMs?: number;
  /** Cancels and kills. */
  readonly signal?: CancelSignal;
  readonly onProgress?: (progress: ValidationProgress) => void;
}

const tooOldSchema = v.object({ schema: v.literal(VALIDATION_SCHEMA), tooOld: v.string() });

/**
 * The installed vLLM's answer, or in plain words why there is none: a vLLM that cannot be imported, an interpreter that
 * hangs or crashes. Throws DiagError `cancelled` only.
 */
export async function askInstalledVllm(options: VllmValidationOptions): Promise<Validation> {
  const { question, key, onProgress } = options;
  let stage = 'start';
  const onLine = (line: string): void => {
    const progress = readProgress(line);
    if (progress === null) return;
    stage = progress.stage;
    onProgress?.(progress);
  };
  const scratch = await mkdtemp(path.join(os.tmpdir(), 'attn-diag-scratch-'));
  try {
    const document = await askPython({
      ...options,
      deadlineMs: options.deadlineMs ?? VALIDATION_DEADLINE_MS,
      moreVariables: MORE_VARIABLES,
      marker: MARKER,
      outputLimitBytes: OUTPUT_LIMIT_BYTES,
      input: JSON.stringify({ schema: VALIDATION_REQUEST_SCHEMA, scratch, ...question }),
      progress: { marker: PROGRESS_MARKER, onLine },
    });
    if (v.is(tooOldSchema, document)) {
      throw new DiagError('interpreterTooOld', { path: options.interpreter, version: document.tooOld });
    }
    const parsed = v.safeParse(validationOutputSchema, document);
    if (!parsed.success) {
      const problem = `its answer is not as expected at ${v.getDotPath(parsed.issues[0]) ?? 'its top'}`;
      throw new DiagError('interpreterUnusable', { path: options.interpreter, problem });
    }
    const answer = parsed.output;
    return 'failed' in answer ? { kind: 'failed', key, ...answer.failed } : { kind: 'answered', key, answer };
  } catch (error) {
    const known = DiagError.from(error);
    if (DiagError.is(known, 'cancelled')) throw known;
    return failedValidation(key, stage, errorText(known).what);
  } finally {
    // What was killed may take a moment to die, and writes until then.
    await rm(scratch, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 }).catch(() => undefined);
  }
}

function readProgress(line: string): ValidationProgress | null {
  try {
    const parsed = v.safeParse(validationProgressSchema, JSON.parse(line));
    return parsed.success ? parsed.output : null;
  } catch {
    return null;
  }
}
