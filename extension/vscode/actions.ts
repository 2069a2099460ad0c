/** What commands and panel intents do. Each checks the state itself, because a button or a palette entry is only presentation. */
import * as vscode from 'vscode';
import { currentDevice, isRunning, type AppState } from '../core/state/appState';
import { DiagError } from '../core/errors';
import { BACKEND_ENGINES, FLAG_ENGINES } from '../core/measure/engines';
import { findPreset } from '../core/measure/presets';
import { serveArgs } from '../core/serve/serveArgs';
import { known, type Store } from '../core/state/store';
import { allFindings } from '../core/view/viewModels';
import { deviceLabel } from '../core/view/viewModelsDevice';
import type { Intent } from '../protocol/panelApi';
import { guarded, type CommandHandler, type CommandId } from './commands';
import type { EnvironmentProbing } from './environmentProbing';
import { performFix } from './fixing';
import type { OutputLogger } from './logging';
import type { ModelFile } from './modelFile';
import type { Probing } from './probing';
import { compareReports, exportBugReport, exportReport, openReport } from './reportCommands';
import type { Running } from './running';
import type { ServeFile } from './serveFile';
import { offerToWriteFlag } from './serveFileWriter';
import type { SettingsReader } from './settings';
import type { Validating } from './validating';
import { resolveSettingPath } from './workspaceFiles';

/** What the actions work with. */
export interface ActionPorts {
  readonly store: Store<AppState>;
  readonly log: OutputLogger;
  readonly settings: SettingsReader;
  readonly probing: Probing;
  readonly environmentProbing: Pick<EnvironmentProbing, 'probe' | 'ensureCurrent'>;
  readonly validating: Pick<Validating, 'ask'>;
  readonly running: Running;
  readonly modelFile: ModelFile;
  readonly serveFile: Pick<ServeFile, 'load'>;
  readonly openPanel: () => void;
  /** Looks whether this installation can measure; before the first probe or run. */
  readonly checkAddon: () => void;
  readonly toolVersion: string;
}

/** Everything the user can do. */
export class Actions {
  readonly #ports: ActionPorts;

  constructor(ports: ActionPorts) {
    this.#ports = ports;
  }

  /** The palette's table. */
  readonly commands: Readonly<Record<CommandId, CommandHandler>> = {
    'attentionDiagnostics.openPanel': () => this.#openPanel(),
    'attentionDiagnostics.toggleSystemFlashAttn': () => this.#setFlag(!this.#state.flag.value, true),
    'attentionDiagnostics.runKernels': () => this.#run(),
    'attentionDiagnostics.measureBackends': () => this.#measureBackends('all'),
    'attentionDiagnostics.cancelRun': () => this.#cancel(),
    'attentionDiagnostics.selectModel': (file) => this.#ports.modelFile.choose(file),
    'attentionDiagnostics.selectDevice': () => this.#chooseDevice(),
    'attentionDiagnostics.exportReport': () => exportReport(this.#ports.store, this.#ports.toolVersion),
    'attentionDiagnostics.openReport': (file) => this.#openReport(file),
    'attentionDiagnostics.compareReports': () => compareReports(),
    'attentionDiagnostics.copyServeArgs': () => this.#copyServeArgs(),
    'attentionDiagnostics.validateSelection': () => this.#validate(),
    'attentionDiagnostics.showLog': () => {
      this.#ports.log.show();
      return Promise.resolve();
    },
  };

  get #state(): AppState {
    return this.#ports.store.state;
  }

  /** Carries out what the panel asks for. */
  async perform(intent: Intent): Promise<void> {
    const { store, running, modelFile, log } = this.#ports;
    switch (intent.type) {
      case 'ready':
        return;
      case 'probe':
        return this.#probe('driver');
      case 'selectDevice':
        return this.#selectDevice(intent.deviceId);
      case 'setWhatIfFamily':
        store.patch({ whatIfCapability: intent.capability });
        return;
      case 'setSystemFlashAttn':
        return this.#setFlag(intent.on, false);
      case 'setRequest':
        store.patch({ form: intent.request, presetId: null });
        return;
      case 'applyPreset':
        return this.#applyPreset(intent.presetId);
      case 'run':
        return this.#run();
      case 'measureBackends':
        return this.#measureBackends(intent.which);
      case 'confirmRun':
        running.confirm();
        return;
      case 'cancelRun':
        return this.#cancel();
      case 'applyFix':
        return performFix(intent.findingId, intent.fixId, this.#ports);
      case 'compareReleases':
        store.patch({ upgrade: { from: intent.from, to: intent.to } });
        return;
      case 'revealFinding':
        return this.#reveal(intent.findingId);
      case 'selectModel':
        return modelFile.choose(undefined);
      case 'copyServeArgs':
        return this.#copyServeArgs();
      case 'validateSelection':
        return this.#validate();
      case 'exportBugReport':
        return exportBugReport(store, this.#ports.toolVersion);
      case 'exportReport':
        return exportReport(store, this.#ports.toolVersion);
      case 'openReport':
        return this.#openReport(undefined);
      case 'closeReport':
        store.patch({ report: null });
        return;
      case 'showLog':
        log.show();
        return;
      case 'manageTrust':
        await vscode.commands.executeCommand('workbench.trust.manage');
        return;
    }
  }

  async #openPanel(): Promise<void> {
    this.#ports.openPanel();
    const { facts, trusted } = this.#state;
    const fresh = facts.status === 'loading' || (facts.status === 'ready' && !facts.stale);
    // The command asks about this machine, so it may look; by the management library only, without a CUDA context.
    if (!fresh && trusted) await this.#probe('nvml');
  }

  async #probe(level: 'nvml' | 'driver'): Promise<void> {
    if (!this.#state.trusted) {
      throw new DiagError('usage', {
        problem: vscode.l10n.t('Nothing is probed in an untrusted workspace. Trust this folder first.'),
      });
    }
    this.#ports.checkAddon();
    await Promise.all([this.#ports.probing.probe(level), this.#ports.environmentProbing.probe()]);
  }

  async #validate(): Promise<void> {
    this.#ports.openPanel();
    await this.#ports.validating.ask(() => this.#ports.environmentProbing.ensureCurrent());
  }

  async #run(): Promise<void> {
    this.#ports.checkAddon();
    this.#ports.openPanel();
    await this.#ports.running.start();
  }

  async #measureBackends(which: 'all' | 'flashAttn4'): Promise<void> {
    this.#ports.checkAddon();
    this.#ports.openPanel();
    await this.#ports.running.startWithLibraries(which === 'all' ? BACKEND_ENGINES : FLAG_ENGINES);
  }

  #cancel(): Promise<void> {
    if (!isRunning(this.#state.run)) {
      throw new DiagError('usage', { problem: vscode.l10n.t('Nothing is running, so there is nothing to cancel.') });
    }
    this.#ports.running.cancel();
    return Promise.resolve();
  }

  /** @param say tell where it was written; the panel shows that by itself */
  async #setFlag(on: boolean, say: boolean): Promise<void> {
    const place = await this.#ports.settings.write('useSystemFlashAttn', on);
    const serveFile = this.#ports.settings.current.serveConfigPath.value;
    if (serveFile !== '') {
      // Not awaited either, for the same reason as the toast below.
      void guarded(this.#ports.log, 'Writing the serve file', async () => {
        const written = await offerToWriteFlag(this.#state, resolveSettingPath(serveFile), on);
        if (written) await this.#ports.serveFile.load();
      });
    }
    if (!say && this.#state.hasFolder) return;
    const state = on ? vscode.l10n.t('on') : vscode.l10n.t('off');
    const places = {
      folder: vscode.l10n.t('folder settings'),
      workspace: vscode.l10n.t('workspace settings'),
      user: this.#state.hasFolder
        ? vscode.l10n.t('user settings, where it was set before')
        : vscode.l10n.t('user settings, because no folder is open'),
    };
    const openPanel = vscode.l10n.t('Open Panel');
    // Not awaited: the command is over once the setting is written, and a toast may stay open for ever.
    void vscode.window
      .showInformationMessage(
        vscode.l10n.t('use_system_flash_attn is now {0} (written to {1}).', state, places[place]),
        openPanel,
      )
      .then((choice) => (choice === openPanel ? this.#openPanel() : undefined));
  }

  async #selectDevice(deviceId: string): Promise<void> {
    const { store, settings } = this.#ports;
    const devices = known(store.state.facts)?.devices ?? [];
    if (!devices.some((device) => device.id === deviceId)) {
      throw new DiagError('deviceNotFound', { asked: deviceId, present: devices.map((device) => device.id) });
    }
    store.patch({ selectedDeviceId: deviceId });
    fitPreset(store);
    // A setting that names a device follows the choice; where there is none, a UUID in a shared file would help nobody.
    if (settings.current.device.setIn === 'default') return;
    await settings.write('device', deviceId);
  }

  async #chooseDevice(): Promise<void> {
    if (known(this.#state.facts) === null) await this.#probe('nvml');
    const devices = known(this.#state.facts)?.devices ?? [];
    if (devices.length === 0) {
      throw new DiagError('usage', {
        problem: vscode.l10n.t('No device is known. Probe this machine, then try again.'),
      });
    }
    const selected = currentDevice(this.#state)?.id;
    const choice = await vscode.window.showQuickPick(
      devices.map((device) => ({
        label: deviceLabel(device),
        description: device.id === selected ? vscode.l10n.t('selected') : '',
        detail: device.kind === 'cpu' ? vscode.l10n.t('Exact numerics; times are CPU times') : device.id,
        id: device.id,
      })),
      { title: vscode.l10n.t('Run on which device?') },
    );
    if (choice !== undefined) await this.#selectDevice(choice.id);
  }

  #applyPreset(presetId: string): Promise<void> {
    const preset = findPreset(presetId);
    if (preset === undefined) throw new DiagError('usage', { problem: `There is no preset "${presetId}".` });
    this.#ports.store.patch({ presetId });
    fitPreset(this.#ports.store);
    return Promise.resolve();
  }

  async #openReport(file: unknown): Promise<void> {
    if (await openReport(this.#ports.store, file)) this.#ports.openPanel();
  }

  async #copyServeArgs(): Promise<void> {
    const { text, note } = serveArgs(this.#state);
    await vscode.env.clipboard.writeText(text);
    // Not awaited: the text is copied, and a toast may stay open for ever.
    void vscode.window.showInformationMessage(
      note === null ? vscode.l10n.t('Copied: {0}', text) : vscode.l10n.t('Copied: {0}. {1}', text, note),
    );
  }

  async #reveal(findingId: string): Promise<void> {
    const range = allFindings(this.#state).find((finding) => finding.id === findingId)?.range;
    if (range === undefined || range === null) return;
    await vscode.window.showTextDocument(vscode.Uri.file(range.path), {
      viewColumn: vscode.ViewColumn.Beside,
      selection: new vscode.Range(range.startLine, range.startColumn, range.endLine, range.endColumn),
    });
  }
}

/** Fills the form from the chosen preset, in the size that fits the device. */
export function fitPreset(store: Store<AppState>): void {
  const { presetId } = store.state;
  const preset = presetId === null ? undefined : findPreset(presetId);
  if (preset === undefined) return;
  store.patch({ form: currentDevice(store.state)?.kind === 'gpu' ? preset.gpu : preset.cpu });
}
