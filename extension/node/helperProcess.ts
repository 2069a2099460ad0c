/**
 * One helper process from start to end: handshake, requests, and a death that is always noticed and never waited for
 * in vain. Policy (when to start another) is helperClient.ts.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import type { Clock } from '../core/async';
import { DiagError } from '../core/errors';
import type { Logger } from '../core/logger';
import { HELPER_PROTOCOL_VERSION, helloEvent, type Hello } from '../protocol/helperApi';
import { RpcPeer, type RpcMethod, type RpcRequestOptions } from '../protocol/rpc';
import { readLines } from './lineReader';
import { readMessages, writeMessage } from './messageStream';

/** Ready within this, or it is not worth waiting for. Measured: 50–350 ms; a loaded machine takes a few seconds. */
const HELLO_DEADLINE_MS = 15_000;

/** When each rung of the kill ladder is reached, counted from the request to end. */
export const KILL_LADDER_MS = { sigterm: 500, sigkill: 2000, giveUp: 2500 } as const;

/** After `exit`, how long the last bytes of the channel may take. */
const DRAIN_MS = 500;

/** How a helper is started. */
export interface HelperLaunch {
  /** The bundled helperMain. */
  readonly helperPath: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
}

/** Starts the process; replaced in tests that need a child that cannot be killed. */
export type SpawnHelper = (launch: HelperLaunch) => ChildProcess;

/** The same executable runs the helper: in desktop VS Code that is Electron, told to be plain Node. */
export const spawnHelper: SpawnHelper = (launch) =>
  spawn(process.execPath, [launch.helperPath, ...launch.args], {
    env: helperEnvironment(launch.env),
    stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
    windowsHide: true,
  });

/** `env` without what is meant for the editor's own processes: debug flags and preloads must not leak into the helper. */
export function helperEnvironment(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const kept = Object.entries(env).filter(
    ([name]) => !name.startsWith('VSCODE_') && !name.startsWith('ELECTRON_') && name !== 'NODE_OPTIONS',
  );
  return { ...Object.fromEntries(kept), ELECTRON_RUN_AS_NODE: '1', ELECTRON_NO_ASAR: '1' };
}

/** How an attempt to end a process came out. */
export type EndOutcome = 'exited' | 'stuck';

/** A started helper. */
export class HelperProcess {
  readonly #child: ChildProcess;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #peer: RpcPeer;
  readonly #exited: Promise<void>;
  #hasExited = false;
  #busyWith: string | null = null;
  #ending: Promise<EndOutcome> | null = null;

  private constructor(child: ChildProcess, clock: Clock, log: Logger, helperPath: string) {
    this.#child = child;
    this.#clock = clock;
    this.#log = log;
    const [stdin, stdout, stderr, channel] = child.stdio as unknown as [Writable, Readable, Readable, Readable];
    this.#peer = new RpcPeer((message) => writeMessage(stdin, message), clock, log);

    let resolveExited = (): void => undefined;
    this.#exited = new Promise((resolve) => (resolveExited = resolve));
    const finish = (error: DiagError): void => {
      this.#hasExited = true;
      this.#peer.close(error);
      resolveExited();
    };
    child.on('error', (error) => {
      // Also raised when a signal cannot be delivered; only a child that never got a pid failed to start.
      if (child.pid === undefined) {
        finish(new DiagError('helperStartFailed', { path: helperPath, problem: error.message }, error));
      } else {
        log.warn(`helper ${child.pid}: ${error.message}`);
      }
    });
    child.on('exit', (exitCode, signal) => {
      const error = new DiagError('helperExited', { exitCode, signal, during: this.#busyWith });
      log.info(`helper ${child.pid} ended`, { exitCode, signal });
      // Rows it sent just before are still in the pipe: `close` comes when all of it was read.
      const unschedule = clock.schedule(DRAIN_MS, () => finish(error));
      child.once('close', () => {
        unschedule();
        finish(error);
      });
    });
    stdin.on('error', (error) => log.debug(`helper ${child.pid} does not read: ${error.message}`));
    readMessages(
      channel,
      (message) => this.#peer.receive(message),
      (error) => void this.end(error, KILL_LADDER_MS.sigterm),
    );
    channel.on('end', () => {
      // Usually the process is ending and `exit` follows. One that closed it and stays cannot be heard any more.
      const unschedule = clock.schedule(DRAIN_MS, () => void this.end(null, KILL_LADDER_MS.sigterm));
      void this.#exited.then(unschedule);
    });
    channel.on('error', (error) => log.debug(`helper ${child.pid} channel: ${error.message}`));
    for (const stream of [stdout, stderr]) {
      readLines(stream, (line) => log.warn(`helper ${child.pid}: ${line}`));
    }
  }

  /**
   * Starts a helper and waits for its hello.
   * Rejects with `helperStartFailed`, `helperExited`, `helperVersion`, `invalidMessage` or `requestTimeout`.
   */
  static async start(
    launch: HelperLaunch,
    clock: Clock,
    log: Logger,
    spawnChild: SpawnHelper,
  ): Promise<{ helper: HelperProcess; hello: Hello }> {
    const helper = new HelperProcess(spawnChild(launch), clock, log, launch.helperPath);
    helper.#busyWith = 'start';
    const hello = await new Promise<Hello>((resolve, reject) => {
      const unschedule = clock.schedule(HELLO_DEADLINE_MS, () => {
        reject(new DiagError('requestTimeout', { method: 'hello', deadlineMs: HELLO_DEADLINE_MS }));
      });
      helper.#peer.listen(helloEvent, (received) => {
        unschedule();
        resolve(received);
      });
      helper.#peer.onClose((error) => {
        unschedule();
        reject(error);
      });
    }).catch((error: unknown) => {
      void helper.end(DiagError.from(error), KILL_LADDER_MS.sigterm);
      throw error;
    });
    if (hello.protocolVersion !== HELPER_PROTOCOL_VERSION) {
      const error = new DiagError('helperVersion', { expected: HELPER_PROTOCOL_VERSION, got: hello.protocolVersion });
      void helper.end(error, KILL_LADDER_MS.sigterm);
      throw error;
    }
    helper.#busyWith = null;
    return { helper, hello };
  }

  get pid(): number {
    return this.#child.pid ?? -1;
  }

  /** False as soon as it is gone or being ended. */
  get usable(): boolean {
    return !this.#hasExited && this.#ending === null;
  }

  /** Resolves when the process is gone; may never, when it is stuck. */
  get exited(): Promise<void> {
    return this.#exited;
  }

  /** Names what it is doing, for the error when it dies of it. */
  set busyWith(what: string | null) {
    this.#busyWith = what;
  }

  request<Params, Result, Progress>(
    method: RpcMethod<Params, Result, Progress>,
    params: Params,
    options: RpcRequestOptions<Progress> = {},
  ): Promise<Result> {
    return this.#peer.request(method, params, options);
  }

  /**
   * Ends the process: channel closed (it leaves by itself), SIGTERM, SIGKILL, and then no more waiting.
   * @param reason what pending requests fail with, at once; `null` = they fail with the way it exits
   * @param elapsedMs how far up the ladder to start, when it was already asked to stop in another way
   */
  end(reason: DiagError | null, elapsedMs = 0): Promise<EndOutcome> {
    if (this.#hasExited) return Promise.resolve('exited');
    if (reason !== null) this.#peer.close(reason);
    if (this.#ending !== null) {
      if (elapsedMs >= KILL_LADDER_MS.sigterm) this.#signal('SIGTERM');
      return this.#ending;
    }
    this.#child.stdin?.end();
    this.#ending = new Promise((resolve) => {
      const at = (rungMs: number, climb: () => void): (() => void) =>
        this.#clock.schedule(Math.max(0, rungMs - elapsedMs), climb);
      const unschedule = [
        at(KILL_LADDER_MS.sigterm, () => this.#signal('SIGTERM')),
        at(KILL_LADDER_MS.sigkill, () => this.#signal('SIGKILL')),
        at(KILL_LADDER_MS.giveUp, () => {
          if (this.#hasEnded()) return;
          this.#log.error(`helper ${this.pid} is still there after SIGKILL: stuck in the driver`);
          this.#peer.close(new DiagError('helperStuck', { pid: this.pid, deviceId: null }));
          // Its pipes must not keep this process alive.
          for (const stream of this.#child.stdio) stream?.destroy();
          this.#child.unref();
          resolve('stuck');
        }),
      ];
      void this.#exited.then(() => {
        for (const takeBack of unschedule) takeBack();
        resolve('exited');
      });
    });
    return this.#ending;
  }

  /** The kernel has reaped it, even if its last bytes are still being read. */
  #hasEnded(): boolean {
    return this.#hasExited || this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  #signal(signal: NodeJS.Signals): void {
    this.#log.info(`helper ${this.pid}: ${signal}`);
    this.#child.kill(signal);
  }
}
