/** The one panel: page, ready handshake, snapshots out, intents in. It holds no state of its own. */
import * as v from 'valibot';
import * as vscode from 'vscode';
import type { AppState } from '../core/state/appState';
import type { Logger } from '../core/logger';
import type { Store } from '../core/state/store';
import { panelModel, type PanelModel } from '../core/view/viewModels';
import { intentSchema, PANEL_PROTOCOL_VERSION, type Intent, type SnapshotMessage } from '../protocol/panelApi';
import { panelHtml, panelResourceRoots } from './panelHtml';

/** View type of the panel; also names its serializer and its activation. */
export const PANEL_VIEW_TYPE = 'attentionDiagnostics.panel';

/** At most ten snapshots a second: they may cross a network. */
const SNAPSHOT_INTERVAL_MS = 100;

/** Carries out an intent. Rejections are the panel's to report. */
export type IntentHandler = (intent: Intent) => Promise<void>;

/** Opens, restores and feeds the panel. */
export class PanelController implements vscode.Disposable {
  readonly #store: Store<AppState>;
  readonly #log: Logger;
  readonly #extensionUri: vscode.Uri;
  readonly #onIntent: IntentHandler;
  readonly #subscriptions: vscode.Disposable;
  #panel: vscode.WebviewPanel | null = null;
  #panelListeners: vscode.Disposable | null = null;
  #ready = false;
  #sequence = 0;
  #timer: NodeJS.Timeout | null = null;
  #sentAtMs = 0;
  #lastModel: PanelModel | null = null;

  constructor(store: Store<AppState>, log: Logger, extensionUri: vscode.Uri, onIntent: IntentHandler) {
    this.#store = store;
    this.#log = log;
    this.#extensionUri = extensionUri;
    this.#onIntent = onIntent;
    this.#subscriptions = vscode.Disposable.from(
      {
        dispose: store.subscribe(
          (state) => state,
          () => this.#schedule(),
        ),
      },
      vscode.window.registerWebviewPanelSerializer(PANEL_VIEW_TYPE, {
        deserializeWebviewPanel: (panel) => {
          this.#adopt(panel);
          return Promise.resolve();
        },
      }),
    );
  }

  /** The last snapshot that was sent; for in-host tests. */
  get lastModel(): PanelModel | null {
    return this.#lastModel;
  }

  get isOpen(): boolean {
    return this.#panel !== null;
  }

  /** Opens the panel, or brings it to the front. */
  open(): void {
    if (this.#panel !== null) {
      this.#panel.reveal();
      return;
    }
    this.#adopt(
      vscode.window.createWebviewPanel(PANEL_VIEW_TYPE, vscode.l10n.t('Attention Backends'), vscode.ViewColumn.Active),
    );
  }

  dispose(): void {
    this.#subscriptions.dispose();
    this.#panelListeners?.dispose();
    this.#panel?.dispose();
    this.#clearTimer();
  }

  #adopt(panel: vscode.WebviewPanel): void {
    this.#panelListeners?.dispose();
    if (this.#panel !== null && this.#panel !== panel) this.#panel.dispose();
    this.#panel = panel;
    this.#ready = false;
    panel.iconPath = vscode.Uri.joinPath(this.#extensionUri, 'media', 'icon.png');
    panel.webview.options = {
      enableScripts: true,
      enableForms: false,
      enableCommandUris: false,
      localResourceRoots: panelResourceRoots(this.#extensionUri),
    };
    this.#panelListeners = vscode.Disposable.from(
      panel.webview.onDidReceiveMessage((message: unknown) => this.receive(message)),
      panel.onDidChangeViewState(() => {
        if (panel.visible) this.#schedule();
        else this.#clearTimer();
      }),
      panel.onDidDispose(() => this.#forget(panel)),
    );
    panel.webview.html = panelHtml(panel.webview, this.#extensionUri, vscode.env.language);
  }

  #forget(panel: vscode.WebviewPanel): void {
    if (this.#panel !== panel) return;
    this.#panelListeners?.dispose();
    this.#panelListeners = null;
    this.#panel = null;
    this.#ready = false;
    this.#clearTimer();
  }

  /**
   * What the page posts (and what in-host tests post in its place). The page is not trusted: what does not parse is logged
   * and dropped.
   */
  receive(message: unknown): void {
    const parsed = v.safeParse(intentSchema, message);
    if (!parsed.success) {
      this.#log.warn('The panel sent a message that is no intent; it was dropped.', {
        issues: v.summarize(parsed.issues).slice(0, 500),
      });
      return;
    }
    const intent = parsed.output;
    if (intent.type === 'ready') {
      if (intent.protocolVersion !== PANEL_PROTOCOL_VERSION) {
        this.#log.warn(`The panel speaks protocol ${intent.protocolVersion}, this host ${PANEL_PROTOCOL_VERSION}.`);
      }
      this.#ready = true;
      this.#send();
      return;
    }
    this.#log.trace('intent', intent);
    void this.#onIntent(intent);
  }

  #schedule(): void {
    if (this.#panel?.visible !== true || !this.#ready || this.#timer !== null) return;
    const waitMs = Math.max(0, this.#sentAtMs + SNAPSHOT_INTERVAL_MS - Date.now());
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#send();
    }, waitMs);
  }

  #send(): void {
    const panel = this.#panel;
    if (panel?.visible !== true || !this.#ready) return;
    this.#clearTimer();
    this.#sentAtMs = Date.now();
    this.#sequence += 1;
    this.#lastModel = panelModel(this.#store.state);
    const message: SnapshotMessage<PanelModel> = {
      type: 'snapshot',
      protocolVersion: PANEL_PROTOCOL_VERSION,
      sequence: this.#sequence,
      model: this.#lastModel,
    };
    panel.webview.postMessage(message).then(undefined, (error: unknown) => {
      this.#log.warn('A snapshot did not reach the panel.', { error: String(error) });
    });
  }

  #clearTimer(): void {
    if (this.#timer === null) return;
    clearTimeout(this.#timer);
    this.#timer = null;
  }
}
