/** What vLLM selects, per layer group. */
import { html, nothing } from 'lit-html';
import { answerGlyph, button, disclosure, notice, type View, type ViewContext } from '../view';
import { reasonList } from './reasons';

/** The headline of the panel: one line per layer group. */
export function selectionView(context: ViewContext): View {
  const { rules, family, matrix } = context.model;
  return html`<section aria-labelledby="selection-title">
    <h2 id="selection-title">What vLLM selects</h2>
    <p class="quiet">
      ${rules.release}${family.asked === null ? '' : ` on ${family.asked.label} ${family.asked.architecture}`}${
        rules.model === null ? ', for the head sizes of the request' : `, for ${rules.model}`
      }${rules.checkedOn === null ? '' : `. Rules checked on ${rules.checkedOn}.`}
      ${button(rules.model === null ? 'Choose a model …' : 'Change model …', () => context.send({ type: 'selectModel' }), 'link')}
    </p>
    ${rules.caveat === null ? nothing : notice('warning', rules.caveat)}
    ${rules.modelFailure === null ? nothing : notice('error', rules.modelFailure)}
    ${
      rules.selections.length === 0
        ? html`<div class="empty">
            <p>${matrix.note ?? 'Nothing was asked yet.'}</p>
            ${families(context)}
          </div>`
        : html`<ul class="selections">
            ${rules.selections.map(
              (selection) =>
                html`<li>
                  ${disclosure(
                    context,
                    `selection:${selection.layerGroup}`,
                    html`${answerGlyph(selection.answer)} <b>${selection.text}</b> for
                      ${selection.layerGroup}${
                        selection.detail === null ? nothing : html`<span class="quiet">, ${selection.detail}</span>`
                      }${selection.level === 'declared' ? nothing : html` <span class="level">${selection.level}</span>`}`,
                    reasonList(selection.reasons),
                  )}
                </li>`,
            )}
          </ul>`
    }
    ${validation(context)}
    ${
      rules.assumptions.length === 0
        ? nothing
        : disclosure(
            context,
            'assumptions',
            `${rules.assumptions.length} assumption${rules.assumptions.length === 1 ? '' : 's'} behind this answer`,
            html`<ul>
              ${rules.assumptions.map((assumption) => html`<li>${assumption}</li>`)}
            </ul>`,
          )
    }
  </section>`;
}

/** Asking the installed vLLM itself, and what came of it. */
function validation({ model, send }: ViewContext): View {
  const { canAsk, asking, text, canReport } = model.rules.validation;
  if (!canAsk && text === null) return nothing;
  return html`<div class="actions" aria-live="polite" aria-busy=${asking ? 'true' : 'false'}>
    ${text === null ? nothing : html`<span class="quiet">${text}</span>`}
    ${canAsk ? button('Ask the installed vLLM', () => send({ type: 'validateSelection' })) : nothing}
    ${canReport ? button('Export bug report …', () => send({ type: 'exportBugReport' }), 'link') : nothing}
  </div>`;
}

/** One click instead of a list, where there is no device to ask about. */
function families({ model, send }: ViewContext): View {
  if (model.family.asked !== null) return nothing;
  return html`<div class="actions">
    ${model.family.options.map(({ label, architecture, capability }) =>
      button(`${label} ${architecture}`, () =>
        send({ type: 'setWhatIfFamily', capability: [capability[0], capability[1]] }),
      ),
    )}
  </div>`;
}
