/** What the rules say for the state on screen: from facts, request, model, serve settings and flag to one answer. Pure. */
import { askedCapability, onScreen, type AppState, type DerivedAnswer, type RuleAnswer } from './appState';
import { backendRow } from './catalog/registry';
import { NEWEST_RELEASE, resolveRelease } from './catalog/releases';
import type { Evaluation, MatrixCell } from './evaluation';
import { flagEffect } from './flashAttnFlag';
import { bundledSupport } from './kernelSupport';
import { declaredMatrix, type MatrixRequest } from './matrix';
import {
  DEFAULT_SERVE_SETTINGS,
  UNKNOWN_AVAILABILITY,
  type EvaluateRequest,
  type LayerGroup,
  type MlaShape,
  type ModelFacts,
} from './request';
import type { RequestForm } from './requestForm';
import { known } from './store';

/** Head sizes and layouts in the matrix at most, so that a snapshot stays small; a run is not limited by it. */
export const MAX_HEAD_DIMS = 16;
export const MAX_LAYOUTS = 8;

/** The members of the state that the answer depends on; compare with `shallowEqual`. */
export type DeriveInputs = Pick<AppState, 'form' | 'model' | 'serve' | 'vllmVersion' | 'hasFolder'> & {
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
  const capability = askedCapability(onScreen(state));
  const { form, model, serve, vllmVersion, hasFolder } = state;
  return { form, model, serve, vllmVersion, hasFolder, major: capability?.[0] ?? null, minor: capability?.[1] ?? null };
}

/** The answer for these inputs; `null` when no SM family is asked about. */
export function deriveAnswer(inputs: DeriveInputs): DerivedAnswer | null {
  const { form, major, minor } = inputs;
  if (major === null || minor === null) return null;
  const capability: readonly [number, number] = [major, minor];
  const vllmVersion = inputs.vllmVersion.value === 'newest' ? NEWEST_RELEASE : inputs.vllmVersion.value;
  const serve = known(inputs.serve)?.settings ?? DEFAULT_SERVE_SETTINGS;
  const request: EvaluateRequest = {
    vllmVersion,
    capability,
    model: known(inputs.model)?.facts ?? modelOfForm(form),
    serve,
    useSystemFlashAttn: false,
    availability: UNKNOWN_AVAILABILITY,
  };
  const effect = flagEffect(request);
  const matrixRequest = (useSystemFlashAttn: boolean): MatrixRequest => ({
    vllmVersion,
    capability,
    headDims: matrixHeadDims(form),
    pageSizes: matrixPageSizes(form),
    dtype: dtypeOf(form),
    kvCacheDtype: serve.kvCacheDtype,
    useSystemFlashAttn,
    availability: request.availability,
  });
  const answer = (evaluation: Evaluation, useSystemFlashAttn: boolean): RuleAnswer => ({
    evaluation,
    ...withBundled(
      concernedRows(declaredMatrix(matrixRequest(useSystemFlashAttn)), vllmVersion, form.op === 'mlaDecode'),
      form,
      capability,
    ),
  });
  return {
    capability,
    flagOff: answer(effect.off, false),
    flagOn: answer(effect.on, true),
    flagNotes: effect.notes,
    flagFindings: effect.findings,
  };
}

/** Latent attention has backends of its own; for any other request their rows would only repeat "MLA is required". */
function concernedRows(
  matrix: ReturnType<typeof declaredMatrix>,
  vllmVersion: string,
  wantsMla: boolean,
): Pick<RuleAnswer, 'subjects' | 'cells'> {
  const { release } = resolveRelease(vllmVersion);
  const subjects = matrix.subjects.filter((subject) => (backendRow(release, subject.id)?.mla ?? false) === wantsMla);
  const ids = new Set(subjects.map((subject) => subject.id));
  return { subjects, cells: matrix.cells.filter((cell: MatrixCell) => ids.has(cell.subject)) };
}

/** Subject id of the extension's own kernels, as in result rows. */
export const BUNDLED_SUBJECT = 'bundled';

/** The bundled kernels as the first row. vLLM never chooses them, so `selects` is not asked of them. */
function withBundled(
  rows: Pick<RuleAnswer, 'subjects' | 'cells'>,
  form: RequestForm,
  capability: readonly [number, number],
): Pick<RuleAnswer, 'subjects' | 'cells'> {
  const cells = matrixHeadDims(form).flatMap((headDim) =>
    matrixPageSizes(form).map((pageSize): MatrixCell => {
      const base = { subject: BUNDLED_SUBJECT, layerGroup: `d${headDim}`, level: 'declared' } as const;
      return {
        subject: BUNDLED_SUBJECT,
        headDim,
        pageSize,
        selects: { ...base, question: 'selects', answer: 'no', reasons: [] },
        works: { ...base, question: 'works', ...bundledSupport(form.op, headDim, pageSize, capability) },
      };
    }),
  );
  return {
    subjects: [{ id: BUNDLED_SUBJECT, label: 'Bundled kernels', kind: 'bundled' }, ...rows.subjects],
    cells: [...cells, ...rows.cells],
  };
}

/** Head sizes of the matrix, each once. */
function matrixHeadDims(form: RequestForm): readonly number[] {
  return [...new Set(form.headDims)].slice(0, MAX_HEAD_DIMS);
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
    layerGroups: matrixHeadDims(form).map(group),
  };
}

function dtypeOf(form: RequestForm): 'bfloat16' | 'float16' {
  return form.dtype === 'bf16' ? 'bfloat16' : 'float16';
}
