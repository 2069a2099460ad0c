/** The logging port: core and node code log through it, the editor and the command line each bring an implementation. */

/** Where log lines go. `data` is printed as JSON behind the message; it must not hold secrets. */
export interface Logger {
  trace(message: string, data?: unknown): void;
  debug(message: string, data?: unknown): void;
  info(message: string, data?: unknown): void;
  warn(message: string, data?: unknown): void;
  error(message: string, data?: unknown): void;
}

/** Drops everything; the default where nobody asked for a log. */
export const silentLogger: Logger = {
  trace: () => undefined,
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};
