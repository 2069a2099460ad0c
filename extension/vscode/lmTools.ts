/** The three tools for language models in the editor: the same questions and the same JSON as `attn-diag mcp`. */
import * as vscode from 'vscode';
import {
  AGENT_TOOLS,
  agentErrorText,
  parseAgentInput,
  runCasesOf,
  type AgentToolName,
  type RunInput,
} from '../core/agentTools';
import { isRunning, type AppState } from '../core/state/appState';
import type { CancelSignal } from '../core/async';
import { DiagError } from '../core/errors';
import type { SystemFacts } from '../core/facts';
import { formatBytes } from '../core/format';
import type { Logger } from '../core/logger';
import { aboutSeconds, largestCaseBytes } from '../core/measure/runEstimate';
import { known, type Store } from '../core/state/store';
import { explainParts } from '../node/agentCalls';
import { defaultDevice, namedDevice } from '../node/cli/client';
import type { HelperClient } from '../node/helperClient';
import { runMeasurement } from '../node/measurement';
import { machineReport } from '../node/reportFile';
import { DEFAULT_RUN_OPTIONS, type RunOptions } from '../protocol/helperApi';
import type { Running, ShownRun } from './running';

/** What the tools work with. */
export interface LmToolPorts {
  readonly store: Store<AppState>;
  readonly log: Logger;
  readonly client: () => HelperClient;
  /** Where a run of a tool is shown and can be cancelled. */
  readonly running: Pick<Running, 'show'>;
  readonly preferences: () => Pick<RunOptions, 'targetMs' | 'warmupMs' | 'maxMemoryFraction'>;
  /** Looks whether this installation can measure. */
  readonly checkAddon: () => void;
  readonly toolVersion: string;
}

/** Registers every tool of the manifest. */
export function registerLmTools(ports: LmToolPorts): vscode.Disposable {
  return vscode.Disposable.from(
    ...AGENT_TOOLS.map(({ name }) =>
      vscode.lm.registerTool<object>(name, {
        prepareInvocation: ({ input }) => prepare(name, input, ports),
        invoke: async ({ input }, token) => {
          const abort = new AbortController();
          const listener = token.onCancellationRequested(() => abort.abort());
          try {
            const report = await answer(name, input, ports, abort);
            return new vscode.LanguageModelToolResult([new vscode.LanguageModelTextPart(JSON.stringify(report))]);
          } catch (error) {
            const cause = DiagError.from(error);
            if (cause.code === 'cancelled') throw new vscode.CancellationError();
            ports.log.warn(`The tool ${name} failed.`, cause);
            // The model reads the message, so it says what to do next.
            throw new Error(agentErrorText(cause), { cause: error });
          } finally {
            listener.dispose();
          }
        },
      }),
    ),
  );
}

async function answer(name: AgentToolName, input: object, ports: LmToolPorts, abort: AbortController): Promise<object> {
  const { store, toolVersion } = ports;
  const { signal } = abort;
  switch (name) {
    case 'explain_attention_backend': {
      const { vllmVersion, environment, model, serve } = store.state;
      const folders = vscode.workspace.workspaceFolders ?? [];
      const parts = await explainParts(
        parseAgentInput(name, input),
        {
          roots: folders.filter(({ uri }) => uri.scheme === 'file').map(({ uri }) => uri.fsPath),
          defaults: { vllmVersion, environment: known(environment), model: known(model), serve: known(serve) },
          probe: (stop) => probe(ports, stop, 'pass sm, for instance 9.0'),
        },
        signal,
      );
      return machineReport(toolVersion, true, parts);
    }
    case 'get_gpu_facts': {
      parseAgentInput(name, input);
      const facts = await probe(ports, signal, 'ask the user to trust it');
      return machineReport(toolVersion, true, { command: 'devices', facts });
    }
    case 'run_attention_kernels':
      return run(parseAgentInput(name, input), ports, abort);
  }
}

async function probe({ store, client }: LmToolPorts, signal: CancelSignal, instead: string): Promise<SystemFacts> {
  if (!store.state.trusted) {
    throw new DiagError('usage', { problem: `Nothing is probed in an untrusted workspace: ${instead}.` });
  }
  return client().probe('nvml', signal);
}

async function run(input: RunInput, ports: LmToolPorts, abort: AbortController): Promise<object> {
  const { store, log, client } = ports;
  ports.checkAddon();
  const { trusted, capabilities } = store.state;
  if (!trusted) {
    throw new DiagError('usage', {
      problem:
        'Kernels run only in a trusted workspace. Ask the user to trust it; explain_attention_backend works without.',
    });
  }
  if (capabilities.measureBlocked !== null) throw new DiagError('usage', { problem: capabilities.measureBlocked });
  if (isRunning(store.state.run)) {
    throw new DiagError('usage', { problem: 'The user has a run going on. Wait until it ends, then try again.' });
  }
  let shown: ShownRun | null = null;
  const { ended, failure, rows, report } = await runMeasurement(
    {
      probeLevel: input.device === 'cpu' ? 'nvml' : 'driver',
      device: (facts) => chosenDevice(input, facts),
      cases: (device) => runCasesOf(input, device),
      options: runOptions(input, ports),
    },
    {
      client: client(),
      logger: log,
      signal: abort.signal,
      onStart: (device, cases) => (shown = ports.running.show(device.id, cases, abort)),
      onPhase: (phase) => shown?.onPhase(phase),
      onRow: (row) => shown?.onRow(row),
      // Nobody sits in front of the panel: whoever uses the GPU goes first.
      confirmBusy: () => Promise.resolve(false),
    },
  );
  (shown as ShownRun | null)?.end(ended, failure);
  if (failure !== null && rows.length === 0) throw failure;
  return machineReport(ports.toolVersion, true, { command: 'run', ...report });
}

function runOptions(input: RunInput, ports: LmToolPorts): RunOptions {
  const checkOnly = input.checkOnly ?? false;
  return { ...DEFAULT_RUN_OPTIONS, ...ports.preferences(), checkOnly, ceilings: !checkOnly };
}

function chosenDevice(input: RunInput, facts: SystemFacts) {
  return input.device === undefined ? defaultDevice(facts) : namedDevice(facts, input.device);
}

/** What is said before a tool runs; only measuring asks. Starts nothing. */
function prepare(name: AgentToolName, input: object, ports: LmToolPorts): vscode.PreparedToolInvocation {
  switch (name) {
    case 'explain_attention_backend':
      return { invocationMessage: vscode.l10n.t('Applying the rules of vLLM') };
    case 'get_gpu_facts':
      return { invocationMessage: vscode.l10n.t('Reading GPU and driver facts') };
    case 'run_attention_kernels':
      return {
        invocationMessage: vscode.l10n.t('Measuring attention kernels'),
        confirmationMessages: {
          title: vscode.l10n.t('Run attention kernels?'),
          message: runQuestion(parseAgentInput(name, input), ports),
        },
      };
  }
}

/** Device, number of cases, about how long and how much memory. */
function runQuestion(input: RunInput, ports: LmToolPorts): string {
  const facts = known(ports.store.state.facts);
  if (facts === null) {
    return vscode.l10n.t(
      'Runs on {0}, which has not been probed yet: up to {1} of its free memory, seconds to a few minutes. It is refused when others use the GPU.',
      input.device ?? vscode.l10n.t('the first GPU, or the CPU reference device where there is none'),
      `${Math.round(ports.preferences().maxMemoryFraction * 100)} %`,
    );
  }
  const device = chosenDevice(input, facts);
  const cases = runCasesOf(input, device);
  return vscode.l10n.t(
    'Runs {0} cases on {1}: about {2} s, and about {3} of memory for the largest case. It is refused when others use the GPU.',
    cases.length,
    device.kind === 'cpu' ? vscode.l10n.t('the CPU reference device') : device.name,
    aboutSeconds(cases.length, runOptions(input, ports)),
    formatBytes(largestCaseBytes(cases)),
  );
}
