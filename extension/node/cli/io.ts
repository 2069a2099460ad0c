/** What a command is given: where to print, how wide, where its files are. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { Readable } from 'node:stream';
import { styleText } from 'node:util';
import type { CancelSignal } from '../../core/async';
import type { Logger } from '../../core/logger';
import { printReport, type Report, type ReportParts } from '../../core/report/report';
import { machineReport, writeFileWhole } from '../reportFile';
import { ownControl } from './terminalText';

/** Exit codes, documented in --help. */
export const EXIT = { ok: 0, failed: 1, usage: 2, noDevice: 3, interrupted: 130 } as const;

/** The surroundings of one command; tests bring their own. */
export interface CliIo {
  /** What `mcp` is spoken to over; no other command reads it. */
  readonly input: Readable;
  out(text: string): void;
  err(text: string): void;
  /** stdout is a terminal: colour and no wider than it is. */
  readonly outIsTerminal: boolean;
  /** stderr is a terminal: progress on one line. */
  readonly errIsTerminal: boolean;
  /** How wide that terminal is now: a longer line would wrap, and could not be rewritten. */
  errColumns(): number;
  /** Columns to use for tables. */
  readonly columns: number;
  /** The extension's folder: dist, native and package.json are below it. */
  readonly rootDir: string;
  readonly helperPath: string;
  readonly env: NodeJS.ProcessEnv;
  /** Aborts on Ctrl-C. */
  readonly signal: CancelSignal;
  /** Asks a yes/no question; `null` = nobody is there to ask. */
  readonly confirm: ((question: string) => Promise<boolean>) | null;
}

/** A command: what `attn-diag NAME …` does. */
export interface Command {
  readonly name: string;
  /** One line for the overview. */
  readonly summary: string;
  /** Text of `attn-diag NAME --help`. */
  readonly help: string;
  /** Returns the exit code; a thrown `DiagError` is printed by the caller. */
  run(args: readonly string[], io: CliIo): Promise<number>;
}

export type Tone = 'good' | 'bad' | 'dim' | 'strong';

const STYLES = { good: 'green', bad: 'red', dim: 'dim', strong: 'bold' } as const;

/** Coloured on a terminal that wants it (NO_COLOR is honoured), plain elsewhere. */
export function paint(io: CliIo, tone: Tone, text: string): string {
  if (!io.outIsTerminal || (io.env['NO_COLOR'] ?? '') !== '') return text;
  // Whether it is a terminal was decided above; styleText would ask the real stdout.
  const [on = '', off = ''] = styleText(STYLES[tone], ' ', { validateStream: false }).split(' ');
  return `${ownControl(on)}${text}${ownControl(off)}`;
}

/** The version in package.json. */
export function toolVersion(rootDir: string): string {
  const manifest = JSON.parse(readFileSync(path.join(rootDir, 'package.json'), 'utf8')) as { version?: unknown };
  return typeof manifest.version === 'string' ? manifest.version : 'unknown';
}

/** Where a report goes: `null` = no report asked for, `-` = stdout, which then holds nothing else. */
export type ReportTarget = string | null;

/** True when stdout belongs to the report and text must stay away from it. */
export function onlyReport(target: ReportTarget): boolean {
  return target === '-';
}

/** Writes the report a command was asked for; returns it. */
export async function deliverReport(
  io: CliIo,
  target: ReportTarget,
  redacted: boolean,
  parts: Omit<ReportParts, 'toolVersion' | 'createdAtMs' | 'machine' | 'privateWords'>,
): Promise<Report | null> {
  if (target === null) return null;
  const report = machineReport(toolVersion(io.rootDir), redacted, parts);
  if (target === '-') {
    io.out(printReport(report));
  } else {
    await writeFileWhole(target, printReport(report));
    io.err(`Report written to ${target}${redacted ? ' (identifying words replaced; --no-redact keeps them)' : ''}.\n`);
  }
  return report;
}

/** A logger for the command line: warnings and worse on stderr, everything with ATTN_DIAG_LOG=debug. */
export function cliLogger(io: CliIo): Logger {
  const verbose = io.env['ATTN_DIAG_LOG'] === 'debug';
  const line =
    (level: string, shown: boolean) =>
    (message: string, data?: unknown): void => {
      if (shown) io.err(`${level}: ${message}${data === undefined ? '' : ` ${JSON.stringify(data)}`}\n`);
    };
  return {
    trace: line('trace', verbose),
    debug: line('debug', verbose),
    info: line('info', verbose),
    warn: line('warning', true),
    error: line('error', true),
  };
}
