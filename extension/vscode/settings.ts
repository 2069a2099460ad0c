/**
 * The settings as one typed, validated snapshot. Users can put anything into settings.json: a value of the wrong type or
 * out of bounds counts as not set, with one line in the log.
 */
import * as v from 'valibot';
import * as vscode from 'vscode';
import type { Setting, SettingLocation } from '../core/state/appState';
import type { Logger } from '../core/logger';

/** Prefix of every key. */
export const SECTION = 'attentionDiagnostics';

/** One schema per key; defaults and bounds repeat package.json (a package test compares them). */
const SCHEMAS = {
  useSystemFlashAttn: v.boolean(),
  vllmVersion: v.pipe(v.string(), v.regex(/^(newest|\d+\.\d+(\.\d+)?([.+-]?[\w.+-]+)?)$/)),
  modelPath: v.pipe(v.string(), v.maxLength(4096)),
  serveConfigPath: v.pipe(v.string(), v.maxLength(4096)),
  pythonPath: v.pipe(v.string(), v.maxLength(4096)),
  device: v.pipe(v.string(), v.minLength(1), v.maxLength(200)),
  'run.targetMs': v.pipe(v.number(), v.minValue(1), v.maxValue(60_000)),
  'run.warmupMs': v.pipe(v.number(), v.minValue(0), v.maxValue(60_000)),
  'run.maxMemoryFraction': v.pipe(v.number(), v.minValue(0.01), v.maxValue(0.9)),
  'statusBar.visibility': v.picklist(['always', 'afterProbe', 'never']),
} as const;

/** What applies when nothing valid is set. */
export const SETTING_DEFAULTS = {
  useSystemFlashAttn: false,
  vllmVersion: 'newest',
  modelPath: '',
  serveConfigPath: '',
  pythonPath: '',
  device: 'auto',
  'run.targetMs': 200,
  'run.warmupMs': 500,
  'run.maxMemoryFraction': 0.5,
  'statusBar.visibility': 'always',
} as const satisfies { readonly [K in SettingKey]: v.InferOutput<(typeof SCHEMAS)[K]> };

export type SettingKey = keyof typeof SCHEMAS;

/** Every key with its value and where it is set. */
export type Settings = { readonly [K in SettingKey]: Setting<v.InferOutput<(typeof SCHEMAS)[K]>> };

/** Reads and writes the settings of this window. With several folders the first one's settings apply. */
export class SettingsReader implements vscode.Disposable {
  readonly #log: Logger;
  readonly #changed = new vscode.EventEmitter<Settings>();
  readonly #listener: vscode.Disposable;
  /** Complaints already logged, so that a bad value costs one line and not one per read. */
  readonly #complaints = new Set<string>();
  #snapshot: Settings;

  readonly onDidChange = this.#changed.event;

  constructor(log: Logger) {
    this.#log = log;
    this.#snapshot = this.#read();
    this.#listener = vscode.Disposable.from(
      vscode.workspace.onDidChangeConfiguration((event) => {
        if (event.affectsConfiguration(SECTION)) this.#refresh();
      }),
      vscode.workspace.onDidChangeWorkspaceFolders(() => this.#refresh()),
    );
  }

  get current(): Settings {
    return this.#snapshot;
  }

  /**
   * Where {@link write} writes: the place that already decides the value (folder, then workspace, then user); where nothing
   * is set yet, the workspace, or user settings when no folder is open.
   */
  placeToWrite(key: SettingKey): Exclude<SettingLocation, 'default'> {
    return writePlace(this.#configuration().inspect(key), hasFolder());
  }

  /** Writes a setting and resolves to the place written. */
  async write<K extends SettingKey>(key: K, value: Settings[K]['value']): Promise<Exclude<SettingLocation, 'default'>> {
    const place = this.placeToWrite(key);
    await this.#configuration().update(key, value, TARGETS[place]);
    // The change event may arrive later; whoever reads next must not see the old value.
    this.#refresh();
    return place;
  }

  dispose(): void {
    this.#listener.dispose();
    this.#changed.dispose();
  }

  #configuration(): vscode.WorkspaceConfiguration {
    return vscode.workspace.getConfiguration(SECTION, vscode.workspace.workspaceFolders?.[0]?.uri ?? null);
  }

  #refresh(): void {
    const before = JSON.stringify(this.#snapshot);
    this.#snapshot = this.#read();
    if (JSON.stringify(this.#snapshot) !== before) this.#changed.fire(this.#snapshot);
  }

  #read(): Settings {
    const configuration = this.#configuration();
    const entries = (Object.keys(SCHEMAS) as SettingKey[]).map((key) => [key, this.#readOne(configuration, key)]);
    // Each key was read with the schema of that key.
    return Object.fromEntries(entries) as Settings;
  }

  #readOne(configuration: vscode.WorkspaceConfiguration, key: SettingKey): Setting<unknown> {
    const raw = configuration.get<unknown>(key, SETTING_DEFAULTS[key]);
    const parsed = v.safeParse(SCHEMAS[key], raw);
    const setIn = decidingPlace(configuration.inspect(key));
    if (parsed.success) return { value: parsed.output, setIn };
    const complaint = `Setting ${SECTION}.${key} (${setIn} settings) is ignored: ${v.summarize(parsed.issues).replace(/\s+/g, ' ')}. The default ${JSON.stringify(SETTING_DEFAULTS[key])} applies.`;
    if (!this.#complaints.has(complaint)) {
      this.#complaints.add(complaint);
      this.#log.warn(complaint);
    }
    return { value: SETTING_DEFAULTS[key], setIn: 'default' };
  }
}

/** A folder or workspace file is open, so that workspace settings exist. */
export function hasFolder(): boolean {
  return (vscode.workspace.workspaceFolders?.length ?? 0) > 0;
}

const TARGETS = {
  folder: vscode.ConfigurationTarget.WorkspaceFolder,
  workspace: vscode.ConfigurationTarget.Workspace,
  user: vscode.ConfigurationTarget.Global,
} as const;

/** What VS Code's `inspect` says about a key, as far as it matters here. */
interface Inspected {
  readonly globalValue?: unknown;
  readonly workspaceValue?: unknown;
  readonly workspaceFolderValue?: unknown;
}

function decidingPlace(inspected: Inspected | undefined): SettingLocation {
  // With a single folder open VS Code reports its settings file as both; to users it is "Workspace".
  const severalRoots = vscode.workspace.workspaceFile !== undefined;
  if (severalRoots && inspected?.workspaceFolderValue !== undefined) return 'folder';
  if (inspected?.workspaceValue !== undefined) return 'workspace';
  if (inspected?.globalValue !== undefined) return 'user';
  return 'default';
}

function writePlace(inspected: Inspected | undefined, folderOpen: boolean): Exclude<SettingLocation, 'default'> {
  const place = decidingPlace(inspected);
  if (place !== 'default') return place;
  return folderOpen ? 'workspace' : 'user';
}
