/** Reads the serve file named by the setting. Reads only; nothing is executed. */
import path from 'node:path';
import * as vscode from 'vscode';
import type { AppState, LoadedServeFile } from '../core/state/appState';
import { DiagError } from '../core/errors';
import { loadServeFile } from '../core/state/loadedFiles';
import type { Logger } from '../core/logger';
import { SERVE_FILE_LIMIT_BYTES } from '../core/serve/serveConfig';
import { failed, IDLE, loading, ready, type Store } from '../core/state/store';
import { failureOf } from './probing';
import type { SettingsReader } from './settings';
import { readTextFile, resolveSettingPath } from './workspaceFiles';

/** Keeps the store's serve settings in step with the setting, with saves of the file and with changes on disk. */
export class ServeFile implements vscode.Disposable {
  readonly #store: Store<AppState>;
  readonly #settings: SettingsReader;
  readonly #log: Logger;
  readonly #listener: vscode.Disposable;
  #watched: { readonly uri: string; readonly watcher: vscode.Disposable } | null = null;
  #reads = 0;

  constructor(store: Store<AppState>, settings: SettingsReader, log: Logger) {
    this.#store = store;
    this.#settings = settings;
    this.#log = log;
    this.#listener = vscode.workspace.onDidSaveTextDocument((document) => {
      const written = this.#settings.current.serveConfigPath.value;
      if (written !== '' && document.uri.toString() === resolveSettingPath(written).toString()) void this.load();
    });
  }

  /** Reads the file that the setting names; the outcome is in the store, a failure included. */
  async load(): Promise<void> {
    const written = this.#settings.current.serveConfigPath.value;
    this.#reads += 1;
    const read = this.#reads;
    this.#watch(written === '' ? null : resolveSettingPath(written));
    if (written === '') {
      this.#store.patch({ serve: IDLE });
      return;
    }
    this.#store.update((state) => ({ ...state, serve: loading(state.serve) }));
    try {
      const serve = await readServeFile(resolveSettingPath(written));
      if (read === this.#reads) this.#store.patch({ serve: ready(serve) });
    } catch (error) {
      if (read !== this.#reads) return;
      this.#log.warn('The serve file could not be read.', DiagError.from(error));
      // Settings of another file would answer the wrong question.
      this.#store.patch({ serve: failed(IDLE, failureOf(error)) });
    }
  }

  dispose(): void {
    this.#listener.dispose();
    this.#watched?.watcher.dispose();
  }

  /** Watches one file; a terminal or a colleague's checkout may change it too. */
  #watch(uri: vscode.Uri | null): void {
    if (this.#watched?.uri === uri?.toString()) return;
    this.#watched?.watcher.dispose();
    this.#watched = null;
    if (uri === null) return;
    const { dir, base } = path.posix.parse(uri.path);
    // A name is no pattern: brackets and stars in it stand for themselves.
    const pattern = new vscode.RelativePattern(uri.with({ path: dir }), base.replace(/[[\]{}*?]/g, '[$&]'));
    const watcher = vscode.workspace.createFileSystemWatcher(pattern);
    const reload = (): void => void this.load();
    this.#watched = {
      uri: uri.toString(),
      watcher: vscode.Disposable.from(
        watcher,
        watcher.onDidChange(reload),
        watcher.onDidCreate(reload),
        watcher.onDidDelete(reload),
      ),
    };
  }
}

async function readServeFile(uri: vscode.Uri): Promise<LoadedServeFile> {
  return loadServeFile(uri.fsPath, await readTextFile(uri, SERVE_FILE_LIMIT_BYTES));
}
