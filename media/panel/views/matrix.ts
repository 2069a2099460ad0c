/** The support matrix: one grid with arrow keys, one tab per page layout, the reasons of the cell in focus beside it. */
import { html, nothing } from 'lit-html';
import type { MatrixSection } from '../../../extension/core/view/viewModelsMatrix';
import type { Question } from '../../../extension/core/verdict';
import { answerGlyph, answerText, type View, type ViewContext } from '../view';
import { reasonList } from './reasons';

/** One line of the grid: a backend and a question. */
interface GridRow {
  readonly subject: number;
  readonly question: Question;
}

const QUESTION_WORDS: Record<Question, string> = { selects: 'selects', works: 'works' };

/** The matrix section. */
export function matrixView(context: ViewContext): View {
  const { matrix } = context.model;
  const layout = activeLayout(context);
  return html`<section aria-labelledby="matrix-title">
    <h2 id="matrix-title">Support matrix</h2>
    <p class="quiet">
      <b>selects</b>: would vLLM choose it? <b>works</b>: does it run on this GPU? Each cell says what it rests on:
      declared by a release, inspected in files, validated by the installed vLLM, or measured here. ${matrix.asked}
    </p>
    ${
      matrix.subjects.length === 0
        ? html`<div class="empty"><p>${matrix.note ?? 'There is nothing to show.'}</p></div>`
        : html`${tabs(context, layout)}
            <div id="matrix-panel" role="tabpanel" aria-labelledby=${`layout-${layout}`}>${grid(context, layout)}</div>
            ${
              matrix.flagChanges.some((change) => change.layout === layout)
                ? html`<p class="quiet">
                    <span class="delta" aria-hidden="true">Δ</span> use_system_flash_attn changes this answer or its
                    reasons.
                  </p>`
                : nothing
            }
            ${details(context, layout)} ${matrix.note === null ? nothing : html`<p class="quiet">${matrix.note}</p>`}`
    }
  </section>`;
}

function activeLayout({ model, ui }: ViewContext): number {
  return Math.max(
    0,
    model.matrix.layouts.findIndex((layout) => layout.pageSize === ui.layoutPageSize),
  );
}

function tabs({ model, setUi }: ViewContext, active: number): View {
  const { layouts } = model.matrix;
  const select = (index: number, focus: boolean): void => {
    const layout = layouts[(index + layouts.length) % layouts.length];
    if (layout === undefined) return;
    setUi({ layoutPageSize: layout.pageSize });
    if (focus) document.getElementById(`layout-${(index + layouts.length) % layouts.length}`)?.focus();
  };
  const onKey = (event: KeyboardEvent): void => {
    const target = { ArrowRight: active + 1, ArrowLeft: active - 1, Home: 0, End: layouts.length - 1 }[event.key];
    if (target === undefined) return;
    event.preventDefault();
    select(target, true);
  };
  return html`<div class="tabs" role="tablist" aria-label="KV page layout" @keydown=${onKey}>
    ${layouts.map(
      (layout, index) =>
        html`<button
          type="button"
          role="tab"
          id=${`layout-${index}`}
          aria-selected=${index === active ? 'true' : 'false'}
          aria-controls="matrix-panel"
          tabindex=${index === active ? 0 : -1}
          @click=${() => select(index, false)}
        >
          ${layout.label}
        </button>`,
    )}
  </div>`;
}

function grid(context: ViewContext, layout: number): View {
  const { matrix } = context.model;
  const rows = gridRows(matrix);
  const focus = focusedCell(context, rows);
  return html`<div class="scroller">
    <table
      class="matrix"
      role="grid"
      aria-label="Backends by head size"
      @keydown=${(event: KeyboardEvent) => moveFocus(event)}
    >
      <thead>
        <tr role="row">
          <th scope="col" role="columnheader">Backend</th>
          <th scope="col" role="columnheader" class="axis"><span class="visually-hidden">Question; </span>head size</th>
          ${matrix.headDims.map((headDim) => html`<th scope="col" role="columnheader" class="dim">${headDim}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${rows.map((row, rowIndex) => {
          const subject = matrix.subjects[row.subject];
          const first = rows[rowIndex - 1]?.subject !== row.subject;
          return html`<tr role="row" class=${first ? 'first' : ''}>
            <th scope="row" role="rowheader" class="subject">
              ${first ? breakable(subject?.label ?? '') : html`<span class="visually-hidden">${subject?.label}</span>`}
            </th>
            <th scope="row" role="rowheader" class="question">${QUESTION_WORDS[row.question]}</th>
            ${matrix.headDims.map((headDim, column) =>
              cell(context, layout, row, column, focus.row === rowIndex && focus.column === column, headDim),
            )}
          </tr>`;
        })}
      </tbody>
    </table>
  </div>`;
}

/** A name that may be broken behind its underscores. */
function breakable(label: string): View {
  return html`${label.split('_').map((part, index) => (index === 0 ? part : html`_<wbr />${part}`))}`;
}

/** Two lines per backend; one for subjects that vLLM does not choose from. */
function gridRows(matrix: MatrixSection): GridRow[] {
  return matrix.subjects.flatMap((subject, index): GridRow[] => [
    ...(subject.asksSelects ? [{ subject: index, question: 'selects' as const }] : []),
    { subject: index, question: 'works' },
  ]);
}

/** Where Tab enters the grid: the cell whose reasons are shown, else the first one. */
function focusedCell({ model, ui }: ViewContext, rows: readonly GridRow[]): { row: number; column: number } {
  const { cell: ref } = ui;
  if (ref === null) return { row: 0, column: 0 };
  const row = rows.findIndex(
    (each) => model.matrix.subjects[each.subject]?.id === ref.subject && each.question === ref.question,
  );
  const column = model.matrix.headDims.indexOf(ref.headDim);
  return row < 0 || column < 0 ? { row: 0, column: 0 } : { row, column };
}

function cell(
  context: ViewContext,
  layout: number,
  row: GridRow,
  column: number,
  tabStop: boolean,
  headDim: number,
): View {
  const { matrix } = context.model;
  const subject = matrix.subjects[row.subject];
  const verdict = verdictAt(matrix, layout, row.subject, column, row.question);
  const changed = changeAt(matrix, layout, row.subject, column, row.question) !== undefined;
  const { cell: ref } = context.ui;
  const shown = ref?.subject === subject?.id && ref?.headDim === headDim && ref.question === row.question;
  const show = (): void => {
    if (subject === undefined || shown) return;
    context.setUi({ cell: { subject: subject.id, headDim, question: row.question } });
  };
  return html`<td
    role="gridcell"
    tabindex=${tabStop ? 0 : -1}
    aria-selected=${shown ? 'true' : 'false'}
    @focus=${show}
    @click=${(event: Event) => {
      (event.currentTarget as HTMLElement).focus();
      show();
    }}
  >
    ${
      verdict === undefined
        ? html`<span class="quiet">–</span>`
        : html`${answerGlyph(verdict.answer)}<span class="visually-hidden">${verdict.answer}, </span
            ><span class="level">${verdict.level}</span>${
              changed
                ? html`<span class="delta" title="The flag changes this answer" aria-hidden="true">Δ</span
                    ><span class="visually-hidden">, the flag changes this</span>`
                : nothing
            }`
    }
  </td>`;
}

/** Arrow keys, Home and End move by cell; with Ctrl, to the corners. */
function moveFocus(event: KeyboardEvent): void {
  const target = event.target as HTMLElement;
  const row = target.closest('tr');
  if (row === null || target.getAttribute('role') !== 'gridcell') return;
  const rows = [...(row.parentElement?.children ?? [])];
  const cellsOf = (line: Element | undefined): HTMLElement[] => [
    ...(line?.querySelectorAll<HTMLElement>('[role=gridcell]') ?? []),
  ];
  const cells = cellsOf(row);
  const column = cells.indexOf(target);
  const line = rows.indexOf(row);
  const last = cells.length - 1;
  const next = ((): HTMLElement | undefined => {
    switch (event.key) {
      case 'ArrowRight':
        return cells[Math.min(last, column + 1)];
      case 'ArrowLeft':
        return cells[Math.max(0, column - 1)];
      case 'ArrowDown':
        return cellsOf(rows[line + 1])[column];
      case 'ArrowUp':
        return cellsOf(rows[line - 1])[column];
      case 'Home':
        return event.ctrlKey ? cellsOf(rows[0])[0] : cells[0];
      case 'End':
        return event.ctrlKey ? cellsOf(rows[rows.length - 1]).at(-1) : cells[last];
      default:
        return undefined;
    }
  })();
  if (next === undefined) return;
  event.preventDefault();
  next.focus();
}

/** The reasons of the cell in focus, both questions, with what the flag changes. */
function details(context: ViewContext, layout: number): View {
  const { matrix } = context.model;
  const { cell: ref } = context.ui;
  const subject = matrix.subjects.findIndex((each) => each.id === ref?.subject);
  const column = ref === null ? -1 : matrix.headDims.indexOf(ref.headDim);
  if (ref === null || subject < 0 || column < 0) {
    return html`<div class="details">
      <p class="quiet">Choose a cell to see its reasons and where each rule stands.</p>
    </div>`;
  }
  const questions: Question[] = ref.question === 'selects' ? ['selects', 'works'] : ['works', 'selects'];
  return html`<div class="details" role="region" aria-label="Reasons">
    <h3>${matrix.subjects[subject]?.label}, head size ${ref.headDim}, ${matrix.layouts[layout]?.label}</h3>
    <div class="answers">
      ${questions.map((question) => {
        const verdict = verdictAt(matrix, layout, subject, column, question);
        if (verdict === undefined) return nothing;
        const change = changeAt(matrix, layout, subject, column, question);
        return html`<div>
          <h4>
            ${question === 'selects' ? 'vLLM selects it' : 'Works on this GPU'}:
            ${answerText(verdict.answer, verdict.level)}
          </h4>
          ${reasonList(verdict.reasons)} ${change === undefined ? nothing : changeText(matrix, change)}
        </div>`;
      })}
    </div>
  </div>`;
}

function changeText(matrix: MatrixSection, change: { readonly off: number; readonly on: number }): View {
  const off = matrix.verdicts[change.off];
  const on = matrix.verdicts[change.on];
  if (off === undefined || on === undefined) return nothing;
  return html`<p class="quiet">
    <span class="delta" aria-hidden="true">Δ</span> use_system_flash_attn off: ${answerText(off.answer, off.level)}; on:
    ${answerText(on.answer, on.level)}
  </p>`;
}

function verdictAt(
  matrix: MatrixSection,
  layout: number,
  subject: number,
  column: number,
  question: Question,
): MatrixSection['verdicts'][number] | undefined {
  const pair = matrix.cells[layout]?.[subject]?.[column];
  return pair === undefined ? undefined : matrix.verdicts[pair[question === 'selects' ? 0 : 1]];
}

function changeAt(
  matrix: MatrixSection,
  layout: number,
  subject: number,
  column: number,
  question: Question,
): MatrixSection['flagChanges'][number] | undefined {
  return matrix.flagChanges.find(
    (change) =>
      change.layout === layout &&
      change.subject === subject &&
      change.headDim === column &&
      change.question === question,
  );
}
