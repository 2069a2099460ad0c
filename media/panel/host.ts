/** The only place that touches the webview's API. */
import type { PanelModel } from '../../extension/core/view/viewModels';
import { PANEL_PROTOCOL_VERSION, type Intent, type SnapshotMessage } from '../../extension/protocol/panelApi';

interface VsCodeApi {
  postMessage(message: unknown): void;
  getState(): unknown;
  setState(state: unknown): void;
}

declare function acquireVsCodeApi(): VsCodeApi;

const api = acquireVsCodeApi();

/** Asks the host for something. */
export function send(intent: Intent): void {
  api.postMessage(intent);
}

/** UI-only state of an earlier life of this panel. */
export function loadState(): unknown {
  return api.getState();
}

/** Keeps UI-only state; never facts. */
export function saveState(state: unknown): void {
  api.setState(state);
}

/** Calls `listener` with every snapshot that is not older than the last. */
export function onSnapshot(listener: (model: PanelModel) => void): void {
  let last = 0;
  window.addEventListener('message', (event: MessageEvent<unknown>) => {
    const message = event.data as Partial<SnapshotMessage<PanelModel>> | null;
    if (message?.type !== 'snapshot' || message.protocolVersion !== PANEL_PROTOCOL_VERSION) return;
    if (message.sequence === undefined || message.model === undefined || message.sequence <= last) return;
    last = message.sequence;
    listener(message.model);
  });
}
