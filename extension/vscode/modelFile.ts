/** Reads the model's config.json named by the setting, and lets the user choose one. Reads only; nothing is executed. */
import * as vscode from 'vscode';
import type { AppState, LoadedModel } from '../core/state/appState';
import { askedVersion } from '../core/state/derive';
import { DiagError } from '../core/errors';
import { loadModel, MAX_MODEL_CONFIG_BYTES } from '../core/state/loadedFiles';
import type { Logger } from '../core/logger';
import { DEFAULT_SERVE_SETTINGS } from '../core/request';
import { settingPath } from '../core/state/settingPath';
import { failed, IDLE, known, loading, ready, type Store } from '../core/state/store';
import { listCachedModels } from '../node/modelFiles';
import { failureOf } from './probing';
import type { SettingsReader } from './settings';
import { readTextFile, resolveSettingPath, statFile } from './workspaceFiles';

/** Keeps the store's model in step with the setting. */
export class ModelFile {
  readonly #store: Store<AppState>;
  readonly #settings: SettingsReader;
  readonly #log: Logger;
  /** Only the newest read may write its outcome. */
  #reads = 0;

  constructor(store: Store<AppState>, settings: SettingsReader, log: Logger) {
    this.#store = store;
    this.#settings = settings;
    this.#log = log;
  }

  /** Reads the file that the setting names; the outcome is in the store, a failure included. */
  async load(): Promise<void> {
    const written = this.#settings.current.modelPath.value;
    this.#reads += 1;
    const read = this.#reads;
    if (written === '') {
      this.#store.patch({ model: IDLE });
      return;
    }
    this.#store.update((state) => ({ ...state, model: loading(state.model) }));
    try {
      const model = await this.#read(resolveSettingPath(written));
      if (read === this.#reads) this.#store.patch({ model: ready(model) });
    } catch (error) {
      if (read !== this.#reads) return;
      this.#log.warn('The model configuration could not be read.', DiagError.from(error));
      // A model that was shown before is another one: showing it further would answer the wrong question.
      this.#store.patch({ model: failed(IDLE, failureOf(error)) });
    }
  }

  /** Asks for a config.json, or takes the one given, and writes it to the setting. */
  async choose(file: unknown): Promise<void> {
    const none = vscode.l10n.t('No model: ask by head sizes');
    const browse = vscode.l10n.t('Choose a config.json …');
    let uri = file instanceof vscode.Uri ? file : undefined;
    if (uri === undefined) {
      const found = await vscode.workspace.findFiles('**/config.json', '**/node_modules/**', 20);
      const cached = await listCachedModels(process.env);
      const items = [
        { label: browse, uri: undefined },
        ...found.map((each) => ({ label: vscode.workspace.asRelativePath(each), uri: each })),
        ...cached.map((each) => ({
          label: each.id,
          description: vscode.l10n.t('Hugging Face cache'),
          uri: vscode.Uri.file(each.configPath),
        })),
        { label: none, uri: undefined },
      ];
      const choice = await vscode.window.showQuickPick(items, {
        title: vscode.l10n.t('Which model is it about?'),
        placeHolder: vscode.l10n.t('The config.json beside the model weights'),
      });
      if (choice === undefined) return;
      if (choice.label === none) {
        await this.#settings.write('modelPath', '');
        return;
      }
      uri = choice.uri ?? (await browseForConfig());
      if (uri === undefined) return;
    }
    const firstFolder = vscode.workspace.workspaceFolders?.[0]?.uri;
    const writtenTo = this.#settings.placeToWrite('modelPath');
    await this.#settings.write('modelPath', settingPath(uri, firstFolder, writtenTo));
  }

  async #read(uri: vscode.Uri): Promise<LoadedModel> {
    const file = await configFile(uri);
    const { vllmVersion, environment } = this.#store.state;
    const serve = known(this.#store.state.serve)?.settings ?? DEFAULT_SERVE_SETTINGS;
    return loadModel(file.path, await readTextFile(file, MAX_MODEL_CONFIG_BYTES), {
      vllmVersion: askedVersion(vllmVersion, known(environment)),
      tensorParallelSize: serve.tensorParallelSize,
      mlaDisabled: known(this.#store.state.serve)?.mlaDisabled ?? false,
    });
  }
}

/** A folder stands for its config.json. */
async function configFile(uri: vscode.Uri): Promise<vscode.Uri> {
  const { type } = await statFile(uri);
  return (type & vscode.FileType.Directory) !== 0 ? vscode.Uri.joinPath(uri, 'config.json') : uri;
}

async function browseForConfig(): Promise<vscode.Uri | undefined> {
  const chosen = await vscode.window.showOpenDialog({
    filters: { JSON: ['json'] },
    title: vscode.l10n.t('Model configuration (config.json)'),
  });
  return chosen?.[0];
}
