/** Mounts the panel: the newest snapshot plus UI-only state, rendered as a whole at every change. */
import { html, nothing, render } from 'lit-html';
import type { PanelModel } from '../../extension/core/view/viewModels';
import { PANEL_PROTOCOL_VERSION, type Intent } from '../../extension/protocol/panelApi';
import { draftOf, parseDraft, type FormDraft } from './formDraft';
import { onSnapshot, send } from './host';
import { keepUiState, restoreUiState, type UiState } from './uiState';
import { button, notice, type View, type ViewContext } from './view';
import { deviceView } from './views/device';
import { findingsView } from './views/findings';
import { flagView } from './views/flag';
import { matrixView } from './views/matrix';
import { requestView } from './views/request';
import { runView } from './views/run';
import { selectionView } from './views/selection';
import { whatIfView } from './views/whatIf';

/** Typing settles for this long before the request is sent. */
const TYPING_PAUSE_MS = 250;

const app = document.getElementById('app');
if (app === null) throw new Error('The page has no #app.');
const root: HTMLElement = app;

let model: PanelModel | null = null;
let ui: UiState = restoreUiState();
let draft: FormDraft | null = null;
/** The host's form that the draft was last taken from. */
let draftBase = '';
/** The form that our last request takes the place of: a snapshot that still has it left before the host heard of ours. */
let replacedForm: string | null = null;
let typing: number | undefined;

onSnapshot((snapshot) => {
  // A report that takes the place of everything below is announced at the top.
  if (snapshot.report !== null && model?.report?.text !== snapshot.report.text) window.scrollTo(0, 0);
  model = snapshot;
  // A form that the host changed (preset, device) replaces what is being typed; an echo of our own does not.
  const base = JSON.stringify(snapshot.request.form);
  if (base !== replacedForm) replacedForm = null;
  if (draft === null || (base !== draftBase && replacedForm === null)) {
    const typed = draft === null ? null : parseDraft(draft);
    if (typed === null || !typed.ok || JSON.stringify(typed.form) !== base) draft = draftOf(snapshot.request.form);
    draftBase = base;
  }
  draw();
});

send({ type: 'ready', protocolVersion: PANEL_PROTOCOL_VERSION });

function setUi(members: Partial<UiState>): void {
  ui = { ...ui, ...members };
  keepUiState(ui);
  draw();
}

function setDraft(members: Partial<FormDraft>): void {
  if (draft === null) return;
  draft = { ...draft, ...members };
  draw();
  window.clearTimeout(typing);
  typing = window.setTimeout(sendDraft, TYPING_PAUSE_MS);
}

function sendDraft(): void {
  if (draft === null) return;
  const parsed = parseDraft(draft);
  if (!parsed.ok || JSON.stringify(parsed.form) === draftBase) return;
  replacedForm = draftBase;
  draftBase = JSON.stringify(parsed.form);
  send({ type: 'setRequest', request: parsed.form });
}

/** Sends what the user does, after what was typed before it: the host acts on the request that it has heard of. */
function act(intent: Intent): void {
  window.clearTimeout(typing);
  if (intent.type === 'applyPreset') dropDraft();
  else sendDraft();
  send(intent);
}

/** A preset takes the place of what is being typed, sent or not. */
function dropDraft(): void {
  if (model === null) return;
  draft = draftOf(model.request.form);
  draftBase = JSON.stringify(model.request.form);
  replacedForm = null;
  draw();
}

function draw(): void {
  if (model === null || draft === null) return;
  if (root.hasAttribute('aria-busy')) {
    root.removeAttribute('aria-busy');
    root.replaceChildren();
  }
  render(page({ model, ui, draft, parsedDraft: parseDraft(draft), send: act, setUi, setDraft }), root);
}

function page(context: ViewContext): View {
  return html`<main>
    <header class="top">
      <h1>Attention Backend Diagnostics</h1>
      <div class="actions">
        ${button('Open report …', () => context.send({ type: 'openReport' }))}
        ${button('Export report …', () => context.send({ type: 'exportReport' }))}
        ${button('Copy serve arguments', () => context.send({ type: 'copyServeArgs' }))}
        ${button('Show log', () => context.send({ type: 'showLog' }))}
      </div>
    </header>
    ${
      context.model.report === null
        ? nothing
        : html`<div class="banner" role="status">
            <p>${context.model.report.text} ${context.model.report.failure ?? ''}</p>
            ${button('Close report', () => context.send({ type: 'closeReport' }), 'primary')}
          </div>`
    }
    ${
      context.model.trustNotice === null
        ? nothing
        : notice(
            'warning',
            context.model.trustNotice,
            button('Manage trust …', () => context.send({ type: 'manageTrust' })),
          )
    }
    ${deviceView(context)} ${context.model.report === null ? requestView(context) : nothing} ${selectionView(context)}
    ${findingsView(context)} ${flagView(context)} ${whatIfView(context)} ${matrixView(context)} ${runView(context)}
  </main>`;
}
