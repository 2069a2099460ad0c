/** Findings with what can be done about each; several of one kind are one entry. */
import { html, nothing } from 'lit-html';
import type { FindingView } from '../../../extension/core/view/viewModels';
import { button, disclosure, notice, type View, type ViewContext } from '../view';
import { UPGRADE_DISCLOSURE } from './whatIf';

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

function findingNotice(context: ViewContext, finding: FindingView): View {
  return notice(
    finding.severity,
    html`<b>${finding.title}</b><br />${finding.detail}
      <span class="source">${finding.level}${finding.source === null ? nothing : ` · ${finding.source}`}</span>`,
    fixes(context, finding),
  );
}

/** One button per fix, and the way to the place. Each is named with its finding, because several may be called the same. */
function fixes({ send, ui, setUi }: ViewContext, finding: FindingView): View {
  if (finding.fixes.length === 0 && finding.place === null) return nothing;
  const apply = (fixId: string): void => {
    send({ type: 'applyFix', findingId: finding.id, fixId });
    if (fixId !== 'compare-releases') return;
    setUi({ open: [...new Set([...ui.open, UPGRADE_DISCLOSURE])] });
    document.getElementById('what-if-title')?.scrollIntoView();
  };
  return html`<div class="fixes" role="group" aria-label=${`Fixes: ${finding.title}`}>
    ${finding.fixes.map((fix) => button(fix.title, () => apply(fix.id)))}
    ${
      finding.place === null
        ? nothing
        : button(`Show ${finding.place}`, () => send({ type: 'revealFinding', findingId: finding.id }), 'link')
    }
  </div>`;
}
