/** One installed release: asked itself through validate.py for several compute capabilities, and replayed against the catalog. */
import path from 'node:path';
import {
  parseRecording,
  replayRecording,
  REPLAY_QUESTIONS,
  type ReplaySummary,
} from '../../extension/core/catalog/replay';
import { resolveRelease } from '../../extension/core/catalog/releases';
import type { ValidationQuestion } from '../../extension/core/rules/validation';
import { validationRecording, type ValidationRecording } from '../../extension/core/rules/validationReport';
import { askInstalledVllm, validateScript } from '../../extension/node/vllmValidation';
import { validatedCases } from './validatedCases';

/** vLLM's imports on a machine that is busy with other things. */
const DEADLINE_MS = 15 * 60_000;

/** What is asked of a release. */
export interface ValidatedAsk {
  readonly version: string;
  readonly interpreter: string;
  readonly capability: readonly [number, number];
  readonly batchInvariant: boolean;
  readonly cases: number;
}

/** The outcome, with what may be kept as a fixture. */
export interface ValidatedOutcome {
  readonly recording: ValidationRecording;
  readonly summary: ReplaySummary;
  readonly importMs: number;
  readonly standIns: readonly string[];
}

/** Asks and replays. Throws when the installed vLLM gives no answer. */
export async function checkValidated(ask: ValidatedAsk): Promise<ValidatedOutcome> {
  const { release } = resolveRelease(ask.version);
  const seed = 20_261_122 + ask.capability[0] * 10 + ask.capability[1];
  const question: ValidationQuestion = {
    capability: ask.capability,
    env: ask.batchInvariant ? { VLLM_BATCH_INVARIANT: '1' } : {},
    cases: validatedCases(release, ask.cases, seed, ask.batchInvariant),
  };
  const validation = await askInstalledVllm({
    interpreter: ask.interpreter,
    scriptPath: validateScript(path.resolve('.')),
    env: process.env,
    question,
    key: '',
    deadlineMs: DEADLINE_MS,
  });
  if (validation.kind === 'failed') throw new Error(`${validation.stage}: ${validation.text}`);
  const { answer } = validation;
  if (answer.vllm !== ask.version) throw new Error(`${ask.interpreter} has vLLM ${answer.vllm}, not ${ask.version}`);
  const recording = withKnownArguments(validationRecording(question, answer));
  const parsed = parseRecording(JSON.parse(JSON.stringify(recording)));
  if (!parsed.ok) throw new Error(`the answer is no recording: ${parsed.issue}`);
  const { standIns, durationMs } = answer;
  return { recording, summary: replayRecording(parsed.recording), importMs: durationMs, standIns };
}

/** A recording holds exactly the arguments that the release's resolver took. */
function withKnownArguments(recording: ValidationRecording): ValidationRecording {
  const known = new Set(recording.faResolverArgs);
  return {
    ...recording,
    cases: recording.cases.map((each) => ({
      ...each,
      faArgs: Object.fromEntries(
        Object.entries(each.faArgs ?? {}).filter(([name]) => known.has(name)),
      ) as typeof each.faArgs,
    })),
  };
}

/** `agree/unknown/disagree` per question, as a row of the report. */
export function countsText(summary: ReplaySummary): readonly string[] {
  return REPLAY_QUESTIONS.map((question) => {
    const { agree, unknown, disagree } = summary.counts[question];
    return `${agree} / ${unknown} / ${disagree}`;
  });
}
