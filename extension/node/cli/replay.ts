/** `attn-diag replay`: the rules against recorded answers of real vLLM releases. */
import { gunzip } from 'node:zlib';
import { promisify } from 'node:util';
import { parseRecording, replayRecording, REPLAY_QUESTIONS, type ReplaySummary } from '../../core/catalog/replay';
import { DiagError } from '../../core/errors';
import { textTable } from '../../core/format';
import { readFileBytes } from '../reportFile';
import { EXIT, paint, type CliIo, type Command } from './io';
import { readOptions, usage } from './options';

/** Recordings are a few megabytes; this bounds what a wrong file can cost, packed and unpacked. */
const MAX_FILE_BYTES = 64 * 1024 * 1024;
const MAX_UNPACKED_BYTES = 512 * 1024 * 1024;

/** Unknown selections above this share of the cases fail, outside the backends that only one model uses. */
const MAX_UNKNOWN_SHARE = 0.01;

export const replayCommand: Command = {
  name: 'replay',
  summary: 'compare the rules with recorded answers of real vLLM releases',
  help: `usage: attn-diag replay FILE… [options]

Evaluates the requests of recordings (attn-oracle/1, JSON or gzipped JSON) and counts, per release: agree, unknown,
disagree on the selected backend, the refused backends, every reason string and the FlashAttention version. Each
disagreement is printed.

  --json               print the counts and disagreements as JSON

Exit codes: 0 no disagreement and at most 1 % unknown selections, 1 otherwise, 2 usage, or a file that is no recording
or holds no case`,
  async run(args, io) {
    const { values, positionals } = readOptions(args, { json: { type: 'boolean', default: false } }, 'some');
    if (positionals.length === 0) throw usage('A recording file is needed.');
    const summaries: ReplaySummary[] = [];
    for (const file of positionals) summaries.push(replayRecording(await readRecording(file)));
    const passed = summaries.every(
      (each) => each.disagreements.length === 0 && each.unknownSelections <= each.cases * MAX_UNKNOWN_SHARE,
    );
    if (values.json) io.out(`${JSON.stringify({ passed, recordings: summaries }, null, 2)}\n`);
    else
      io.out(`${summaryText(summaries, io)}\n${paint(io, passed ? 'good' : 'bad', passed ? 'Passed.' : 'Failed.')}\n`);
    return passed ? EXIT.ok : EXIT.failed;
  },
};

async function readRecording(file: string): Promise<Parameters<typeof replayRecording>[0]> {
  const bytes = await readBytes(file);
  let data: unknown;
  try {
    const packed = bytes[0] === 0x1f && bytes[1] === 0x8b;
    const text = packed ? await promisify(gunzip)(bytes, { maxOutputLength: MAX_UNPACKED_BYTES }) : bytes;
    data = JSON.parse(text.toString('utf8'));
  } catch (error) {
    throw usage(`${file} is no recording: ${(error as Error).message}.`);
  }
  const parsed = parseRecording(data);
  if (!parsed.ok) throw usage(`${file} is no recording: ${parsed.issue}.`);
  return parsed.recording;
}

async function readBytes(file: string): Promise<Buffer> {
  try {
    return await readFileBytes(file, MAX_FILE_BYTES);
  } catch (error) {
    if (DiagError.is(error, 'fileUnreadable')) throw usage(`${file} cannot be read: ${error.data.problem}.`);
    throw error;
  }
}

function summaryText(summaries: readonly ReplaySummary[], io: CliIo): string {
  const table = textTable(
    [
      { title: 'release' },
      { title: 'cases', align: 'right' },
      ...REPLAY_QUESTIONS.map((question) => ({ title: question, align: 'right' as const })),
    ],
    summaries.map((each) => [
      each.release === each.evaluatedAs ? each.release : `${each.release} (as ${each.evaluatedAs})`,
      String(each.cases),
      ...REPLAY_QUESTIONS.map((question) => {
        const { agree, unknown, disagree } = each.counts[question];
        return `${agree} / ${unknown} / ${disagree}`;
      }),
    ]),
    io.columns,
  );
  const disagreements = summaries.flatMap((each) =>
    each.disagreements.map((entry) => `${each.release} #${entry.caseId} ${entry.question}: ${entry.detail ?? ''}`),
  );
  return ['agree / unknown / disagree', table, ...disagreements].join('\n');
}
