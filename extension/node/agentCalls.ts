/** What the agents' tools do, the same for the editor and for MCP: each answers with the report that the command line writes. */
import type { LoadedModel, LoadedServeFile, Setting } from '../core/state/appState';
import type { CancelSignal } from '../core/async';
import { explainFormOf, serveSettingsOf, type ExplainInput } from '../core/agentTools';
import { NEWEST_RELEASE } from '../core/catalog/releases';
import { askedVersion } from '../core/state/derive';
import type { EnvironmentFacts } from '../core/environment';
import { DiagError } from '../core/errors';
import { compareColumns, DEFAULT_CAPABILITY, explain, firstGpu, parseCapabilities } from '../core/rules/explanation';
import type { SystemFacts } from '../core/facts';
import { loadModel, MAX_MODEL_CONFIG_BYTES } from '../core/state/loadedFiles';
import type { ReportParts } from '../core/report/report';
import { DEFAULT_SERVE_SETTINGS } from '../core/request';
import { readBelowRoots } from './fileRoots';

/** What takes the place of an argument that is left out. */
export interface ExplainDefaults {
  readonly vllmVersion: Setting<string>;
  readonly environment: EnvironmentFacts | null;
  readonly model: LoadedModel | null;
  readonly serve: LoadedServeFile | null;
}

/** Without an editor: the newest release, no environment, no model, vLLM's own settings. */
export const NO_DEFAULTS: ExplainDefaults = {
  vllmVersion: { value: 'newest', setIn: 'default' },
  environment: null,
  model: null,
  serve: null,
};

/** What the explanation may use of its surroundings. */
export interface ExplainPorts {
  /** Folders that models are read below. */
  readonly roots: readonly string[];
  readonly defaults: ExplainDefaults;
  /** Facts for the default SM family; rejects when nothing may be probed. */
  readonly probe: (signal: CancelSignal) => Promise<SystemFacts>;
}

/** The parts of the report that `attn-diag explain --json` writes. Throws what reading a file throws. */
export async function explainParts(
  input: ExplainInput,
  ports: ExplainPorts,
  signal: CancelSignal,
): Promise<Pick<ReportParts, 'command' | 'facts' | 'explanation'>> {
  const { defaults } = ports;
  const vllmVersion = versionOf(input, defaults);
  const serve = serveSettingsOf(input) ?? defaults.serve;
  const model =
    input.modelPath === undefined
      ? input.headDims === undefined && input.mla !== true
        ? defaults.model
        : null
      : await readModel(input.modelPath, ports.roots, askedVersion(vllmVersion, defaults.environment), serve);
  const families =
    input.sm === undefined
      ? [firstGpu(await ports.probe(signal))?.capability ?? DEFAULT_CAPABILITY]
      : (parseCapabilities(input.sm) ?? []);
  const { environment } = defaults;
  const form = explainFormOf(input, model?.facts.layerGroups.map((group) => group.headDim) ?? []);
  const flag = input.useSystemFlashAttn ?? 'off';
  const asked = { form, model, serve, environment };
  const [capability = DEFAULT_CAPABILITY, ...others] = families;
  if (input.upgradeTo === undefined && others.length === 0) {
    const { explanation } = explain({ ...asked, vllmVersion, capability, flag });
    return { command: 'explain', facts: null, explanation };
  }
  if (flag === 'diff' || (input.upgradeTo !== undefined && others.length > 0)) {
    throw new DiagError('usage', {
      problem: 'Compare one thing at a time: several families in sm, or upgradeTo, or useSystemFlashAttn "diff".',
    });
  }
  const from = askedVersion(vllmVersion, environment);
  const columns =
    input.upgradeTo === undefined
      ? families.map((each) => ({ vllmVersion: from, capability: each }))
      : [from, released(input.upgradeTo)].map((version) => ({ vllmVersion: version, capability }));
  const { explanation } = compareColumns({ ...asked, columns, useSystemFlashAttn: flag === 'on' });
  return { command: 'explain', facts: null, explanation };
}

const released = (version: string): string => (version === 'newest' ? NEWEST_RELEASE : version);

function versionOf({ vllmVersion }: ExplainInput, defaults: ExplainDefaults): Setting<string> {
  if (vllmVersion === undefined) return defaults.vllmVersion;
  return { value: released(vllmVersion), setIn: 'user' };
}

async function readModel(
  asked: string,
  roots: readonly string[],
  vllmVersion: string,
  serve: LoadedServeFile | null,
): Promise<LoadedModel> {
  const file = await readBelowRoots(roots, asked, MAX_MODEL_CONFIG_BYTES);
  return loadModel(file.path, file.text, {
    vllmVersion,
    tensorParallelSize: (serve?.settings ?? DEFAULT_SERVE_SETTINGS).tensorParallelSize,
    mlaDisabled: serve?.mlaDisabled ?? false,
  });
}
