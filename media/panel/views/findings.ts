/** Findings with their fixes. */
import { html, nothing } from 'lit-html';
import { button, notice, type View, type ViewContext } from '../view';

/** The findings section; absent when there is nothing to tell. */
export function findingsView({ model, send }: ViewContext): View {
  if (model.findings.length === 0) return nothing;
  return html`<section aria-labelledby="findings-title">
    <h2 id="findings-title">Findings</h2>
    ${model.findings.map((finding) =>
      notice(
        finding.severity,
        html`<b>${finding.title}</b><br />${finding.detail}
          <span class="source">${finding.level}${finding.source === null ? nothing : ` · ${finding.source}`}</span>`,
        html`<span class="actions"
          >${
            finding.canReveal
              ? button('Show in file', () => send({ type: 'revealFinding', findingId: finding.id }))
              : nothing
          }${finding.fixes.map((fix) =>
            button(fix.title, () => send({ type: 'applyFix', findingId: finding.id, fixId: fix.id })),
          )}</span
        >`,
      ),
    )}
  </section>`;
}
