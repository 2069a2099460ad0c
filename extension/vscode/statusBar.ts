/** The one status bar item, drawn from its view model. Starts nothing. */
import * as vscode from 'vscode';
import type { AppState } from '../core/state/appState';
import type { Store } from '../core/state/store';
import { statusBarModel, type StatusBarModel } from '../core/view/viewModelsStatusBar';
import type { SettingsReader } from './settings';

/** Commands the tooltip may link to; VS Code refuses every other. */
const TOOLTIP_COMMANDS = [
  'attentionDiagnostics.openPanel',
  'attentionDiagnostics.toggleSystemFlashAttn',
  'attentionDiagnostics.runKernels',
  'attentionDiagnostics.showLog',
] as const;

/** Shows what is known. A click opens the panel, which probes with the management library only when nothing fresh is known. */
export class StatusBar implements vscode.Disposable {
  readonly #item: vscode.StatusBarItem;
  readonly #store: Store<AppState>;
  readonly #settings: SettingsReader;
  readonly #subscriptions: vscode.Disposable;
  #shown = '';

  constructor(store: Store<AppState>, settings: SettingsReader) {
    this.#store = store;
    this.#settings = settings;
    this.#item = vscode.window.createStatusBarItem('attentionDiagnostics.status', vscode.StatusBarAlignment.Left, 0);
    this.#item.name = vscode.l10n.t('Attention Backend');
    this.#subscriptions = vscode.Disposable.from(
      {
        dispose: store.subscribe(
          (state) => state,
          () => this.#draw(),
        ),
      },
      settings.onDidChange(() => this.#draw()),
    );
    this.#draw();
  }

  /** The model that is on screen; for in-host tests. */
  get model(): StatusBarModel {
    return statusBarModel(this.#store.state);
  }

  dispose(): void {
    this.#subscriptions.dispose();
    this.#item.dispose();
  }

  #draw(): void {
    const { model } = this;
    const visibility = this.#settings.current['statusBar.visibility'].value;
    const visible = visibility === 'always' || (visibility === 'afterProbe' && model.probed);
    // Assigning a tooltip closes the one that is open, so nothing is assigned that has not changed.
    const drawn = JSON.stringify([visible, model]);
    if (drawn === this.#shown) return;
    this.#shown = drawn;
    this.#item.text = model.text;
    this.#item.accessibilityInformation = { label: model.accessibilityLabel, role: 'button' };
    this.#item.command = 'attentionDiagnostics.openPanel';
    this.#item.tooltip = tooltip(model, this.#store.state.flag.value);
    if (visible) this.#item.show();
    else this.#item.hide();
  }
}

function tooltip(model: StatusBarModel, flagOn: boolean): vscode.MarkdownString {
  const markdown = new vscode.MarkdownString(undefined, true);
  markdown.isTrusted = { enabledCommands: TOOLTIP_COMMANDS };
  for (const { label, value } of model.tooltip) {
    markdown.appendMarkdown('**').appendText(label).appendMarkdown(':** ').appendText(value).appendMarkdown('  \n');
  }
  if (model.tooltipNote !== '') markdown.appendMarkdown('\n').appendText(model.tooltipNote).appendMarkdown('\n');
  const titles: Record<(typeof TOOLTIP_COMMANDS)[number], string> = {
    'attentionDiagnostics.openPanel': vscode.l10n.t('Open panel'),
    'attentionDiagnostics.toggleSystemFlashAttn': flagOn
      ? vscode.l10n.t('Turn use_system_flash_attn off')
      : vscode.l10n.t('Turn use_system_flash_attn on'),
    'attentionDiagnostics.runKernels': vscode.l10n.t('Run kernels'),
    'attentionDiagnostics.showLog': vscode.l10n.t('Show log'),
  };
  const links = TOOLTIP_COMMANDS.map((command) => `[${titles[command]}](command:${command})`);
  markdown.appendMarkdown(`\n${links.join(' · ')}`);
  return markdown;
}
