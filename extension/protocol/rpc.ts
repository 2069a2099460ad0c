/**
 * One request/reply peer for every process boundary, with progress, cancel and deadlines.
 *
 * It knows no transport: it is given a `send` and is fed what arrives through `receive`. Everything inbound is parsed;
 * what does not parse becomes a typed error for the request it belongs to, or a log line, never a throw into the caller.
 */
import * as v from 'valibot';
import { CancelSource, onCancel, type CancelSignal, type Clock } from '../core/async';
import { DiagError, isDiagErrorCode, type DiagErrorCode } from '../core/errors';
import type { Logger } from '../core/logger';
import { firstIssue } from '../core/schemaIssue';

type Schema<T> = v.GenericSchema<unknown, T>;

/** A method both sides agree on: its name, what travels, and how long an answer may take. */
export interface RpcMethod<Params, Result, Progress> {
  readonly name: string;
  readonly params: Schema<Params>;
  readonly result: Schema<Result>;
  readonly progress: Schema<Progress>;
  /** `null` = no deadline here; the caller watches the work itself. */
  readonly deadlineMs: number | null;
  /** What a caller's abort does: `abandon` rejects with `cancelled` at once, `await` waits for the other side's reply. */
  readonly onAbort: 'abandon' | 'await';
}

/** A message that expects no answer. */
export interface RpcEvent<Body> {
  readonly name: string;
  readonly body: Schema<Body>;
}

/** What a handler is given besides its parameters. */
export interface RpcHandlerContext<Progress> {
  /** Aborts when the other side cancels or the connection closes. */
  readonly signal: CancelSignal;
  readonly progress: (body: Progress) => void;
}

/** How one request is made. */
export interface RpcRequestOptions<Progress> {
  readonly signal?: CancelSignal | undefined;
  readonly onProgress?: ((body: Progress) => void) | undefined;
  /** The other side has heard the cancel. */
  readonly onCancelAck?: (() => void) | undefined;
  /** Instead of the method's own deadline. */
  readonly deadlineMs?: number | null;
}

const wireErrorSchema = v.object({ code: v.string(), data: v.unknown() });

const envelopeSchema = v.variant('kind', [
  v.object({ kind: v.literal('request'), id: v.number(), method: v.string(), body: v.unknown() }),
  v.object({ kind: v.literal('reply'), id: v.number(), body: v.unknown() }),
  v.object({ kind: v.literal('error'), id: v.number(), body: wireErrorSchema }),
  v.object({ kind: v.literal('progress'), id: v.number(), body: v.unknown() }),
  v.object({ kind: v.literal('cancel'), id: v.number() }),
  v.object({ kind: v.literal('cancelAck'), id: v.number() }),
  v.object({ kind: v.literal('event'), method: v.string(), body: v.unknown() }),
]);

/** What travels. */
export type RpcMessage = v.InferOutput<typeof envelopeSchema>;

interface Pending {
  readonly method: RpcMethod<unknown, unknown, unknown>;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: DiagError) => void;
  readonly onProgress: ((body: unknown) => void) | undefined;
  readonly onCancelAck: (() => void) | undefined;
  readonly release: () => void;
}

interface Registered {
  readonly method: RpcMethod<unknown, unknown, unknown>;
  readonly handle: (params: unknown, context: RpcHandlerContext<unknown>) => Promise<unknown>;
}

/** One end of a connection. */
export class RpcPeer {
  readonly #send: (message: RpcMessage) => void;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #methods = new Map<string, Registered>();
  readonly #events = new Map<string, (body: unknown) => void>();
  readonly #pending = new Map<number, Pending>();
  readonly #serving = new Map<number, CancelSource>();
  #nextId = 1;
  #closed: DiagError | null = null;
  #hearClose: (error: DiagError) => void = () => undefined;

  /** @param send hands a message to the transport; a throw fails the request it was for */
  constructor(send: (message: RpcMessage) => void, clock: Clock, log: Logger) {
    this.#send = send;
    this.#clock = clock;
    this.#log = log;
  }

  /** Answers requests for `method`. A rejected handler travels as its code and data. */
  serve<Params, Result, Progress>(
    method: RpcMethod<Params, Result, Progress>,
    handle: (params: Params, context: RpcHandlerContext<Progress>) => Promise<Result>,
  ): void {
    this.#methods.set(method.name, { method, handle } as unknown as Registered);
  }

  /** Hears events of this name. Bodies that do not parse are logged and dropped. */
  listen<Body>(event: RpcEvent<Body>, hear: (body: Body) => void): void {
    this.#events.set(event.name, (body) => {
      const parsed = v.safeParse(event.body, body);
      if (parsed.success) hear(parsed.output);
      else this.#log.warn(`event ${event.name} dropped: ${firstIssue(parsed.issues)}`);
    });
  }

  /** Sends an event. */
  notify<Body>(event: RpcEvent<Body>, body: Body): void {
    if (this.#closed === null) this.#send({ kind: 'event', method: event.name, body });
  }

  /**
   * Asks the other side.
   * Rejects with `requestTimeout`, `cancelled`, `unsupportedMethod`, `invalidMessage`, the other side's own error, or
   * what {@link close} was given.
   */
  request<Params, Result, Progress>(
    method: RpcMethod<Params, Result, Progress>,
    params: Params,
    options: RpcRequestOptions<Progress> = {},
  ): Promise<Result> {
    if (this.#closed !== null) return Promise.reject(this.#closed);
    if (options.signal?.aborted === true && method.onAbort === 'abandon') {
      return Promise.reject(new DiagError('cancelled', {}));
    }
    const id = this.#nextId++;
    const deadlineMs = options.deadlineMs === undefined ? method.deadlineMs : options.deadlineMs;
    return new Promise<Result>((resolve, reject) => {
      let unschedule = (): void => undefined;
      let stopListening = (): void => undefined;
      this.#pending.set(id, {
        method,
        resolve,
        reject,
        onProgress: options.onProgress,
        onCancelAck: options.onCancelAck,
        release: () => {
          unschedule();
          stopListening();
        },
      } as unknown as Pending);
      try {
        this.#send({ kind: 'request', id, method: method.name, body: params });
      } catch (error) {
        this.#settle(id, (pending) => pending.reject(DiagError.from(error)));
        return;
      }
      if (deadlineMs !== null) {
        unschedule = this.#clock.schedule(deadlineMs, () => {
          this.#trySend({ kind: 'cancel', id });
          this.#settle(id, (pending) =>
            pending.reject(new DiagError('requestTimeout', { method: method.name, deadlineMs })),
          );
        });
      }
      stopListening = onCancel(options.signal, () => {
        this.#trySend({ kind: 'cancel', id });
        if (method.onAbort === 'abandon') {
          this.#settle(id, (pending) => pending.reject(new DiagError('cancelled', {})));
        }
      });
    });
  }

  /** Takes one message from the transport. Never throws. */
  receive(message: unknown): void {
    if (this.#closed !== null) return;
    const parsed = v.safeParse(envelopeSchema, message);
    if (!parsed.success) {
      this.#log.warn(`message ignored: ${firstIssue(parsed.issues)}`);
      return;
    }
    const envelope = parsed.output;
    switch (envelope.kind) {
      case 'request':
        void this.#answer(envelope.id, envelope.method, envelope.body);
        return;
      case 'cancel': {
        const source = this.#serving.get(envelope.id);
        // A cancel that crosses the reply on the way has nothing left to stop.
        if (source === undefined) return;
        this.#trySend({ kind: 'cancelAck', id: envelope.id });
        source.cancel();
        return;
      }
      case 'event': {
        const hear = this.#events.get(envelope.method);
        if (hear === undefined) this.#log.debug(`event ${envelope.method} is not known here`);
        else hear(envelope.body);
        return;
      }
      case 'cancelAck':
        this.#pending.get(envelope.id)?.onCancelAck?.();
        return;
      case 'progress':
        this.#hearProgress(envelope.id, envelope.body);
        return;
      case 'reply':
        this.#settle(envelope.id, (pending) => {
          const result = v.safeParse(pending.method.result, envelope.body);
          if (result.success) pending.resolve(result.output);
          else pending.reject(invalidMessage(`reply to ${pending.method.name}`, result.issues));
        });
        return;
      case 'error':
        this.#settle(envelope.id, (pending) => pending.reject(fromWire(envelope.body)));
        return;
    }
  }

  /** Tells `hear` when the connection ends, at once when it has. */
  onClose(hear: (error: DiagError) => void): void {
    if (this.#closed === null) this.#hearClose = hear;
    else hear(this.#closed);
  }

  /** Ends the connection: pending requests fail with `error`, running handlers are aborted. Idempotent. */
  close(error: DiagError): void {
    if (this.#closed !== null) return;
    this.#closed = error;
    for (const id of [...this.#pending.keys()]) this.#settle(id, (pending) => pending.reject(error));
    for (const source of this.#serving.values()) source.cancel();
    this.#serving.clear();
    this.#hearClose(error);
  }

  async #answer(id: number, name: string, body: unknown): Promise<void> {
    const registered = this.#methods.get(name);
    if (registered === undefined) {
      this.#trySend(toWire(id, new DiagError('unsupportedMethod', { method: name })));
      return;
    }
    const params = v.safeParse(registered.method.params, body);
    if (!params.success) {
      this.#trySend(toWire(id, invalidMessage(`parameters of ${name}`, params.issues)));
      return;
    }
    const source = new CancelSource();
    this.#serving.set(id, source);
    try {
      const result = await registered.handle(params.output, {
        signal: source.signal,
        progress: (progress) => this.#trySend({ kind: 'progress', id, body: progress }),
      });
      this.#trySend({ kind: 'reply', id, body: result });
    } catch (error) {
      this.#trySend(toWire(id, DiagError.from(error)));
    } finally {
      this.#serving.delete(id);
    }
  }

  #hearProgress(id: number, body: unknown): void {
    const pending = this.#pending.get(id);
    if (pending === undefined) {
      this.#log.debug(`progress for request ${id}, which is over`);
      return;
    }
    const progress = v.safeParse(pending.method.progress, body);
    if (progress.success) {
      pending.onProgress?.(progress.output);
      return;
    }
    // A run whose rows cannot be read is not worth waiting for: the other half is of another build, or damaged.
    this.#trySend({ kind: 'cancel', id });
    this.#settle(id, (each) => each.reject(invalidMessage(`progress of ${each.method.name}`, progress.issues)));
  }

  #settle(id: number, finish: (pending: Pending) => void): void {
    const pending = this.#pending.get(id);
    if (pending === undefined) return;
    this.#pending.delete(id);
    pending.release();
    finish(pending);
  }

  #trySend(message: RpcMessage): void {
    if (this.#closed !== null) return;
    try {
      this.#send(message);
    } catch (error) {
      this.#log.warn(`${message.kind} could not be sent: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}

function toWire(id: number, error: DiagError): RpcMessage {
  return { kind: 'error', id, body: { code: error.code, data: error.data } };
}

/** An error of the other side. Its data was made by the same code table, so it is taken as it is. */
function fromWire(wire: v.InferOutput<typeof wireErrorSchema>): DiagError {
  if (!isDiagErrorCode(wire.code) || typeof wire.data !== 'object' || wire.data === null) {
    return new DiagError('internal', { problem: `the other process reported ${wire.code}` });
  }
  return new DiagError<DiagErrorCode>(wire.code, wire.data);
}

function invalidMessage(
  where: string,
  issues: readonly [v.BaseIssue<unknown>, ...v.BaseIssue<unknown>[]],
): DiagError<'invalidMessage'> {
  return new DiagError('invalidMessage', { where, problem: firstIssue(issues) });
}
