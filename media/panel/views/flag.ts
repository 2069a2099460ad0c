/** The `use_system_flash_attn` switch and what it changes. */
import { html, nothing } from 'lit-html';
import type { FlagNote } from '../../../extension/core/rules/flashAttnFlag';
import type { FlagRowView } from '../../../extension/core/view/viewModels';
import type { MatrixSection } from '../../../extension/core/view/viewModelsMatrix';
import { answerGlyph, answerText, disclosure, notice, type View, type ViewContext } from '../view';

/** The flag section. */
export function flagView(context: ViewContext): View {
  const { flag, matrix } = context.model;
  const changes = groupedChanges(matrix);
  return html`<section aria-labelledby="flag-title">
    <h2 id="flag-title">System FlashAttention</h2>
    <div class="row middle">
      <button
        type="button"
        role="switch"
        class="switch"
        aria-checked=${flag.on ? 'true' : 'false'}
        aria-describedby="flag-where"
        @click=${() => context.send({ type: 'setSystemFlashAttn', on: !flag.on })}
      >
        <span class="track" aria-hidden="true"><i></i></span>
        <code>use_system_flash_attn</code> <span class="state">${flag.on ? 'on' : 'off'}</span>
      </button>
      <span class="quiet" id="flag-where">${flag.where}</span>
    </div>
    ${
      flag.serveFile === null
        ? nothing
        : flag.differsFromServeFile
          ? notice('warning', flag.serveFile)
          : html`<p class="quiet">${flag.serveFile}</p>`
    }
    ${flag.on ? flag.notes.map((note) => notice(note.severity, noteText(note))) : nothing}
    ${
      flag.notesAmongFindings === 0
        ? nothing
        : html`<p class="quiet">
            ${flag.notesAmongFindings === 1 ? 'One effect is' : `${flag.notesAmongFindings} effects are`} among the
            findings above.
          </p>`
    }
    ${
      flag.on || flag.notes.length === 0
        ? nothing
        : disclosure(
            context,
            'flagNotes',
            'What turning it on would do',
            html`<ul class="reasons">
              ${flag.notes.map((note) => html`<li>${noteText(note)}</li>`)}
            </ul>`,
          )
    }
    ${
      flag.rows.length === 0
        ? nothing
        : disclosure(
            context,
            'flagRows',
            'What it does by kind of layer and FlashAttention version',
            rowsTable(flag.rows),
          )
    }
    ${
      matrix.subjects.length === 0
        ? nothing
        : changes.length === 0
          ? html`<p class="quiet">The flag changes no answer for this request.</p>`
          : disclosure(
              context,
              'flagChanges',
              `The flag changes ${changes.length} answer${changes.length === 1 ? '' : 's'} for this request`,
              changesTable(changes, matrix),
            )
    }
  </section>`;
}

function rowsTable(rows: readonly FlagRowView[]): View {
  return html`<div class="scroller" tabindex="0" role="region" aria-label="The flag by kind of layer">
    <table class="data">
      <thead>
        <tr>
          <th scope="col">Layers</th>
          <th scope="col">Version</th>
          <th scope="col">With the flag on</th>
          <th scope="col">Because</th>
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          (row) =>
            html`<tr>
              <th scope="row">${row.layers}</th>
              <td>${row.version}</td>
              <td class="answer">${answerGlyph(row.answer)} ${row.outcome}</td>
              <td>${row.because}</td>
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}

function noteText(note: FlagNote): View {
  return html`${note.text}${note.source === null ? nothing : html`<span class="source">${note.source}</span>`}`;
}

interface ChangeRow {
  readonly subject: string;
  readonly headDim: number;
  readonly question: string;
  readonly off: number;
  readonly on: number;
  readonly layouts: string[];
}

/** Changes that differ only in the page layout, as one row. */
function groupedChanges(matrix: MatrixSection): ChangeRow[] {
  const rows = new Map<string, ChangeRow>();
  for (const change of matrix.flagChanges) {
    const key = [change.subject, change.headDim, change.question, change.off, change.on].join('|');
    const layout = matrix.layouts[change.layout]?.label ?? '';
    const present = rows.get(key);
    if (present === undefined) {
      rows.set(key, {
        subject: matrix.subjects[change.subject]?.label ?? '',
        headDim: matrix.headDims[change.headDim] ?? 0,
        question: change.question,
        off: change.off,
        on: change.on,
        layouts: [layout],
      });
    } else {
      present.layouts.push(layout);
    }
  }
  return [...rows.values()];
}

function changesTable(changes: readonly ChangeRow[], matrix: MatrixSection): View {
  return html`<div class="scroller" tabindex="0" role="region" aria-label="Answers the flag changes">
    <table class="data">
      <thead>
        <tr>
          <th scope="col">Backend</th>
          <th scope="col" class="number">Head size</th>
          <th scope="col">Layouts</th>
          <th scope="col">Question</th>
          <th scope="col">Flag off</th>
          <th scope="col">Flag on</th>
        </tr>
      </thead>
      <tbody>
        ${changes.map(
          (change) =>
            html`<tr>
              <th scope="row">${change.subject}</th>
              <td class="number">${change.headDim}</td>
              <td>${change.layouts.length === matrix.layouts.length ? 'all' : change.layouts.join(', ')}</td>
              <td>${change.question}</td>
              <td>${verdictCell(matrix, change.off)}</td>
              <td>${verdictCell(matrix, change.on)}</td>
            </tr>`,
        )}
      </tbody>
    </table>
    ${matrix.flagChangesHidden === 0 ? nothing : html`<p class="quiet">${matrix.flagChangesHidden} more are not shown.</p>`}
  </div>`;
}

function verdictCell(matrix: MatrixSection, index: number): View {
  const verdict = matrix.verdicts[index];
  if (verdict === undefined) return nothing;
  return html`${answerText(verdict.answer, verdict.level)}${
    verdict.reasons[0] === undefined ? nothing : html`<span class="why">${verdict.reasons[0].text}</span>`
  }`;
}
