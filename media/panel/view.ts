/** What every view is given, and the small parts they share. */
import { html, nothing, type TemplateResult } from 'lit-html';
import type { PanelModel } from '../../extension/core/view/viewModels';
import type { Answer, EvidenceLevel, Severity } from '../../extension/core/verdict';
import type { Intent } from '../../extension/protocol/panelApi';
import type { FormDraft, ParsedDraft } from './formDraft';
import type { UiState } from './uiState';

/** A template, or nothing. */
export type View = TemplateResult | typeof nothing;

/** Everything a view may read, and the ways it may act. */
export interface ViewContext {
  readonly model: PanelModel;
  readonly ui: UiState;
  readonly draft: FormDraft;
  readonly parsedDraft: ParsedDraft;
  readonly send: (intent: Intent) => void;
  readonly setUi: (members: Partial<UiState>) => void;
  readonly setDraft: (members: Partial<FormDraft>) => void;
}

const ANSWER_GLYPHS: Record<Answer, string> = { yes: '✓', no: '✗', unknown: '?' };

/** An answer as a glyph; the word stands beside it, so colour and glyph are never alone. */
export function answerGlyph(answer: Answer): TemplateResult {
  return html`<span class="glyph ${answer}" aria-hidden="true">${ANSWER_GLYPHS[answer]}</span>`;
}

/** `✓ yes · declared`. */
export function answerText(answer: Answer, level: EvidenceLevel): TemplateResult {
  return html`<span class="answer">${answerGlyph(answer)} ${answer} <span class="level">${level}</span></span>`;
}

const SEVERITY_GLYPHS: Record<Severity, string> = { error: '✗', warning: '!', info: 'i' };
const SEVERITY_WORDS: Record<Severity, string> = { error: 'Error', warning: 'Warning', info: 'Note' };

/** A severity as glyph and hidden word. */
export function severityMark(severity: Severity): TemplateResult {
  return html`<span class="mark ${severity}" aria-hidden="true">${SEVERITY_GLYPHS[severity]}</span
    ><span class="visually-hidden">${SEVERITY_WORDS[severity]}: </span>`;
}

/** A message with its severity as glyph and hidden word. */
export function notice(severity: Severity, text: unknown, actions: View = nothing): TemplateResult {
  return html`<div class="notice ${severity}">
    <span class="mark" aria-hidden="true">${SEVERITY_GLYPHS[severity]}</span>
    <p><span class="visually-hidden">${SEVERITY_WORDS[severity]}: </span>${text}</p>
    ${actions}
  </div>`;
}

/** A button in the secondary look. */
export function button(
  label: string,
  onClick: () => void,
  look: 'primary' | 'secondary' | 'link' = 'secondary',
): TemplateResult {
  return html`<button type="button" class=${look} @click=${onClick}>${label}</button>`;
}

/** A disclosure whose state is kept. */
export function disclosure(context: ViewContext, id: string, summary: unknown, content: unknown): TemplateResult {
  const open = context.ui.open.includes(id);
  const onToggle = (event: Event): void => {
    const isOpen = (event.target as HTMLDetailsElement).open;
    if (isOpen === context.ui.open.includes(id)) return;
    context.setUi({ open: isOpen ? [...context.ui.open, id] : context.ui.open.filter((each) => each !== id) });
  };
  return html`<details .open=${open} @toggle=${onToggle}>
    <summary>${summary}</summary>
    <div class="disclosed">${content}</div>
  </details>`;
}

/** Named figures in one wrapping line. */
export function figures(values: readonly { readonly label: string; readonly value: string }[]): View {
  if (values.length === 0) return nothing;
  return html`<dl class="figures">
    ${values.map(
      ({ label, value }) =>
        html`<div>
          <dt>${label}</dt>
          <dd>${value}</dd>
        </div>`,
    )}
  </dl>`;
}
