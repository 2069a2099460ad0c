/** Reasons with their sources. */
import { html, nothing } from 'lit-html';
import type { ReasonView } from '../../../extension/core/view/viewModelsMatrix';
import type { View } from '../view';

/** A list of reasons, each with the place of its rule. */
export function reasonList(reasons: readonly ReasonView[]): View {
  if (reasons.length === 0) return html`<p class="quiet">No rule speaks against it.</p>`;
  return html`<ul class="reasons">
    ${reasons.map(
      (reason) =>
        html`<li>
          ${reason.text}${reason.source === null ? nothing : html`<span class="source">${reason.source}</span>`}
        </li>`,
    )}
  </ul>`;
}
