/** Run button, progress, the question about a busy GPU, and the results table. */
import { html, nothing, svg } from 'lit-html';
import type {
  FlagPairView,
  LibraryView,
  PairSideView,
  ResultRowView,
} from '../../../extension/core/view/viewModelsRun';
import type { GridCellView, GridView } from '../../../extension/core/view/viewModelsGrid';
import { button, figures, notice, type View, type ViewContext } from '../view';

/** The run section. */
export function runView(context: ViewContext): View {
  const { run, results, report } = context.model;
  return html`<section aria-labelledby="run-title">
    <h2 id="run-title">${report === null ? 'Measurements' : 'Measurements in the report'}</h2>
    ${report === null ? controls(context) : nothing}
    <p class="visually-hidden" role="status" aria-live="polite">${run.finished ?? ''}</p>
    ${
      run.failure === null
        ? nothing
        : notice(
            'error',
            `${run.failure.what} ${run.failure.next}`,
            button('Show log', () => context.send({ type: 'showLog' })),
          )
    }
    ${librariesView(results.libraries)} ${flagPairsView(results.flagPairs)}
    ${results.empty === null ? resultsTable(context) : html`<div class="empty"><p>${results.empty}</p></div>`}
  </section>`;
}

function controls(context: ViewContext): View {
  const { run } = context.model;
  const { send } = context;
  if (run.busy !== null) {
    return html`<div class="confirm" role="group" aria-label="The GPU is busy">
      ${notice('warning', run.busy.question)} ${figures(run.busy.figures)}
      <div class="row">
        ${button('Run all the same', () => send({ type: 'confirmRun' }), 'primary')}
        ${button('Do not run', () => send({ type: 'cancelRun' }))}
      </div>
    </div>`;
  }
  if (run.progress !== null) {
    const { done, total, text, cancelling } = run.progress;
    return html`<div class="progress">
      <progress aria-label="Cases finished" max=${total} .value=${done}></progress>
      <span>${done} of ${total} finished. ${text}</span>
      <button type="button" class="secondary" ?disabled=${cancelling} @click=${() => send({ type: 'cancelRun' })}>
        ${cancelling ? 'Cancelling …' : 'Cancel'}
      </button>
    </div>`;
  }
  const blocked = run.blocked ?? (context.parsedDraft.ok ? null : 'The request above has a field that cannot be read.');
  return html`<div class="row">
      <button
        type="button"
        class="primary"
        ?disabled=${blocked !== null}
        aria-describedby=${blocked === null ? nothing : 'run-blocked'}
        @click=${() => send({ type: 'run' })}
      >
        ${run.buttonLabel}
      </button>
      <button
        type="button"
        class="secondary"
        ?disabled=${blocked !== null}
        aria-describedby=${blocked === null ? 'libraries-note' : 'run-blocked'}
        @click=${() => send({ type: 'measureBackends', which: 'all' })}
      >
        ${run.librariesLabel}
      </button>
      <button
        type="button"
        class="secondary"
        ?disabled=${blocked !== null}
        aria-describedby=${blocked === null ? 'libraries-note' : 'run-blocked'}
        @click=${() => send({ type: 'measureBackends', which: 'flashAttn4' })}
      >
        Measure both FlashAttention 4
      </button>
      ${run.finished === null ? nothing : html`<span>${run.finished}</span>`}
    </div>
    <p class="quiet" id="libraries-note">
      Installed libraries run under the Python interpreter that is inspected here, one process each. Both FlashAttention
      4: the one from pip and vLLM’s own, which is what use_system_flash_attn exchanges.
    </p>
    ${
      blocked === null
        ? nothing
        : html`<div id="run-blocked">
            ${notice('info', blocked, run.offerTrust ? button('Manage trust …', () => send({ type: 'manageTrust' })) : nothing)}
          </div>`
    }
    ${run.notice === null || blocked !== null ? nothing : html`<p class="quiet">${run.notice}</p>`}`;
}

/** What was found of the installed libraries; what is not there says why. */
function librariesView(libraries: readonly LibraryView[]): View {
  if (libraries.length === 0) return nothing;
  const present = libraries.filter((each) => each.available).length;
  return html`<details>
    <summary>${present} of ${libraries.length} installed libraries can be called</summary>
    <ul class="libraries">
      ${libraries.map(
        (each) =>
          html`<li>
            <span class="glyph ${each.available ? 'yes' : 'unknown'}" aria-hidden="true"
              >${each.available ? '✓' : '–'}</span
            >
            ${each.label}: ${each.available ? each.text : `not there. ${each.text}`}
          </li>`,
      )}
    </ul>
  </details>`;
}

/** The library from pip beside vLLM's own, case by case. */
function flagPairsView(pairs: readonly FlagPairView[]): View {
  if (pairs.length === 0) return nothing;
  return html`<h3 id="pairs-title">What use_system_flash_attn exchanges</h3>
    <div class="scroller" tabindex="0" role="region" aria-labelledby="pairs-title">
      <table class="data results">
        <thead>
          <tr>
            <th scope="col">Case</th>
            <th scope="col">flash-attn-4 (pip)</th>
            <th scope="col" class="number">Time</th>
            <th scope="col" class="number">Host per call</th>
            <th scope="col">FA4 of vLLM</th>
            <th scope="col" class="number">Time</th>
            <th scope="col" class="number">Host per call</th>
            <th scope="col" class="number">vLLM ÷ pip</th>
          </tr>
        </thead>
        <tbody>
          ${pairs.map(
            (pair) =>
              html`<tr>
                <th scope="row">${pair.title}<span class="sub">${pair.shape}</span></th>
                ${pairSide(pair.system)}${pairSide(pair.vendored)}
                <td class="number">${pair.ratio}</td>
              </tr>`,
          )}
        </tbody>
      </table>
    </div>`;
}

function pairSide(side: PairSideView): View {
  const glyph = side.answer === 'yes' ? '✓' : side.answer === 'no' ? '✗' : '–';
  return html`<td><span class="glyph ${side.answer}" aria-hidden="true">${glyph}</span> ${side.outcome}</td>
    <td class="number">${side.time}<span class="sub">${side.rate}</span></td>
    <td class="number">${side.host}</td>`;
}

function resultsTable({ model }: ViewContext): View {
  const { results } = model;
  return html`${
      results.anyCpu
        ? notice('info', 'Rows marked CPU ran on the CPU reference device. Their times are not GPU times.')
        : nothing
    }
    ${
      results.anyContended
        ? notice(
            'warning',
            'Rows marked contended shared the GPU with another process: their times say nothing about the kernel.',
          )
        : nothing
    }
    ${figures(results.ceilings.map((line) => ({ label: `Ceiling, ${line.label}`, value: line.value })))}
    ${results.grids.map((grid) => gridView(grid))} ${results.grids.length === 0 ? nothing : html`<h3>Each case</h3>`}
    <div class="scroller" tabindex="0" role="region" aria-label="Results table">
      <table class="data results">
        <thead>
          <tr>
            <th scope="col">
              ${results.rows.some((row) => row.engineLabel !== null) ? 'Engine, case and kernel' : 'Case and kernel'}
            </th>
            <th scope="col">Status</th>
            <th scope="col" class="number">Time</th>
            <th scope="col">Rate</th>
            <th scope="col" class="number">Of ceiling</th>
            <th scope="col" class="number">Rel. error</th>
            <th scope="col" class="number">Host per call</th>
            <th scope="col" class="number">SM clock</th>
          </tr>
        </thead>
        <tbody>
          ${results.rows.map((row) => resultRow(row))}
        </tbody>
      </table>
    </div>
    ${
      results.hidden === 0
        ? nothing
        : html`<p class="quiet">
            ${results.hidden} older rows are not shown here; an exported report has all of them.
          </p>`
    }`;
}

/** Page layouts down, head sizes across: what works here, and how fast. */
function gridView({ title, headDims, rows }: GridView): View {
  return html`<div class="scroller" tabindex="0" role="region" aria-label=${title}>
    <table class="data grid">
      <caption>
        <span class="words">${title}</span>
      </caption>
      <thead>
        <tr>
          <th scope="col">Head size</th>
          ${headDims.map((headDim) => html`<th scope="col" class="number">${headDim}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          (row) =>
            html`<tr>
              <th scope="row">${row.layout}</th>
              ${row.cells.map((cell) => html`<td class="number">${cell === null ? nothing : gridCell(cell)}</td>`)}
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}

function gridCell({ answer, text, sub }: GridCellView): View {
  const glyph = answer === 'yes' ? '✓' : answer === 'no' ? '✗' : '–';
  return html`<span class="glyph ${answer}" aria-hidden="true">${glyph}</span> ${text}${
      sub === '' ? nothing : html`<span class="sub">${sub}</span>`
    }`;
}

function resultRow(row: ResultRowView): View {
  const answer =
    row.status === 'ok' ? 'yes' : row.status === 'unsupported' || row.status === 'cancelled' ? 'unknown' : 'no';
  const glyph = row.status === 'ok' ? '✓' : answer === 'no' ? '✗' : '–';
  return html`<tr>
    <th scope="row">
      ${row.engineLabel ?? row.title}${
        row.engineLabel === null ? nothing : html`<span class="sub">${row.title}</span>`
      }${row.sameCase ? nothing : html`<span class="sub">${row.shape}</span>`}${
        row.kernel === null ? nothing : html`<span class="sub kernel">${row.kernel}</span>`
      }${row.kernelWhy === null ? nothing : html`<span class="sub">${row.kernelWhy}</span>`}
    </th>
    <td class="status">
      <span class="glyph ${answer}" aria-hidden="true">${glyph}</span> ${row.statusText}
      ${row.onCpu ? html`<span class="tag">CPU</span>` : nothing}
      ${row.contended ? html`<span class="tag warn">contended</span>` : nothing}
    </td>
    ${row.reason === null ? figuresOf(row) : html`<td colspan="6">${row.reason}${errorLine(row)}</td>`}
  </tr>`;
}

/** What was measured of a row that is right. */
function figuresOf(row: ResultRowView): View {
  return html`<td class="number">
      ${row.median}${row.spread === '' ? nothing : html`<span class="sub">${row.spread}</span>`}
    </td>
    <td class="rate">${row.rate}${row.bar === null ? nothing : bar(row.bar)}</td>
    <td class="number">${row.percentOfCeiling}</td>
    <td class="number">${row.relError}${row.errorDetail.map((line) => html`<span class="sub">${line}</span>`)}</td>
    <td class="number">
      ${row.hostTime}${row.firstCall === null ? nothing : html`<span class="sub">first call ${row.firstCall}</span>`}
    </td>
    <td class="number">${row.clock}</td>`;
}

/** The error of a row without a time: what makes it wrong. */
function errorLine(row: ResultRowView): View {
  if (row.errorDetail.length === 0) return nothing;
  return html`<span class="sub">relative error ${row.relError}, ${row.errorDetail.join(', ')}</span>`;
}

/** A decoration: the figures beside it say the same. Drawn as SVG because the page's policy allows no inline style. */
function bar(share: number): View {
  const width = Math.max(0.5, Math.min(100, share * 100));
  return html`<svg class="bar" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">
    ${svg`<rect class="rail" width="100" height="6"></rect><rect class="fill" width=${width} height="6"></rect>`}
  </svg>`;
}
