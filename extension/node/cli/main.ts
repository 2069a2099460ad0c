/** `attn-diag`: finds the command, prints errors as sentences, returns the exit code. */
import { DiagError } from '../../core/errors';
import { errorText } from '../../core/errorText';
import { compareCommand } from './compare';
import { devicesCommand } from './devices';
import { explainCommand } from './explain';
import { EXIT, toolVersion, type CliIo, type Command } from './io';
import { mcpCommand } from './mcp';
import { replayCommand } from './replay';
import { runCommand } from './run';
import { selftestCommand } from './selftest';
import { terminalIo } from './terminalText';

const COMMANDS: readonly Command[] = [
  devicesCommand,
  explainCommand,
  runCommand,
  selftestCommand,
  compareCommand,
  replayCommand,
  mcpCommand,
];

const OVERVIEW_WIDTH = Math.max(...COMMANDS.map((command) => command.name.length)) + 2;

const OVERVIEW = `usage: attn-diag COMMAND [options]

Which attention backend runs on this machine, what really works, and how fast.

${COMMANDS.map((command) => `  ${command.name.padEnd(OVERVIEW_WIDTH)}${command.summary}`).join('\n')}

  attn-diag COMMAND --help   options of a command
  attn-diag --version        version of this tool

Exit codes: 0 ok, 1 a verdict failed (a wrong, failed or crashed row, an error finding, a regression) or the command
could not finish, 2 usage, 3 the device asked for is not there, 130 interrupted.
Set ATTN_DIAG_LOG=debug to see what the helper does.
`;

/** Runs one command line and returns the exit code. Never throws. */
export async function runCli(args: readonly string[], surroundings: CliIo): Promise<number> {
  const io = terminalIo(surroundings);
  const [name, ...rest] = args;
  try {
    if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
      io.out(OVERVIEW);
      return name === undefined ? EXIT.usage : EXIT.ok;
    }
    if (name === '--version') {
      io.out(`${toolVersion(io.rootDir)}\n`);
      return EXIT.ok;
    }
    const command = COMMANDS.find((each) => each.name === name);
    if (command === undefined) {
      throw new DiagError('usage', {
        problem: `There is no command "${name}"; there are ${COMMANDS.map((each) => each.name).join(', ')}.`,
      });
    }
    if (rest.includes('--help') || rest.includes('-h')) {
      io.out(`${command.help}\n`);
      return EXIT.ok;
    }
    return await command.run(rest, io);
  } catch (error) {
    const known = DiagError.from(error);
    const { what, next } = errorText(known);
    io.err(`${what}\n${next}\n`);
    if (known.code === 'internal' && error instanceof Error) io.err(`${error.stack ?? ''}\n`);
    return exitCodeOfError(known);
  }
}

function exitCodeOfError(error: DiagError): number {
  switch (error.code) {
    case 'usage':
      return EXIT.usage;
    case 'deviceNotFound':
    case 'deviceHidden':
      return EXIT.noDevice;
    case 'cancelled':
      return EXIT.interrupted;
    default:
      return EXIT.failed;
  }
}
