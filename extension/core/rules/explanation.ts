/** One question about backend selection and its whole answer: what the command line, the editor's tools and agents print or hand on. Pure. */
import type { AttentionCase } from '../attentionCase';
import type { DerivedAnswer, LoadedModel, LoadedServeFile, RuleAnswer, Setting } from '../state/appState';
import { deriveAnswer } from '../state/derive';
import type { EnvironmentFacts } from '../environment';
import { DiagError } from '../errors';
import type { SystemFacts } from '../facts';
import { eachOnce } from '../findings/findings';
import type { RequestForm } from '../measure/requestForm';
import { IDLE, ready } from '../state/store';
import { comparedColumn } from '../state/whatIf';
import { comparedRows, sameOutcome, whyDifferent, type ComparedColumn } from './comparison';
import type { Validation } from './validation';
import type { Finding } from '../verdict';

/** `use_system_flash_attn` as asked about; `diff` = off, and what flipping it changes. */
export const FLAG_CHOICES = ['off', 'on', 'diff'] as const;
export type FlagChoice = (typeof FLAG_CHOICES)[number];

/** Asked for when the machine has no GPU and no family was named. */
export const DEFAULT_CAPABILITY: readonly [number, number] = [9, 0];

/** SM families as a list: `8.0,sm_90`; `null` = a part is no family. Each once. */
export function parseCapabilities(text: string): readonly (readonly [number, number])[] | null {
  const families = text.split(',').map((part) => parseCapability(part.trim()));
  const each = new Map(families.map((family) => [family?.join(), family]));
  const found = [...each.values()].filter((family) => family !== null);
  return found.length === each.size ? found : null;
}

/** The first GPU whose capability is known. */
export function firstGpu(
  facts: SystemFacts,
): { readonly name: string; readonly capability: readonly [number, number] } | null {
  for (const { kind, name, computeCapability } of facts.devices) {
    if (kind === 'gpu' && computeCapability !== null) return { name, capability: computeCapability };
  }
  return null;
}

/** What is asked. */
export interface ExplainQuestion {
  readonly vllmVersion: Setting<string>;
  readonly capability: readonly [number, number];
  /** Head sizes and layouts of the matrix; the attention layers too when there is no model. */
  readonly form: RequestForm;
  readonly model: LoadedModel | null;
  readonly serve: LoadedServeFile | null;
  /** `null` = no interpreter was inspected. */
  readonly environment: EnvironmentFacts | null;
  /** What the installed vLLM said itself; absent = it was not asked. */
  readonly validation?: Validation;
  readonly flag: FlagChoice;
}

/** The answer in the parts a text is made of, and as the report holds it. */
export interface Explained {
  readonly derived: DerivedAnswer;
  /** The answer for the flag as asked. */
  readonly answer: RuleAnswer;
  /** What counts as a finding of this question; flipping, when only compared, is told and not judged. */
  readonly findings: readonly Finding[];
  /** `explanation` of a report. */
  readonly explanation: Readonly<Record<string, unknown>>;
}

/** `9.0`, `90`, `sm90`, `sm_90a`; `null` = not the name of an SM family. */
export function parseCapability(text: string): readonly [number, number] | null {
  const match = /^(?:sm_?)?(\d{1,2})\.?(\d)[af]?$/i.exec(text);
  return match === null ? null : [Number(match[1]), Number(match[2])];
}

/** The request form of a question that is not about a run: lengths and heads stand for any. */
export function explainForm(asked: Pick<RequestForm, 'dtype' | 'headDims' | 'pageSizes'>, mla: boolean): RequestForm {
  const heads = { qHeads: 32, kvHeads: mla ? 1 : 8 };
  return { ...asked, ...heads, op: mla ? 'mlaDecode' : 'prefill', batch: 1, qLen: 1, kvLen: 1, causal: true };
}

/** The request form that asks about measured rows: the heads are those of one of them, lengths stand for any. */
export function rowsForm(
  row: AttentionCase,
  headDims: RequestForm['headDims'],
  pageSizes: RequestForm['pageSizes'],
): RequestForm {
  const heads = { qHeads: Math.max(1, row.qHeads), kvHeads: Math.max(1, row.kvHeads) };
  return { op: row.op, dtype: row.dtype, headDims, pageSizes, ...heads, batch: 1, qLen: 1, kvLen: 1, causal: true };
}

/** The same question of several columns: SM families, or two releases. */
export interface ComparisonQuestion extends Omit<ExplainQuestion, 'capability' | 'vllmVersion' | 'flag'> {
  readonly columns: readonly Pick<ComparedColumn, 'vllmVersion' | 'capability'>[];
  readonly useSystemFlashAttn: boolean;
}

/** The columns, and as the report holds them. */
export interface Compared {
  readonly columns: readonly ComparedColumn[];
  /** `explanation` of a report. */
  readonly explanation: Readonly<Record<string, unknown>>;
}

/** Applies the rules once per column. Every row says whether and why a column differs from the first one. */
export function compareColumns(question: ComparisonQuestion): Compared {
  const { form, model, serve, environment, useSystemFlashAttn } = question;
  const inputs = {
    form,
    model: model === null ? IDLE : ready(model),
    serve: serve === null ? IDLE : ready(serve),
    environment: environment === null ? IDLE : ready(environment),
  };
  const columns = question.columns.map(({ vllmVersion, capability }) =>
    comparedColumn(inputs, vllmVersion, capability, useSystemFlashAttn),
  );
  const [first] = columns;
  return {
    columns,
    explanation: {
      model: model?.name ?? null,
      systemFlashAttn: useSystemFlashAttn ? 'on' : 'off',
      comparison: {
        columns,
        rows: comparedRows(columns).map(({ layerGroup, selections }) => ({
          layerGroup,
          cells: selections.map((selection, index) => ({
            selection,
            differs: !sameOutcome(selection, selections[0] ?? null),
            why:
              first === undefined
                ? []
                : whyDifferent(first.evaluation, columns[index]?.evaluation ?? first.evaluation, layerGroup),
          })),
        })),
      },
    },
  };
}

/** Applies the rules. */
export function explain(question: ExplainQuestion): Explained {
  const { capability, model, serve, environment, validation, flag } = question;
  const derived = deriveAnswer({
    form: question.form,
    model: model === null ? IDLE : ready(model),
    serve: serve === null ? IDLE : ready(serve),
    environment: environment === null ? IDLE : ready(environment),
    ...(validation === undefined ? {} : { validation: ready(validation) }),
    vllmVersion: question.vllmVersion,
    hasFolder: false,
    major: capability[0],
    minor: capability[1],
  });
  if (derived === null) throw new DiagError('internal', { problem: 'no SM family was asked about' });
  const answer = flag === 'on' ? derived.flagOn : derived.flagOff;
  const findings = eachOnce([
    ...answer.evaluation.findings,
    ...(serve?.findings ?? []),
    // Asked for the difference, they are part of the answer, told with it, and no reason to fail.
    ...(flag === 'on' ? derived.flagFindings : []),
  ]);
  return {
    derived,
    answer,
    findings,
    explanation: {
      capability,
      model: model?.name ?? null,
      systemFlashAttn: flag,
      evaluation: answer.evaluation,
      ...(validation === undefined ? {} : { validation }),
      subjects: answer.subjects,
      cells: answer.cells,
      ...(flag === 'diff'
        ? { withFlag: derived.flagOn.evaluation, flagNotes: derived.flagNotes, flagRows: derived.flagRows }
        : {}),
      findings,
    },
  };
}
