/** State → the support matrix, and what the flag changes in it, small enough to cross a network at every change. */
import { askedCapability, currentDevice, type AppState, type DerivedAnswer, type RuleAnswer } from '../state/appState';
import type { ResultRow } from '../attentionCase';
import { columnOp, MAX_HEAD_DIMS, MAX_LAYOUTS, modelHeadDims } from '../state/derive';
import type { MatrixCell, MatrixSubject } from '../evaluation';
import { formatPageSize } from '../format';
import { engineLabel, engineSubject } from '../measure/engines';
import { measuredAnswer, measuredText } from '../measure/measuredAnswer';
import { columnsText, type MatrixColumn } from '../rules/matrix';
import { known } from '../state/store';
import {
  stronger,
  type Answer,
  type EvidenceLevel,
  type Question,
  type Source,
  type Verdict,
  type VerdictReason,
} from '../verdict';

/** One sentence of a reason with where the rule stands. */
export interface ReasonView {
  readonly text: string;
  readonly source: string | null;
}

/** A verdict as shown; equal ones are stored once. */
export interface VerdictView {
  readonly answer: Answer;
  readonly level: EvidenceLevel;
  readonly reasons: readonly ReasonView[];
}

/** One page layout: a tab over the matrix. */
export interface LayoutView {
  readonly pageSize: number | null;
  readonly label: string;
}

/** A row of the matrix. */
export interface SubjectView {
  readonly id: string;
  readonly label: string;
  readonly kind: MatrixSubject['kind'];
  /** `selects` means nothing for a row that vLLM does not choose from. */
  readonly asksSelects: boolean;
}

/** A cell in which the flag changes an answer or its reasons. */
export interface FlagChange {
  readonly layout: number;
  readonly subject: number;
  readonly headDim: number;
  readonly question: Question;
  /** Indices into `verdicts`: with the flag off, with it on. */
  readonly off: number;
  readonly on: number;
}

/** The matrix. Indices instead of repeated texts keep it small: 20 backends × 8 sizes × 6 layouts is a few kilobytes. */
export interface MatrixSection {
  readonly headDims: readonly number[];
  readonly layouts: readonly LayoutView[];
  readonly subjects: readonly SubjectView[];
  readonly verdicts: readonly VerdictView[];
  /** `cells[layout][subject][headDim]` = [selects, works], indices into `verdicts`; −1 = not asked. */
  readonly cells: readonly (readonly (readonly (readonly [number, number])[])[])[];
  readonly flagChanges: readonly FlagChange[];
  /** Changes that did not fit. */
  readonly flagChangesHidden: number;
  /** What the columns ask about, one sentence; `null` = there is no matrix. */
  readonly asked: string | null;
  /** Why there is no matrix, or what it leaves out; `null` = it is complete. */
  readonly note: string | null;
}

const MAX_FLAG_CHANGES = 200;

/** The matrix of the flag as it is set, with measured answers laid over the declared ones. */
export function matrixSection(state: AppState): MatrixSection {
  const derived = known(state.derived);
  const headDims = unique([...modelHeadDims(state), ...state.form.headDims]);
  const pageSizes = unique(state.form.pageSizes);
  const shownDims =
    derived === null ? headDims.slice(0, MAX_HEAD_DIMS) : derived.flagOff.columns.map((column) => column.headDim);
  const shownPages = pageSizes.slice(0, MAX_LAYOUTS);
  const layouts = shownPages.map((pageSize) => ({ pageSize, label: formatPageSize(pageSize) }));
  if (derived === null) {
    return {
      headDims: shownDims,
      layouts,
      subjects: [],
      verdicts: [],
      cells: [],
      flagChanges: [],
      flagChangesHidden: 0,
      asked: null,
      note: emptySentence(state),
    };
  }
  const table = new VerdictTable();
  const answer = answerInForce(state, derived);
  const measured = measuredVerdicts(state, answer.columns);
  const current = cellIndex(answer.cells);
  const subjects = [
    ...answer.subjects.map((subject) => subjectView(subject)),
    ...measuredOnly(measured, answer.subjects),
  ];
  const cells = shownPages.map((pageSize) =>
    subjects.map((subject) =>
      shownDims.map((headDim): readonly [number, number] => {
        const cell = current.get(cellKey(subject.id, headDim, pageSize));
        const measurement = measured.get(cellKey(subject.id, headDim, pageSize));
        if (cell === undefined) return [-1, measurement === undefined ? -1 : table.add(measurement)];
        const works = measurement === undefined ? cell.works : stronger(cell.works, measurement);
        return [subject.asksSelects ? table.add(cell.selects) : -1, table.add(works)];
      }),
    ),
  );
  const changes = flagChanges(derived, subjects, shownDims, shownPages, table);
  return {
    headDims: shownDims,
    layouts,
    subjects,
    verdicts: table.views,
    cells,
    flagChanges: changes.slice(0, MAX_FLAG_CHANGES),
    flagChangesHidden: Math.max(0, changes.length - MAX_FLAG_CHANGES),
    asked: columnsText(answer.columns),
    note: truncationNote(headDims.length - shownDims.length, pageSizes.length - shownPages.length),
  };
}

/** The answer for the flag as it is set. */
export function answerInForce(state: AppState, derived: DerivedAnswer): RuleAnswer {
  return state.flag.value ? derived.flagOn : derived.flagOff;
}

/** `vllm 0.33.0 v1/…/flash_attn.py · rule FA-3`. */
export function sourceText(source: Source | null): string | null {
  if (source === null) return null;
  return source.ruleId === undefined ? source.where : `${source.where} · rule ${source.ruleId}`;
}

/** A reason as shown. */
export function reasonView(reason: VerdictReason): ReasonView {
  return { text: reason.text, source: sourceText(reason.source) };
}

/** Stores equal verdicts once. */
class VerdictTable {
  readonly views: VerdictView[] = [];
  readonly #indices = new Map<string, number>();

  add(verdict: Verdict): number {
    const view = { answer: verdict.answer, level: verdict.level, reasons: verdict.reasons.map(reasonView) };
    const key = JSON.stringify(view);
    const present = this.#indices.get(key);
    if (present !== undefined) return present;
    this.views.push(view);
    this.#indices.set(key, this.views.length - 1);
    return this.views.length - 1;
  }
}

function subjectView(subject: MatrixSubject): SubjectView {
  return { id: subject.id, label: subject.label, kind: subject.kind, asksSelects: subject.kind !== 'bundled' };
}

/** Libraries that no rule speaks of and vLLM never calls, once one of them was measured. */
function measuredOnly(measured: ReadonlyMap<string, Verdict>, present: readonly MatrixSubject[]): SubjectView[] {
  const ids = new Set([...measured.values()].map((verdict) => verdict.subject));
  return [...ids]
    .filter((id) => present.every((subject) => subject.id !== id))
    .map((id) => ({ id, label: engineLabel(id), kind: 'library', asksSelects: false }));
}

function cellKey(subject: string, headDim: number, pageSize: number | null): string {
  return `${subject}|${headDim}|${pageSize ?? 'contiguous'}`;
}

function cellIndex(cells: readonly MatrixCell[]): Map<string, MatrixCell> {
  return new Map(cells.map((cell) => [cellKey(cell.subject, cell.headDim, cell.pageSize), cell]));
}

/** What the rows of the selected device say about "works"; only when the question is about that device. */
function measuredVerdicts(state: AppState, columns: readonly MatrixColumn[]): Map<string, Verdict> {
  const ops = new Map(columns.map((column) => [column.headDim, columnOp(column, state.form)]));
  const device = currentDevice(state);
  const verdicts = new Map<string, Verdict>();
  if (device === null || device.kind === 'cpu') return verdicts;
  const asked = askedCapability(state);
  const own = device.computeCapability;
  if (asked === null || own === null || asked[0] !== own[0] || asked[1] !== own[1]) return verdicts;
  const counted = new Map<string, number>();
  for (const row of state.rows) {
    if (row.deviceId !== device.id || row.case.op !== ops.get(row.case.headDim) || row.case.dtype !== state.form.dtype)
      continue;
    const key = cellKey(engineSubject(row.engine, row.case.op), row.case.headDim, row.case.pageSize);
    const verdict = measuredVerdict(row);
    if (verdict === null) continue;
    const before = verdicts.get(key);
    // Several shapes may share a cell: one that fails makes the cell a no, and its reason is the one to show.
    if (before === undefined || before.answer === 'yes') verdicts.set(key, verdict);
    counted.set(key, (counted.get(key) ?? 0) + 1);
  }
  return verdicts;
}

/** What one row says about "works"; `null` when it says nothing. */
function measuredVerdict(row: ResultRow): Verdict | null {
  const { result } = row;
  const answer = measuredAnswer(row);
  if (answer === null) return null;
  return {
    subject: engineSubject(row.engine, row.case.op),
    question: 'works',
    layerGroup: '',
    answer: answer.outcome === 'right' ? 'yes' : 'no',
    level: 'measured',
    reasons: [
      {
        code: result.reason?.code ?? result.status,
        text: measuredText(row.engine, answer),
        source: result.kernel === null ? null : { where: `${result.kernel.name} (${result.kernel.target})` },
      },
    ],
    measurement: row,
  };
}

function flagChanges(
  derived: DerivedAnswer,
  subjects: readonly SubjectView[],
  headDims: readonly number[],
  pageSizes: readonly (number | null)[],
  table: VerdictTable,
): FlagChange[] {
  const off = cellIndex(derived.flagOff.cells);
  const on = cellIndex(derived.flagOn.cells);
  const changes: FlagChange[] = [];
  pageSizes.forEach((pageSize, layout) => {
    subjects.forEach((subject, subjectIndex) => {
      headDims.forEach((headDim, headDimIndex) => {
        const key = cellKey(subject.id, headDim, pageSize);
        const before = off.get(key);
        const after = on.get(key);
        if (before === undefined || after === undefined) return;
        for (const question of ['selects', 'works'] as const) {
          if (question === 'selects' && !subject.asksSelects) continue;
          const offIndex = table.add(before[question]);
          const onIndex = table.add(after[question]);
          if (offIndex === onIndex) continue;
          changes.push({ layout, subject: subjectIndex, headDim: headDimIndex, question, off: offIndex, on: onIndex });
        }
      });
    });
  });
  return changes;
}

function emptySentence(state: AppState): string {
  if (state.derived.status === 'failed') return `${state.derived.failure.what} ${state.derived.failure.next}`;
  if (state.derived.status === 'loading') return 'Evaluating the rules …';
  if (known(state.facts) === null)
    return 'Probe this machine, or choose an SM family, to see what vLLM declares for it.';
  return 'There is no GPU to ask about. Choose an SM family to see what vLLM declares for it.';
}

function truncationNote(hiddenDims: number, hiddenPages: number): string | null {
  if (hiddenDims <= 0 && hiddenPages <= 0) return null;
  const parts = [
    ...(hiddenDims > 0 ? [`${hiddenDims} more head ${hiddenDims === 1 ? 'size' : 'sizes'}`] : []),
    ...(hiddenPages > 0 ? [`${hiddenPages} more page ${hiddenPages === 1 ? 'layout' : 'layouts'}`] : []),
  ];
  return `Not shown here: ${parts.join(' and ')}. They still run, and the report has them.`;
}

function unique<T>(values: readonly T[]): T[] {
  return [...new Set(values)];
}
