/**
 * What the installed vLLM said, as a recording (`attn-oracle/1`, which `attn-diag replay` reads) and as a bug report about
 * the catalog: where it contradicts, with both answers.
 */
import { redact, type PrivateWords } from '../report/redact';
import type { EvaluateRequest } from '../request';
import type { RecordedCase } from '../catalog/replay';
import {
  contradictions,
  recordedCase,
  validationNotes,
  validationQuestion,
  type Contradiction,
  type ValidationAnswer,
  type ValidationQuestion,
} from './validation';

/** A recording of what was asked and answered. */
export interface ValidationRecording {
  readonly schema: 'attn-oracle/1';
  readonly vllm: string;
  readonly torch: string;
  readonly python: string;
  readonly packages: Readonly<Record<string, string>>;
  readonly stubs: readonly string[];
  readonly notes: readonly string[];
  readonly selectorFields: readonly string[];
  readonly selectorArgs: readonly string[];
  readonly faResolverArgs: readonly string[];
  readonly importErrors: { readonly validated: Readonly<Record<string, string>> };
  readonly cases: readonly RecordedCase[];
}

/** The answer as a recording; cases that were not answered are left out. */
export function validationRecording(question: ValidationQuestion, answer: ValidationAnswer): ValidationRecording {
  const { vllm, torch, python, packages, standIns, selectorFields, selectorArgs, faResolverArgs, importErrors } =
    answer;
  return {
    schema: 'attn-oracle/1',
    vllm,
    torch,
    python,
    packages,
    stubs: standIns,
    notes: [
      'recorded by python/validate.py: the installed vLLM, asked itself',
      ...(answer.networkRefused.length === 0
        ? []
        : [`the network was off; vLLM wanted to reach ${answer.networkRefused.join(', ')}`]),
    ],
    selectorFields,
    selectorArgs,
    faResolverArgs,
    importErrors: { validated: importErrors },
    cases: answer.cases.flatMap(({ id, answer: said }) => {
      const asked = question.cases.find((each) => each.id === id);
      return asked === undefined ? [] : [recordedCase(asked, said, answer, question.env)];
    }),
  };
}

/** Everything a bug report about the catalog needs, redacted. */
export interface BugReportInput {
  readonly request: EvaluateRequest;
  readonly answer: ValidationAnswer;
  readonly toolVersion: string;
  /** ISO date the catalog was last checked. */
  readonly checkedOn: string;
  readonly privateWords: PrivateWords;
}

/** The recording of the answers, to be replayed by us. */
export function bugReportJson({ request, answer, privateWords }: BugReportInput): string {
  const recording = validationRecording(validationQuestion(request, true), answer);
  return `${JSON.stringify(redact(recording, privateWords), null, 2)}\n`;
}

/** The same to read: what differs, where it was asked, and the recording to replay. */
export function bugReportMarkdown(input: BugReportInput): string {
  const { request, answer, toolVersion, checkedOn, privateWords } = input;
  const found = contradictions(request, answer);
  const { device } = answer;
  const lines = [
    `# vLLM ${answer.vllm} and the catalog`,
    '',
    found.length === 0
      ? 'The installed vLLM and the catalog agree.'
      : `The installed vLLM contradicts the catalog in ${found.length} ${found.length === 1 ? 'place' : 'places'}.`,
    '',
    `- Attention Backend Diagnostics ${toolVersion}, catalog checked ${checkedOn}`,
    `- vLLM ${answer.vllm}, torch ${answer.torch}, Python ${answer.python}`,
    `- compute capability ${device.capability.join('.')}, ${device.stated ? 'stated' : "this machine's"}; platform class ${device.platform}`,
    ...validationNotes(answer).map((note) => `- ${note}`),
    ...found.flatMap(contradictionLines),
    '',
    '## Recording',
    '',
    'Replay with `attn-diag replay FILE` after saving the block as FILE.',
    '',
  ];
  const text = redact(lines.join('\n'), privateWords);
  return `${text}\n\`\`\`json\n${bugReportJson(input)}\`\`\`\n`;
}

function contradictionLines(found: Contradiction): readonly string[] {
  const { layerGroup, question, about, recorded, computed } = found;
  return [
    '',
    `## ${layerGroup}: ${question}${about === '' ? '' : `, ${about}`}`,
    '',
    `- installed: ${oneLine(recorded)}`,
    `- catalog: ${oneLine(computed)}`,
    `- question: \`${JSON.stringify({ config: found.case.config, ...found.case.request })}\``,
  ];
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').trim();
}
