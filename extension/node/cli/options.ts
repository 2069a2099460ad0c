/** Reading options: every mistake becomes a `usage` error with a sentence that names the option. */
import { parseArgs, type ParseArgsConfig } from 'node:util';
import { DiagError } from '../../core/errors';

type Options = NonNullable<ParseArgsConfig['options']>;

/** Options every command has. */
export const COMMON_OPTIONS = {
  json: { type: 'string' },
  'no-redact': { type: 'boolean', default: false },
} as const satisfies Options;

/** Lines of --help for {@link COMMON_OPTIONS}. */
export const COMMON_HELP = `  --json [FILE]        write the report (JSON) to FILE; without FILE or with -, to stdout instead of text
  --no-redact          keep UUIDs, bus ids, host, user and paths in the report`;

/** node:util's parser with our errors; a bare `--json` means `--json -`. `positionals`: how many are needed. */
export function readOptions<T extends Options>(args: readonly string[], options: T, positionals: number | 'some' = 0) {
  try {
    const parsed = parseArgs({
      args: options['json']?.type === 'string' ? bareJson(args) : [...args],
      options,
      allowPositionals: positionals !== 0,
      strict: true,
    });
    if (positionals !== 'some' && parsed.positionals.length !== positionals) {
      throw new Error(`${positionals} arguments are needed, ${parsed.positionals.length} given`);
    }
    return parsed;
  } catch (error) {
    if (error instanceof DiagError) throw error;
    throw usage(`${(error as Error).message.split('. ')[0]?.replace(/\.$/, '') ?? 'The options are not understood'}.`);
  }
}

function bareJson(args: readonly string[]): string[] {
  return args.flatMap((arg, index) => {
    const next = args[index + 1];
    return arg === '--json' && (next === undefined || (next.startsWith('-') && next !== '-')) ? ['--json', '-'] : [arg];
  });
}

export function usage(problem: string): DiagError<'usage'> {
  return new DiagError('usage', { problem });
}

/** A whole number of an option, within bounds. */
export function wholeNumber(option: string, text: string, min: number, max: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value) || value < min || value > max) {
    throw usage(`--${option} takes a whole number from ${min} to ${max}, not "${text}".`);
  }
  return value;
}

/** A comma-separated list of whole numbers. */
export function wholeNumbers(option: string, text: string, min: number, max: number): number[] {
  return text.split(',').map((each) => wholeNumber(option, each.trim(), min, max));
}

/** One of a closed list. */
export function oneOf<T extends string>(option: string, text: string, choices: readonly T[]): T {
  const found = choices.find((choice) => choice === text);
  if (found === undefined) throw usage(`--${option} is one of ${choices.join(', ')}, not "${text}".`);
  return found;
}
