/**
 * A Model Context Protocol server on a pair of streams: JSON-RPC 2.0, one message per line, tools only.
 *
 * Two eras of the protocol are spoken (specification 2026-07-28, "Versioning and Compatibility"): requests that carry their
 * protocol version in `_meta` are answered by themselves; `initialize` opens the handshake of the revisions before.
 * The output carries protocol messages and nothing else.
 */
import { StringDecoder } from 'node:string_decoder';
import type { Readable } from 'node:stream';
import * as v from 'valibot';
import type { CancelSignal } from '../core/async';
import { onCancel } from '../core/async';
import type { AgentTool } from '../core/agentTools';
import type { Logger } from '../core/logger';

/** Revisions with per-request metadata, newest first. */
const MODERN_VERSIONS = ['2026-07-28'];
/** Revisions that begin with `initialize`, newest first. 2025-03-26 is not among them: it demands JSON-RPC batches. */
const LEGACY_VERSIONS = ['2025-11-25', '2025-06-18', '2024-11-05'];

/** A longer line is refused and skipped. Real requests have a few hundred bytes. */
export const MAX_LINE_CHARACTERS = 1024 * 1024;
/** Calls that may be going on at a time. */
const MAX_CALLS = 8;
/** The tools never change while the server runs. */
const CACHE_MS = 3_600_000;

const PARSE_ERROR = -32700;
const INVALID_REQUEST = -32600;
const METHOD_NOT_FOUND = -32601;
const INVALID_PARAMS = -32602;
const INTERNAL_ERROR = -32603;
const UNSUPPORTED_PROTOCOL_VERSION = -32022;

const VERSION_KEY = 'io.modelcontextprotocol/protocolVersion';
const CAPABILITIES_KEY = 'io.modelcontextprotocol/clientCapabilities';
const SERVER_KEY = 'io.modelcontextprotocol/serverInfo';

/** What a call ended with. */
export interface ToolOutcome {
  /** For the model, in order. */
  readonly texts: readonly string[];
  readonly structured?: object;
  readonly isError: boolean;
}

/** How far a call has come. */
export type ReportProgress = (done: number, total: number, message: string) => void;

export interface McpServerOptions {
  readonly input: Readable;
  readonly write: (line: string) => void;
  readonly tools: readonly AgentTool[];
  /** Does the work; what it throws is a defect and becomes an internal error. */
  readonly call: (
    name: AgentTool['name'],
    input: unknown,
    signal: CancelSignal,
    progress: ReportProgress,
  ) => Promise<ToolOutcome>;
  readonly serverInfo: { readonly name: string; readonly title: string; readonly version: string };
  readonly instructions: string;
  readonly logger: Logger;
  /** Ends the server. */
  readonly signal: CancelSignal;
}

type RequestId = string | number;
const messageSchema = v.looseObject({
  jsonrpc: v.literal('2.0'),
  id: v.optional(v.union([v.string(), v.pipe(v.number(), v.integer())])),
  method: v.string(),
  params: v.optional(v.record(v.string(), v.unknown())),
});
const callParamsSchema = v.looseObject({ name: v.string(), arguments: v.optional(v.record(v.string(), v.unknown())) });
const metaSchema = v.fallback(v.record(v.string(), v.unknown()), {});
const progressTokenSchema = v.union([v.string(), v.pipe(v.number(), v.integer())]);

/** A refusal in the protocol's own terms. */
class RpcRefusal extends Error {
  readonly code: number;
  readonly data: unknown;

  constructor(code: number, message: string, data?: unknown) {
    super(message);
    this.code = code;
    this.data = data;
  }
}

/** Serves until the input ends or `signal` aborts; calls that are going on are cancelled and waited for. */
export async function serveMcp(options: McpServerOptions): Promise<void> {
  const server = new McpServer(options);
  await new Promise<void>((resolve) => {
    readBoundedLines(options.input, (line) => server.hear(line), resolve);
    onCancel(options.signal, resolve);
  });
  await server.end();
}

class McpServer {
  readonly #options: McpServerOptions;
  readonly #calls = new Map<RequestId, { readonly abort: AbortController; readonly done: Promise<void> }>();
  #initialized = false;
  #ended = false;

  constructor(options: McpServerOptions) {
    this.#options = options;
  }

  /** One line of the input; `null` = one that was too long. */
  hear(line: string | null): void {
    if (line === null) {
      this.#refuse(null, INVALID_REQUEST, `A message may have ${MAX_LINE_CHARACTERS} characters at most.`);
      return;
    }
    if (line.trim() === '') return;
    let message: unknown;
    try {
      message = JSON.parse(line);
    } catch {
      this.#refuse(null, PARSE_ERROR, 'This line is not JSON.');
      return;
    }
    // An answer to something never asked: the server sends no requests.
    if (isObject(message) && !('method' in message) && ('result' in message || 'error' in message)) return;
    const parsed = v.safeParse(messageSchema, message);
    if (!parsed.success) {
      const reason = Array.isArray(message) ? 'Batches are not supported.' : 'This is not a JSON-RPC 2.0 request.';
      this.#refuse(idOf(message), INVALID_REQUEST, reason);
      return;
    }
    const { id, method, params = {} } = parsed.output;
    if (id === undefined) this.#notified(method, params);
    else this.#asked(id, method, params);
  }

  /** Cancels what is going on and waits for it. */
  async end(): Promise<void> {
    this.#ended = true;
    for (const { abort } of this.#calls.values()) abort.abort();
    await Promise.all([...this.#calls.values()].map(({ done }) => done));
  }

  #notified(method: string, params: Readonly<Record<string, unknown>>): void {
    if (method !== 'notifications/cancelled') return;
    const id = params['requestId'];
    if (typeof id === 'string' || typeof id === 'number') this.#calls.get(id)?.abort.abort();
  }

  #asked(id: RequestId, method: string, params: Readonly<Record<string, unknown>>): void {
    try {
      if (this.#calls.has(id))
        throw new RpcRefusal(INVALID_REQUEST, `Request ${JSON.stringify(id)} is still going on.`);
      const meta = v.parse(metaSchema, params['_meta']);
      const modern = this.#era(method, meta) === 'modern';
      if (method === 'tools/call') {
        this.#call(id, params, meta, modern);
        return;
      }
      this.#answer(id, this.#result(method, params, modern), modern);
    } catch (error) {
      if (error instanceof RpcRefusal) this.#refuse(id, error.code, error.message, error.data);
      else this.#defect(id, error);
    }
  }

  /** Which rules a request comes under. Throws when it declares a version that is not spoken, or none at all. */
  #era(method: string, meta: Readonly<Record<string, unknown>>): 'modern' | 'legacy' {
    const requested = meta[VERSION_KEY];
    if (requested === undefined) {
      if (method === 'initialize' || method === 'ping' || this.#initialized) return 'legacy';
      throw new RpcRefusal(
        INVALID_PARAMS,
        `Send initialize first, or name the protocol version of each request in _meta["${VERSION_KEY}"].`,
      );
    }
    if (typeof requested !== 'string') throw new RpcRefusal(INVALID_PARAMS, `_meta["${VERSION_KEY}"] is a string.`);
    if (!MODERN_VERSIONS.includes(requested)) {
      throw new RpcRefusal(UNSUPPORTED_PROTOCOL_VERSION, 'Unsupported protocol version', {
        supported: [...MODERN_VERSIONS, ...LEGACY_VERSIONS],
        requested,
      });
    }
    if (!isObject(meta[CAPABILITIES_KEY])) {
      throw new RpcRefusal(INVALID_PARAMS, `_meta["${CAPABILITIES_KEY}"] is missing.`);
    }
    return 'modern';
  }

  #result(method: string, params: Readonly<Record<string, unknown>>, modern: boolean): object {
    const { serverInfo, instructions } = this.#options;
    const capabilities = { tools: {} };
    const cache = modern ? { ttlMs: CACHE_MS, cacheScope: 'public' } : {};
    if (method === 'tools/list') return { tools: this.#options.tools.map(announced), ...cache };
    if (modern && method === 'server/discover') {
      const supportedVersions = [...MODERN_VERSIONS, ...LEGACY_VERSIONS];
      return { supportedVersions, capabilities, serverInfo, instructions, ...cache };
    }
    if (!modern && method === 'initialize') {
      const requested = params['protocolVersion'];
      if (typeof requested !== 'string') throw new RpcRefusal(INVALID_PARAMS, 'protocolVersion is missing.');
      this.#initialized = true;
      const protocolVersion = LEGACY_VERSIONS.includes(requested) ? requested : LEGACY_VERSIONS[0];
      return { protocolVersion, capabilities, serverInfo, instructions };
    }
    if (!modern && method === 'ping') return {};
    throw new RpcRefusal(METHOD_NOT_FOUND, `There is no method ${JSON.stringify(method.slice(0, 100))}.`);
  }

  #call(
    id: RequestId,
    params: Readonly<Record<string, unknown>>,
    meta: Readonly<Record<string, unknown>>,
    modern: boolean,
  ): void {
    const parsed = v.safeParse(callParamsSchema, params);
    if (!parsed.success) throw new RpcRefusal(INVALID_PARAMS, 'tools/call needs a name, and arguments as an object.');
    const tool = this.#options.tools.find((each) => each.name === parsed.output.name);
    if (tool === undefined) {
      const names = this.#options.tools.map((each) => each.name).join(', ');
      throw new RpcRefusal(INVALID_PARAMS, `There is no such tool; there are ${names}.`);
    }
    if (this.#calls.size >= MAX_CALLS) {
      throw new RpcRefusal(INTERNAL_ERROR, `${MAX_CALLS} calls are going on already. Wait for one to end.`);
    }
    const token = v.safeParse(progressTokenSchema, meta['progressToken']);
    const abort = new AbortController();
    const progress: ReportProgress = (done, total, message) => {
      if (!token.success || abort.signal.aborted) return;
      this.#send({
        method: 'notifications/progress',
        params: { progressToken: token.output, progress: done, total, message },
      });
    };
    const done = this.#options
      .call(tool.name, parsed.output.arguments ?? {}, abort.signal, progress)
      .then(
        ({ texts, structured, isError }) => {
          // Nothing more is said of a request that was cancelled.
          if (abort.signal.aborted) return;
          const content = texts.map((text) => ({ type: 'text', text }));
          const result = { content, ...(structured === undefined ? {} : { structuredContent: structured }), isError };
          this.#answer(id, result, modern);
        },
        (error: unknown) => {
          if (!abort.signal.aborted) this.#defect(id, error);
        },
      )
      .finally(() => this.#calls.delete(id));
    this.#calls.set(id, { abort, done });
  }

  #answer(id: RequestId, result: object, modern: boolean): void {
    const envelope = modern ? { resultType: 'complete', _meta: { [SERVER_KEY]: this.#options.serverInfo } } : {};
    this.#send({ id, result: { ...result, ...envelope } });
  }

  #refuse(id: RequestId | null, code: number, message: string, data?: unknown): void {
    this.#send({ id, error: { code, message, ...(data === undefined ? {} : { data }) } });
  }

  #defect(id: RequestId, error: unknown): void {
    this.#options.logger.error('A request failed.', error instanceof Error ? { stack: error.stack } : { error });
    this.#refuse(id, INTERNAL_ERROR, 'Something unexpected happened; the server log (stderr) says more.');
  }

  #send(message: object): void {
    if (!this.#ended) this.#options.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The id of a message that is no request, so that its sender can tell which one was refused. */
function idOf(message: unknown): RequestId | null {
  const id = isObject(message) ? message['id'] : null;
  return typeof id === 'string' || (typeof id === 'number' && Number.isInteger(id)) ? id : null;
}

/** A tool as tools/list shows it. */
function announced({ name, title, description, inputSchema, readOnly }: AgentTool): object {
  const annotations = {
    title,
    readOnlyHint: readOnly,
    destructiveHint: false,
    idempotentHint: true,
    openWorldHint: false,
  };
  return { name, title, description, inputSchema, annotations };
}

/** Lines of bounded length; `null` stands for one that was longer, which is skipped up to its end. */
function readBoundedLines(stream: Readable, hear: (line: string | null) => void, ended: () => void): void {
  const decoder = new StringDecoder('utf8');
  let pieces: string[] = [];
  let length = 0;
  let skipping = false;
  const take = (piece: string): void => {
    if (skipping) return;
    length += piece.length;
    if (length <= MAX_LINE_CHARACTERS) {
      pieces.push(piece);
      return;
    }
    skipping = true;
    pieces = [];
    hear(null);
  };
  stream.on('data', (chunk: Buffer) => {
    const [first = '', ...more] = decoder.write(chunk).split('\n');
    take(first);
    for (const next of more) {
      if (!skipping) hear(pieces.join(''));
      pieces = [];
      length = 0;
      skipping = false;
      take(next);
    }
  });
  stream.on('end', ended);
  stream.on('close', ended);
  // A broken pipe is the client leaving.
  stream.on('error', ended);
}
