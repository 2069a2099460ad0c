/** Findings; several of one kind are one entry. */
import { html, nothing } from 'lit-html';
import type { FindingView } from '../../../extension/core/view/viewModels';
import { button, disclosure, notice, type View, type ViewContext } from '../view';

/** The findings section; absent when there is nothing to tell. */
export function findingsView(context: ViewContext): View {
  const kinds = new Map<string, FindingView[]>();
  for (const finding of context.model.findings) kinds.set(finding.code, [...(kinds.get(finding.code) ?? []), finding]);
  if (kinds.size === 0) return nothing;
  return html`<section aria-labelledby="findings-title">
    <h2 id="findings-title">Findings</h2>
    ${[...kinds].map(([code, [first, ...others]]) =>
      first === undefined
        ? nothing
        : html`${findingNotice(context, first)}${
            others.length === 0
              ? nothing
              : disclosure(
                  context,
                  `findings:${code}`,
                  `${others.length} more like this`,
                  others.map((finding) => findingNotice(context, finding)),
                )
          }`,
    )}
  </section>`;
}

function findingNotice({ send }: ViewContext, finding: FindingView): View {
  return notice(
    finding.severity,
    html`<b>${finding.title}</b><br />${finding.detail}
      <span class="source">${finding.level}${finding.source === null ? nothing : ` · ${finding.source}`}</span>`,
    finding.canReveal ? button('Show in file', () => send({ type: 'revealFinding', findingId: finding.id })) : nothing,
  );
}
