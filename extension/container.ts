/** Composition root: creates everything in order and owns its end. Activation starts no process and reads no file. */
import path from 'node:path';
import * as vscode from 'vscode';
import { currentDevice, initialState, isRunning, type AppState } from './core/state/appState';
import { known, Store } from './core/state/store';
import type { PanelModel } from './core/view/viewModels';
import type { StatusBarModel } from './core/view/viewModelsStatusBar';
import { addonPaths, findKernelDir } from './node/addonLocator';
import { benchScript } from './node/backendRunner';
import { HelperClient } from './node/helperClient';
import { probePythonEnvironment, probeScript } from './node/pythonProbe';
import { staticSystemFacts } from './node/systemFacts';
import { validateScript } from './node/vllmValidation';
import { Actions, fitPreset } from './vscode/actions';
import { guarded, registerCommands } from './vscode/commands';
import { Deriving } from './vscode/deriving';
import { FindingDiagnostics } from './vscode/diagnostics';
import { EnvironmentProbing } from './vscode/environmentProbing';
import { InterpreterFinder } from './vscode/interpreter';
import { registerLmTools } from './vscode/lmTools';
import { OutputLogger } from './vscode/logging';
import { ModelFile } from './vscode/modelFile';
import { PanelController } from './vscode/panel';
import { Probing } from './vscode/probing';
import { QuickFixes } from './vscode/quickFixes';
import { Running, type RunPreferences } from './vscode/running';
import { ServeFile } from './vscode/serveFile';
import { hasFolder, SettingsReader, type Settings } from './vscode/settings';
import { StatusBar } from './vscode/statusBar';
import { Validating } from './vscode/validating';
import { checkAddon, readCapabilities } from './vscode/workspaceGate';

/** What in-host tests may look at. */
export interface TestApi {
  readonly state: () => AppState;
  readonly lastPanelModel: () => PanelModel | null;
  readonly statusBar: () => StatusBarModel;
  /** Hands the host a message as if the page had posted it. */
  readonly receiveFromPanel: (message: unknown) => void;
  /** Milliseconds that building the container took. */
  readonly activationMs: number;
}

/** Everything, until it is disposed. */
export interface Container extends vscode.Disposable {
  readonly testApi: TestApi;
}

/** Context key: a run is going on; enables Cancel in the palette. */
const RUNNING_CONTEXT = 'attentionDiagnostics.running';

/** Builds the extension for one window. */
export function createContainer(context: vscode.ExtensionContext): Container {
  const startedMs = performance.now();
  const disposables: vscode.Disposable[] = [];
  const own = <T extends vscode.Disposable>(each: T): T => {
    disposables.push(each);
    return each;
  };

  const log = own(new OutputLogger());
  const settings = own(new SettingsReader(log));
  const store = new Store<AppState>(
    initialState({
      ...settingsPart(settings.current),
      trusted: vscode.workspace.isTrusted,
      capabilities: readCapabilities(),
    }),
    (error) => log.error('A listener of the store failed.', error),
  );

  const rootDir = context.extensionPath;
  let client: HelperClient | null = null;
  const helperClient = (): HelperClient =>
    (client ??= new HelperClient({
      helperPath: path.join(rootDir, 'dist', 'helperMain.js'),
      addonPaths: addonPaths(rootDir),
      kernelDir: findKernelDir(rootDir),
      logger: log,
    }));
  const probing = new Probing(store, log, context.globalState, () =>
    // Without an addon a helper could say no more than this process can read by itself.
    store.state.capabilities.measureBlocked === null
      ? helperClient()
      : { probe: (level) => staticSystemFacts(level, process.env) },
  );
  const interpreters = own(new InterpreterFinder(settings, log));
  const environmentProbing = own(
    new EnvironmentProbing({
      store,
      log,
      findInterpreter: () => interpreters.find(),
      inspect: (interpreter, signal) =>
        probePythonEnvironment({ interpreter, scriptPath: probeScript(rootDir), env: process.env, signal }),
    }),
  );
  const validating = own(new Validating(store, log, validateScript(rootDir)));
  const deriving = own(new Deriving(store, log));
  const modelFile = new ModelFile(store, settings, log);
  const serveFile = own(new ServeFile(store, settings, log));
  const preferences = (): RunPreferences => ({
    targetMs: settings.current['run.targetMs'].value,
    warmupMs: settings.current['run.warmupMs'].value,
    maxMemoryFraction: settings.current['run.maxMemoryFraction'].value,
  });
  const lookForAddon = (): void =>
    store.patch({ capabilities: checkAddon(store.state.capabilities, addonPaths(rootDir)) });
  const toolVersion = String((context.extension.packageJSON as { version?: unknown }).version);
  const running = new Running({
    store,
    log,
    client: helperClient,
    preferences,
    probe: () => probing.probe('driver'),
    acceptFacts: (facts) => probing.accept(facts),
    interpreter: () => interpreters.find(),
    benchScript: benchScript(rootDir),
  });
  const actions = new Actions({
    store,
    log,
    settings,
    probing,
    environmentProbing,
    validating,
    running,
    modelFile,
    serveFile,
    openPanel: () => panel.open(),
    checkAddon: lookForAddon,
    toolVersion,
  });
  const panel = own(
    new PanelController(store, log, context.extensionUri, (intent) =>
      guarded(log, `panel intent ${intent.type}`, () => actions.perform(intent)),
    ),
  );
  const statusBar = own(new StatusBar(store, settings));
  own(new FindingDiagnostics(store));
  own(new QuickFixes(store));
  own(registerCommands(actions.commands, log));
  own(
    registerLmTools({ store, log, client: helperClient, running, preferences, checkAddon: lookForAddon, toolVersion }),
  );

  let shown = settings.current;
  own(
    settings.onDidChange((current) => {
      const before = shown;
      shown = current;
      store.patch(settingsPart(current));
      if (current.serveConfigPath.value !== before.serveConfigPath.value) void serveFile.load();
      if (
        current.modelPath.value !== before.modelPath.value ||
        current.vllmVersion.value !== before.vllmVersion.value
      ) {
        void modelFile.load();
      }
      if (current.pythonPath.value !== before.pythonPath.value) void environmentProbing.interpreterChanged();
    }),
  );
  own(interpreters.onDidChange(() => void environmentProbing.interpreterChanged()));
  // Head counts are per rank, and a serve file says how many ranks there are.
  own({
    dispose: store.subscribe(
      (state) => known(state.serve)?.settings.tensorParallelSize,
      () => void modelFile.load(),
    ),
  });
  // Some models are MLA, or bidirectional over images, only from a release on.
  own({
    dispose: store.subscribe(
      (state) => known(state.environment)?.vllm?.version,
      () => void modelFile.load(),
    ),
  });
  own(vscode.workspace.onDidGrantWorkspaceTrust(() => store.patch({ trusted: true })));
  own({
    dispose: store.subscribe(
      (state) => currentDevice(state)?.kind,
      () => fitPreset(store),
    ),
  });
  own({
    dispose: store.subscribe(
      (state) => isRunning(state.run),
      (active) => void vscode.commands.executeCommand('setContext', RUNNING_CONTEXT, active),
    ),
  });

  probing.restore();
  // Reading two small files waits until the window is up.
  const firstReads = setTimeout(() => {
    void serveFile.load();
    void modelFile.load();
    // Other families can be compared before any machine was looked at.
    deriving.refresh();
  }, 0);
  own({ dispose: () => clearTimeout(firstReads) });

  // Set by `npm start`, whose user asked to see this extension.
  if (process.env.ATTENTION_DIAGNOSTICS_OPEN_PANEL === '1') panel.open();

  const activationMs = performance.now() - startedMs;
  log.info(`Ready after ${activationMs.toFixed(1)} ms. Nothing was started.`);
  return {
    testApi: {
      state: () => store.state,
      lastPanelModel: () => panel.lastModel,
      statusBar: () => statusBar.model,
      receiveFromPanel: (message) => panel.receive(message),
      activationMs,
    },
    dispose: () => {
      running.cancel();
      for (const each of [...disposables].reverse()) each.dispose();
      // The host does not wait; the helper also leaves by itself when its channel closes.
      void client?.dispose();
    },
  };
}

/** The part of the state that mirrors settings. */
function settingsPart(current: Settings): Pick<AppState, 'flag' | 'vllmVersion' | 'hasFolder' | 'selectedDeviceId'> {
  const device = current.device.value;
  return {
    flag: current.useSystemFlashAttn,
    vllmVersion: current.vllmVersion,
    hasFolder: hasFolder(),
    selectedDeviceId: device === 'auto' ? null : device,
  };
}
