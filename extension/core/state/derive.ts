/** What the rules say for the state on screen: from facts, request, model, serve settings and flag to one answer. Pure. */
import {
  askedCapability,
  onScreen,
  type AppState,
  type DerivedAnswer,
  type RuleAnswer,
  type Setting,
} from './appState';
import { applyEnvironment } from '../catalog/envVars';
import { NEWEST_RELEASE, resolveRelease } from '../catalog/releases';
import { installedVllmVersion, libraryAvailability, type EnvironmentFacts } from '../environment';
import { withEnvironment } from '../findings/environmentFindings';
import type { Evaluation, MatrixCell } from '../evaluation';
import { NOTHING_WRITTEN, placedFindings, withServeFile } from '../findings/findingsServe';
import { withFixes, type FixContext } from '../findings/fixes';
import { withFlagEnvironment } from '../rules/flagEnvironment';
import { flagEffect } from '../rules/flashAttnFlag';
import { newReleaseFindings, withValidation } from '../rules/validation';
import { bundledSupport } from '../measure/kernelSupport';
import { columnKinds, declaredMatrix, matrixColumns, type DeclaredMatrix, type MatrixColumn } from '../rules/matrix';
import {
  DEFAULT_SERVE_SETTINGS,
  UNKNOWN_AVAILABILITY,
  type EvaluateRequest,
  type LibraryAvailability,
  type LayerGroup,
  type MlaShape,
  type ModelFacts,
} from '../request';
import type { RequestForm } from '../measure/requestForm';
import { modelUnder } from './loadedFiles';
import { IDLE, known } from './store';

/** Head sizes and layouts in the matrix at most, so that a snapshot stays small; a run is not limited by it. */
export const MAX_HEAD_DIMS = 16;
export const MAX_LAYOUTS = 8;

/** The members of the state that the answer depends on; compare with `shallowEqual`. */
export type DeriveInputs = Pick<AppState, 'form' | 'model' | 'serve' | 'environment' | 'vllmVersion' | 'hasFolder'> & {
  /** Absent = the installed vLLM was not asked. */
  readonly validation?: AppState['validation'];
  readonly major: number | null;
  readonly minor: number | null;
};

/** Latent dimensions of the DeepSeek family, asked for when the request is MLA and no model says otherwise. */
const DEEPSEEK_MLA: MlaShape = {
  kvLoraRank: 512,
  qkRopeHeadDim: 64,
  qkNopeHeadDim: 128,
  vHeadDim: 128,
  indexTopk: null,
};

/** Picks the inputs out of a state. */
export function deriveInputs(state: AppState): DeriveInputs {
  const shown = onScreen(state);
  const capability = askedCapability(shown);
  const { model, serve, environment, validation, vllmVersion, hasFolder } = state;
  return {
    form: shown.form,
    model,
    serve,
    environment,
    validation,
    vllmVersion,
    hasFolder,
    major: capability?.[0] ?? null,
    minor: capability?.[1] ?? null,
  };
}

/** The release asked about: as set; where nothing is set, the installed one, else the newest known. */
export function askedVersion(setting: Setting<string>, environment: EnvironmentFacts | null): string {
  if (setting.value !== 'newest') return setting.value;
  const installed = environment === null || setting.setIn !== 'default' ? null : installedVllmVersion(environment);
  return installed ?? NEWEST_RELEASE;
}

/** What was inspected counts for the installed release only: another one brings other files and pins with it. */
function availabilityFor(environment: EnvironmentFacts | null, vllmVersion: string): LibraryAvailability {
  if (environment === null) return UNKNOWN_AVAILABILITY;
  const inspected = libraryAvailability(environment);
  return installedVllmVersion(environment) === vllmVersion
    ? inspected
    : { ...UNKNOWN_AVAILABILITY, systemFa4: inspected.systemFa4 };
}

/** What every question to the rules is made of, whatever release and family it asks about. */
export type QuestionInputs = Pick<DeriveInputs, 'form' | 'model' | 'serve' | 'environment'>;

/** The question to the rules about a release and a family, with the flag off: that release's reading of model and environment. */
export function requestFor(
  inputs: QuestionInputs,
  vllmVersion: string,
  capability: readonly [number, number],
): EvaluateRequest {
  const model = known(inputs.model);
  const serve = known(inputs.serve);
  return {
    vllmVersion,
    capability,
    model: model === null ? modelOfForm(inputs.form) : modelUnder(model, vllmVersion),
    serve: applyEnvironment(
      resolveRelease(vllmVersion).release,
      serve?.settings ?? DEFAULT_SERVE_SETTINGS,
      serve?.written?.env ?? [],
    ),
    useSystemFlashAttn: false,
    availability: availabilityFor(known(inputs.environment), vllmVersion),
  };
}

/** The question to the rules for what is on screen; `null` when no SM family is asked about. */
export function currentRequest(state: AppState): EvaluateRequest | null {
  const inputs = deriveInputs(state);
  const { major, minor } = inputs;
  if (major === null || minor === null) return null;
  return requestFor(inputs, askedVersion(inputs.vllmVersion, known(inputs.environment)), [major, minor]);
}

/** What fixes of findings depend on. */
export function fixContext(inputs: Pick<AppState, 'serve'>, vllmVersion: string, flagOn: boolean): FixContext {
  return { serveFile: known(inputs.serve)?.file ?? null, vllmVersion, flagOn };
}

/** The answer for these inputs; `null` when no SM family is asked about. */
export function deriveAnswer(inputs: DeriveInputs): DerivedAnswer | null {
  const { form, major, minor } = inputs;
  if (major === null || minor === null) return null;
  const capability: readonly [number, number] = [major, minor];
  const environment = known(inputs.environment);
  const vllmVersion = askedVersion(inputs.vllmVersion, environment);
  const written = known(inputs.serve)?.written ?? NOTHING_WRITTEN;
  const request = requestFor(inputs, vllmVersion, capability);
  const effect = flagEffect(request);
  const isInstalled = environment !== null && installedVllmVersion(environment) === vllmVersion;
  const aged = (evaluation: Evaluation): Evaluation =>
    isInstalled
      ? { ...evaluation, findings: [...newReleaseFindings(evaluation.catalog), ...evaluation.findings] }
      : evaluation;
  const groups = known(inputs.model)?.facts.layerGroups ?? [];
  const headDims = [...new Set([...modelHeadDims(inputs), ...form.headDims])].slice(0, MAX_HEAD_DIMS);
  const columns = matrixColumns(headDims, groups, form.op === 'mlaDecode');
  const answer = (evaluation: Evaluation, useSystemFlashAttn: boolean): RuleAnswer => ({
    evaluation: {
      ...evaluation,
      assumptions: [
        ...evaluation.assumptions,
        ...(known(inputs.model) === null && new Set(form.headDims).size > 1
          ? ['Without a model, the head sizes are taken as layers of one model, which share a block size.']
          : []),
      ],
      findings: withFixes(
        withEnvironment(withServeFile(evaluation.findings, vllmVersion, written), environment, vllmVersion, capability),
        fixContext(inputs, vllmVersion, useSystemFlashAttn),
      ),
    },
    columns,
    ...withBundled(
      declaredMatrix({
        request: { ...request, useSystemFlashAttn },
        columns,
        pageSizes: matrixPageSizes(form),
        dtype: dtypeOf(form),
      }),
      columns,
      form,
      capability,
    ),
  });
  return {
    capability,
    flagOff: answer(withValidation(aged(effect.off), request, known(inputs.validation ?? IDLE)), false),
    flagOn: answer(effect.on, true),
    flagNotes: withFlagEnvironment(effect.notes, environment, vllmVersion),
    flagRows: effect.rows,
    flagFindings: withFixes(
      placedFindings(effect.findings, vllmVersion, written),
      fixContext(inputs, vllmVersion, false),
    ),
  };
}

/** Subject id of the extension's own kernels, as in result rows. */
export const BUNDLED_SUBJECT = 'bundled';

/** The operation a column's kernels are asked for: latent attention has one of its own. */
export function columnOp(column: MatrixColumn, form: RequestForm): RequestForm['op'] {
  const kinds = columnKinds(column);
  if (kinds.mla && !kinds.other) return 'mlaDecode';
  return form.op;
}

/** The bundled kernels as the first row. vLLM never chooses them, so `selects` is not asked of them. */
function withBundled(
  rows: DeclaredMatrix,
  columns: readonly MatrixColumn[],
  form: RequestForm,
  capability: readonly [number, number],
): DeclaredMatrix {
  const cells = columns.flatMap((column) =>
    matrixPageSizes(form).map((pageSize): MatrixCell => {
      const { headDim } = column;
      const base = { subject: BUNDLED_SUBJECT, layerGroup: `d${headDim}`, level: 'declared' } as const;
      return {
        subject: BUNDLED_SUBJECT,
        headDim,
        pageSize,
        selects: { ...base, question: 'selects', answer: 'no', reasons: [] },
        works: {
          ...base,
          question: 'works',
          ...bundledSupport(columnOp(column, form), headDim, pageSize, capability),
        },
      };
    }),
  );
  return {
    subjects: [{ id: BUNDLED_SUBJECT, label: 'Bundled kernels', kind: 'bundled' }, ...rows.subjects],
    cells: [...cells, ...rows.cells],
  };
}

/** Head sizes of the chosen model, each once, ascending; they come first in the matrix. */
export function modelHeadDims(inputs: Pick<AppState, 'model'>): readonly number[] {
  const groups = known(inputs.model)?.facts.layerGroups ?? [];
  return [...new Set(groups.map((group) => group.headDim))].sort((a, b) => a - b);
}

/** Page layouts of the matrix, each once. */
function matrixPageSizes(form: RequestForm): readonly (number | null)[] {
  return [...new Set(form.pageSizes)].slice(0, MAX_LAYOUTS);
}

/** A model with one plain decoder group per head size of the form. */
function modelOfForm(form: RequestForm): ModelFacts {
  const group = (headDim: number): LayerGroup => ({
    id: `d${headDim}`,
    layers: null,
    headDim,
    headDimV: null,
    qHeads: form.qHeads,
    kvHeads: form.kvHeads,
    attnType: 'decoder',
    slidingWindow: null,
    sinks: false,
    softcap: 0,
    alibi: false,
    mla: form.op === 'mlaDecode' ? DEEPSEEK_MLA : null,
    mmPrefix: false,
  });
  return {
    modelType: null,
    architecture: null,
    dtype: dtypeOf(form),
    layerGroups: [...new Set(form.headDims)].slice(0, MAX_HEAD_DIMS).map(group),
  };
}

function dtypeOf(form: RequestForm): 'bfloat16' | 'float16' {
  return form.dtype === 'bf16' ? 'bfloat16' : 'float16';
}
