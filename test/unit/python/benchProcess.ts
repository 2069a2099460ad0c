/** The runner of installed libraries as a process of its own, in an environment made by hand. */
import { spawn, spawnSync } from 'node:child_process';
import path from 'node:path';
import * as v from 'valibot';
import type { AttentionCase } from '../../../extension/core/attentionCase';
import type { BackendEngine } from '../../../extension/core/measure/engines';
import {
  BACKEND_LINE_MARKER,
  BACKEND_PROTOCOL_VERSION,
  backendMessageSchema,
  type BackendMessage,
} from '../../../extension/protocol/backendApi';
import { DEFAULT_RUN_OPTIONS, type RunOptions } from '../../../extension/protocol/helperApi';

export const BENCH_SCRIPT = path.resolve('extension/python/bench_backends.py');

/** A small case, changed as told. */
export function benchCase(changes: Partial<AttentionCase> = {}): AttentionCase {
  return {
    op: 'prefill',
    dtype: 'bf16',
    kvDtype: 'auto',
    kvScale: 1,
    headDim: 64,
    headDimV: 64,
    qHeads: 4,
    kvHeads: 2,
    batch: 2,
    qLens: 100,
    kvLens: 130,
    causal: true,
    window: null,
    softcap: 0,
    sinks: false,
    kvLayout: 'NHD',
    pageSize: null,
    lse: false,
    seed: 7,
    ...changes,
  };
}

/** A request as one line. */
export function request(
  engine: BackendEngine,
  command: 'describe' | 'warm' | 'run' = 'describe',
  cases: readonly AttentionCase[] = [],
  deviceId = 'cpu',
  options: Partial<RunOptions> = {},
): string {
  return JSON.stringify({
    protocolVersion: BACKEND_PROTOCOL_VERSION,
    command,
    engine,
    deviceId,
    cases: cases.map((each, caseIndex) => ({ caseIndex, case: each })),
    options: { ...DEFAULT_RUN_OPTIONS, ...options },
    ceilings: null,
  });
}

/** What a process answered, and how it ended. */
export interface BenchOutcome {
  readonly messages: readonly BackendMessage[];
  /** Lines of standard output without the marker; there must be none. */
  readonly strays: readonly string[];
  readonly stderr: string;
  readonly status: number | null;
  readonly signal: string | null;
}

function parseOutput(stdout: string): Pick<BenchOutcome, 'messages' | 'strays'> {
  const lines = stdout.split('\n').filter((line) => line !== '');
  const marked = lines.filter((line) => line.startsWith(BACKEND_LINE_MARKER));
  return {
    messages: marked.map((line) =>
      v.parse(backendMessageSchema, JSON.parse(line.slice(BACKEND_LINE_MARKER.length)) as unknown),
    ),
    strays: lines.filter((line) => !line.startsWith(BACKEND_LINE_MARKER)),
  };
}

/** Asks the lines of one process and lets it end. */
export function bench(
  interpreter: string,
  lines: readonly string[],
  more: { readonly timeoutMs?: number; readonly home?: string } = {},
): BenchOutcome {
  const child = spawnSync(interpreter, ['-E', '-B', BENCH_SCRIPT], {
    input: lines.map((line) => `${line}\n`).join(''),
    encoding: 'utf8',
    timeout: more.timeoutMs ?? 60_000,
    env: more.home === undefined ? process.env : { ...process.env, HOME: more.home },
  });
  return { ...parseOutput(child.stdout), stderr: child.stderr, status: child.status, signal: child.signal };
}

/** Starts a process, waits until it has said `word` on standard error, sends SIGTERM, and says how it ended after how long. */
export function endedBySigterm(
  interpreter: string,
  line: string,
  word: string,
): Promise<{ signal: string | null; afterMs: number }> {
  return new Promise((resolve, reject) => {
    const child = spawn(interpreter, ['-E', '-B', BENCH_SCRIPT]);
    let said = '';
    let sentAt = 0;
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      if (sentAt !== 0 || !said.includes(word)) return;
      sentAt = Date.now();
      child.kill('SIGTERM');
    });
    child.on('error', reject);
    child.on('close', (_code, signal) => resolve({ signal, afterMs: Date.now() - sentAt }));
    child.stdin.write(`${line}\n`);
  });
}

/** The one message of a kind that a process gives for one request. */
export function only<K extends BackendMessage['kind']>(
  outcome: BenchOutcome,
  kind: K,
): Extract<BackendMessage, { kind: K }> {
  const found = outcome.messages.filter(
    (message): message is Extract<BackendMessage, { kind: K }> => message.kind === kind,
  );
  if (found.length !== 1 || found[0] === undefined) {
    throw new Error(`${found.length} messages of kind ${kind}; standard error: ${outcome.stderr.slice(-500)}`);
  }
  return found[0];
}
