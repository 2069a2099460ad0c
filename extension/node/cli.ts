/** Entry of the `attn-diag` command line. */
import path from 'node:path';
import { createInterface } from 'node:readline/promises';
import { runCli } from './cli/main';
import { EXIT } from './cli/io';

/** What is taken for the width of a stream that is no terminal. */
const DEFAULT_COLUMNS = 100;

const interrupt = new AbortController();
// The first Ctrl-C cancels and keeps finished rows, the second one leaves at once.
process.on('SIGINT', () => {
  if (interrupt.signal.aborted) process.exit(EXIT.interrupted);
  interrupt.abort();
});
process.on('SIGTERM', () => interrupt.abort());
// `attn-diag … | head` closes the pipe: that is no error of ours.
process.stdout.on('error', (error: NodeJS.ErrnoException) =>
  process.exit(error.code === 'EPIPE' ? EXIT.ok : EXIT.failed),
);

void runCli(process.argv.slice(2), {
  input: process.stdin,
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  outIsTerminal: process.stdout.isTTY,
  errIsTerminal: process.stderr.isTTY,
  errColumns: () => process.stderr.columns || DEFAULT_COLUMNS,
  columns: Math.min(Math.max(process.stdout.columns || DEFAULT_COLUMNS, 80), 120),
  rootDir: path.resolve(__dirname, '..'),
  helperPath: path.join(__dirname, 'helperMain.js'),
  env: process.env,
  signal: interrupt.signal,
  confirm: process.stdin.isTTY && process.stderr.isTTY ? confirm : null,
}).then((exitCode) => {
  process.exitCode = exitCode;
});

async function confirm(question: string): Promise<boolean> {
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return /^y(es)?$/i.test((await lines.question(question, { signal: interrupt.signal })).trim());
  } catch {
    // Ctrl-C is a no.
    return false;
  } finally {
    lines.close();
  }
}
