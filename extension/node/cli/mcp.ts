/** `attn-diag mcp`: the same answers for agents, over the Model Context Protocol on stdin and stdout. */
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { AGENT_TOOLS, agentErrorText, parseAgentInput, runCasesOf, type RunInput } from '../../core/agentTools';
import type { CancelSignal } from '../../core/async';
import { describeCase } from '../../core/measure/caseGrid';
import { DiagError } from '../../core/errors';
import { DEFAULT_RUN_OPTIONS } from '../../protocol/helperApi';
import { explainParts, NO_DEFAULTS } from '../agentCalls';
import type { HelperClient } from '../helperClient';
import { serveMcp, type ReportProgress, type ToolOutcome } from '../mcpServer';
import { runMeasurement, type MeasurementPlan } from '../measurement';
import { machineReport } from '../reportFile';
import { defaultDevice, namedDevice, withClient } from './client';
import { cliLogger, EXIT, toolVersion, type CliIo, type Command } from './io';
import { readOptions, usage } from './options';

export const mcpCommand: Command = {
  name: 'mcp',
  summary: 'serve explain, devices and run to agents over the Model Context Protocol (stdio)',
  help: `usage: attn-diag mcp [--root DIR]… [--allow-gpu]

Speaks the Model Context Protocol on stdin and stdout until stdin closes. Tools:
${AGENT_TOOLS.map((tool) => `  ${tool.name}`).join('\n')}
They answer with the same JSON as explain, devices and run with --json, identifying words replaced.
No tool takes an interpreter, a command or a place to write to.

  --root DIR           folder below which model configurations may be read; may be repeated (default: none)
  --allow-gpu          run_attention_kernels may use a GPU (default: the CPU reference device only, small shapes)

Exit codes: 0 stdin was closed, 1 the server failed, 2 usage, 130 interrupted`,
  async run(args, io) {
    const { values } = readOptions(args, {
      root: { type: 'string', multiple: true },
      'allow-gpu': { type: 'boolean', default: false },
    });
    const roots = await Promise.all((values.root ?? []).map(existingFolder));
    await withClient(io, (client) => serve(io, client, roots, values['allow-gpu']));
    // Nothing more is read, so that the process can end.
    io.input.destroy();
    return io.signal.aborted ? EXIT.interrupted : EXIT.ok;
  },
};

async function existingFolder(root: string): Promise<string> {
  const folder = path.resolve(root);
  const isFolder = await stat(folder).then(
    (info) => info.isDirectory(),
    () => false,
  );
  if (!isFolder) throw usage(`--root takes a folder, and there is none at ${root}.`);
  return folder;
}

function serve(io: CliIo, client: HelperClient, roots: readonly string[], allowGpu: boolean): Promise<void> {
  const version = toolVersion(io.rootDir);
  const logger = cliLogger(io);
  return serveMcp({
    input: io.input,
    write: (line) => io.out(line),
    tools: AGENT_TOOLS,
    serverInfo: { name: 'attention-backend-diagnostics', title: 'Attention Backend Diagnostics', version },
    instructions: instructions(roots, allowGpu),
    logger,
    signal: io.signal,
    async call(name, input, signal, progress) {
      try {
        switch (name) {
          case 'explain_attention_backend': {
            const ports = {
              roots,
              defaults: NO_DEFAULTS,
              probe: (stop: CancelSignal) => client.probe('nvml', stop),
            };
            const parts = await explainParts(parseAgentInput(name, input), ports, signal);
            return outcome(machineReport(version, true, parts));
          }
          case 'get_gpu_facts': {
            parseAgentInput(name, input);
            const facts = await client.probe('nvml', signal);
            return outcome(machineReport(version, true, { command: 'devices', facts }));
          }
          case 'run_attention_kernels': {
            const plan = runPlan(parseAgentInput(name, input), allowGpu);
            const ports = { client, logger, signal, confirmBusy: () => Promise.resolve(false) };
            const { failure, rows, report } = await runMeasurement(plan, { ...ports, ...reporting(progress) });
            if (failure !== null && rows.length === 0) throw failure;
            const done = outcome(machineReport(version, true, { command: 'run', ...report }));
            // Rows that were finished stand beside the reason why it ended early.
            return failure === null
              ? done
              : { ...done, texts: [agentErrorText(failure), ...done.texts], isError: true };
          }
        }
      } catch (error) {
        const known = DiagError.from(error);
        if (known.code === 'internal') throw error;
        return { texts: [agentErrorText(known)], isError: true };
      }
    },
  });
}

function outcome(report: object): ToolOutcome {
  return { texts: [JSON.stringify(report)], structured: report, isError: false };
}

function runPlan(input: RunInput, allowGpu: boolean): MeasurementPlan {
  const asked = input.device ?? (allowGpu ? null : 'cpu');
  return {
    // Without the flag not even CUDA is started.
    probeLevel: asked === 'cpu' || !allowGpu ? 'nvml' : 'driver',
    device: (facts) => {
      if (asked !== 'cpu' && !allowGpu) {
        throw new DiagError('usage', {
          problem:
            'This server was started without --allow-gpu, so nothing runs on a GPU. Leave device out to use the CPU reference device, or ask the user to start it with --allow-gpu.',
        });
      }
      return asked === null ? defaultDevice(facts) : namedDevice(facts, asked);
    },
    cases: (device) => runCasesOf(input, device),
    options: {
      ...DEFAULT_RUN_OPTIONS,
      checkOnly: input.checkOnly ?? false,
      ceilings: !(input.checkOnly ?? false),
    },
  };
}

function reporting(progress: ReportProgress): Pick<Parameters<typeof runMeasurement>[1], 'onStart' | 'onRow'> {
  let done = 0;
  return {
    onStart: (device, cases) => progress(0, cases.length, `${cases.length} cases on ${device.name}`),
    onRow: (row, _caseIndex, cases) => {
      done += 1;
      progress(done, cases.length, `${describeCase(row.case)}: ${row.result.status}`);
    },
  };
}

function instructions(roots: readonly string[], allowGpu: boolean): string {
  return [
    'Answers which attention backend vLLM selects on an NVIDIA GPU, and measures bundled attention kernels.',
    roots.length === 0
      ? 'No model file may be read: ask by headDims.'
      : 'modelPath may be relative to the folders that the user allowed.',
    allowGpu
      ? 'run_attention_kernels may use a GPU: tell the user before calling it.'
      : 'run_attention_kernels uses the CPU reference device only: its times say nothing about a GPU.',
    'Unknown means that it is not established; do not guess in its place.',
  ].join(' ');
}
