/** Entry of the `attn-diag` command line. */
import path from 'node:path';
import { createInterface } from 'node:readline/promises';
import { runCli } from './cli/main';
import { EXIT } from './cli/io';
import { textWriter } from './cli/textWriter';

/** What is taken for the width of a stream that is no terminal. */
const DEFAULT_COLUMNS = 100;

const interrupt = new AbortController();
// The first Ctrl-C cancels and keeps finished rows, the second one leaves at once.
process.on('SIGINT', () => {
  if (interrupt.signal.aborted) process.exit(EXIT.interrupted);
  interrupt.abort();
});
process.on('SIGTERM', () => interrupt.abort());
// A closed terminal is no reason to leave processes behind, or to lose finished rows.
process.on('SIGHUP', () => interrupt.abort());

/** Set when stdout could not be written for another reason than that nobody reads it. */
let outFailed = false;
const out = textWriter(process.stdout, (problem) => {
  outFailed = true;
  err(`attn-diag: the output could not be written: ${problem}\n`);
});
const err = textWriter(process.stderr, () => undefined);

void runCli(process.argv.slice(2), {
  input: process.stdin,
  out,
  err,
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
  // What is printed last fails last.
  process.on('exit', () => {
    if (outFailed && exitCode === EXIT.ok) process.exitCode = EXIT.failed;
  });
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
