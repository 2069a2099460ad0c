/** The same request elsewhere: other SM families side by side, and what an upgrade of vLLM changes. */
import { html, nothing } from 'lit-html';
import type {
  OutcomeView,
  UpgradeFinding,
  UpgradeRow,
  UpgradeView,
} from '../../../extension/core/view/viewModelsWhatIf';
import { answerGlyph, disclosure, severityMark, type View, type ViewContext } from '../view';
import { reasonList } from './reasons';

/** Disclosure of the upgrade comparison; a fix of a finding opens it. */
export const UPGRADE_DISCLOSURE = 'whatIf:upgrade';

/** The what-if section. */
export function whatIfView(context: ViewContext): View {
  const { whatIf } = context.model;
  if (whatIf.columns.length === 0) return nothing;
  return html`<section aria-labelledby="what-if-title">
    <h2 id="what-if-title">What if</h2>
    ${disclosure(
      context,
      'whatIf:families',
      html`On another GPU: <span class="quiet">${whatIf.summary}</span>`,
      familiesTable(context),
    )}
    ${
      whatIf.upgrade === null
        ? nothing
        : disclosure(
            context,
            UPGRADE_DISCLOSURE,
            html`With another vLLM:
              <span class="quiet">${whatIf.upgrade.from} → ${whatIf.upgrade.to}, ${whatIf.upgrade.summary}</span>`,
            upgrade(context, whatIf.upgrade),
          )
    }
  </section>`;
}

function familiesTable({ model }: ViewContext): View {
  const { release, columns, rows } = model.whatIf;
  const asked = columns.find((column) => column.asked)?.label;
  return html`<div class="scroller" tabindex="0" role="region" aria-label="Selected backend on each SM family">
    <table class="data outcomes">
      <caption>
        <span class="words"
          >What ${release} selects on each SM
          family${asked === undefined ? '' : html`; <span class="delta">≠</span> marks what differs from ${asked}`}</span
        >
      </caption>
      <thead>
        <tr>
          <th scope="col">Layers</th>
          ${columns.map(
            (column) =>
              html`<th scope="col" class=${column.asked ? 'asked' : ''}>
                ${column.label}${column.asked ? ' (asked)' : ''}<span class="sub">${column.sub}</span>
              </th>`,
          )}
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          (row) =>
            html`<tr>
              <th scope="row">${row.layerGroup}</th>
              ${row.cells.map((cell) => html`<td>${outcome(cell, asked)}</td>`)}
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}

function outcome(cell: OutcomeView, asked: string | undefined): View {
  return html`<span class="outcome"
      >${answerGlyph(cell.fails === null ? cell.answer : 'no')}
      ${cell.text}${
        cell.differs
          ? html` <span class="delta" aria-hidden="true">≠</span
              ><span class="visually-hidden">, differs from ${asked ?? 'the release before'}</span>`
          : nothing
      }</span
    >${cell.detail === '' ? nothing : html`<span class="why">${cell.detail}</span>`}${
      cell.fails === null ? nothing : html`<span class="why">likely fails: ${cell.fails}</span>`
    }`;
}

function upgrade(context: ViewContext, view: UpgradeView): View {
  const { send } = context;
  return html`<div class="row">
      ${picker('From vLLM', view.from, view, (from) => send({ type: 'compareReleases', from, to: view.to }))}
      ${picker('To vLLM', view.to, view, (to) => send({ type: 'compareReleases', from: view.from, to }))}
    </div>
    ${upgradeTable(view)} ${findingList('Comes with it', view.brings)} ${findingList('Is gone after it', view.solves)}`;
}

function picker(label: string, value: string, { options }: UpgradeView, choose: (version: string) => void): View {
  return html`<label class="field grow"
    ><span>${label}</span>
    <select @change=${(event: Event) => choose((event.target as HTMLSelectElement).value)}>
      ${options.map(
        (option) =>
          html`<option value=${option.version} .selected=${option.version === value}>${option.label}</option>`,
      )}
    </select></label
  >`;
}

function upgradeTable({ from, to, family, rows }: UpgradeView): View {
  return html`<div class="scroller" tabindex="0" role="region" aria-label="Selected backend under both releases">
    <table class="data outcomes">
      <caption>
        <span class="words">What each release selects ${family}</span>
      </caption>
      <thead>
        <tr>
          <th scope="col">Layers</th>
          <th scope="col">vLLM ${from}</th>
          <th scope="col">vLLM ${to}</th>
          <th scope="col">Why it changes</th>
        </tr>
      </thead>
      <tbody>
        ${rows.map((row) => upgradeRow(row))}
      </tbody>
    </table>
  </div>`;
}

function upgradeRow(row: UpgradeRow): View {
  return html`<tr class=${row.changed ? 'changed' : ''}>
    <th scope="row">${row.layerGroup}</th>
    <td>${outcome(row.from, undefined)}</td>
    <td>${outcome(row.to, undefined)}</td>
    <td>
      ${
        !row.changed
          ? html`<span class="quiet">= same</span>`
          : row.why.length === 0
            ? html`<span class="quiet">No rule in the catalog says why.</span>`
            : reasonList(row.why)
      }
    </td>
  </tr>`;
}

function findingList(title: string, findings: readonly UpgradeFinding[]): View {
  if (findings.length === 0) return nothing;
  return html`<h3>${title}</h3>
    <ul class="plain">
      ${findings.map(({ severity, title: text }) => html`<li>${severityMark(severity)} ${text}</li>`)}
    </ul>`;
}
