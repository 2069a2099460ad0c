/** `attn-diag devices`: what is in this machine, and why something is not. */
import { DiagError } from '../../core/errors';
import { errorLine } from '../../core/errorText';
import { smFamily, type DeviceFacts, type SystemFacts } from '../../core/facts';
import { formatBytes, formatDriverApiVersion, formatPercent, wrap } from '../../core/format';
import type { Hello } from '../../protocol/helperApi';
import { busyGpu } from '../runSession';
import { shortName, withClient } from './client';
import { deliverReport, EXIT, onlyReport, paint, type CliIo, type Command } from './io';
import { COMMON_HELP, COMMON_OPTIONS, readOptions } from './options';

export const devicesCommand: Command = {
  name: 'devices',
  summary: 'GPUs and the CPU reference device of this machine, driver and kernel build',
  help: `usage: attn-diag devices [options]

Lists every device with its SM family, memory, clocks, indices and who uses it. Starts CUDA (cuInit) but creates no
context; with --nvml it does not even do that.

  --nvml               ask NVML only
${COMMON_HELP}

Exit codes: 0 listed, 1 the helper failed, 2 usage`,
  async run(args, io) {
    const { values } = readOptions(args, { ...COMMON_OPTIONS, nvml: { type: 'boolean', default: false } });
    const target = values.json ?? null;
    const { facts, hello } = await withClient(io, async (client) => ({
      facts: await client.probe(values.nvml ? 'nvml' : 'driver', io.signal),
      hello: client.hello,
    }));
    if (!onlyReport(target)) io.out(devicesText(facts, hello, io));
    await deliverReport(io, target, !values['no-redact'], { command: 'devices', facts });
    return EXIT.ok;
  },
};

/** The listing. */
export function devicesText(facts: SystemFacts, hello: Hello | null, io: CliIo): string {
  const names = facts.devices.map(shortName);
  const indent = Math.max(...names.map((name) => name.length)) + 2;
  const blocks = facts.devices.map((device, index) => {
    const [title = '', ...details] = device.kind === 'gpu' ? gpuLines(device) : cpuLines(device);
    const head = (names[index] ?? '').padEnd(indent);
    const rest = details.flatMap((line) => wrap(line, io.columns - indent)).map((line) => ' '.repeat(indent) + line);
    return [paint(io, 'strong', head + title), ...rest].join('\n');
  });
  const notes = [...machineLines(facts), ...missingLines(facts, hello)].flatMap((line) => wrap(line, io.columns));
  return `${[...blocks, notes.join('\n')].join('\n\n')}\n`;
}

function gpuLines(device: DeviceFacts): string[] {
  const family = device.computeCapability === null ? null : smFamily(device.computeCapability);
  const busy = busyGpu(device);
  const join = (parts: readonly (string | null)[]): string => parts.filter((part) => part !== null).join(' · ');
  return [
    join([
      device.name,
      family === null ? 'compute capability not known' : `${family.label} ${family.architecture}`,
      device.smCount === null ? null : `${device.smCount} SMs`,
    ]),
    join([
      device.memoryTotalBytes === null
        ? null
        : `memory ${formatBytes(device.memoryFreeBytes)} of ${formatBytes(device.memoryTotalBytes)} free`,
      device.l2Bytes === null ? null : `L2 ${formatBytes(device.l2Bytes)}`,
      device.sharedMemoryPerBlockOptinBytes === null
        ? null
        : `shared memory ${formatBytes(device.sharedMemoryPerBlockOptinBytes)} per block`,
    ]),
    join([
      device.smClockMHz === null ? null : `SM clock ${device.smClockMHz} of ${device.smClockMaxMHz ?? '?'} MHz`,
      device.memoryClockMHz === null ? null : `memory clock ${device.memoryClockMHz} MHz`,
      device.computeMode === null ? null : `compute mode ${device.computeMode}`,
      device.migEnabled === null ? null : `MIG ${device.migEnabled ? 'on' : 'off'}`,
    ]),
    join([
      device.uuid ?? device.id,
      device.pciBusId === null ? null : `PCI ${device.pciBusId}`,
      device.cudaIndex === null ? 'not visible to CUDA' : null,
      device.nvmlIndex === null ? null : `NVML index ${device.nvmlIndex}`,
    ]),
    busy !== null
      ? `in use: ${busy.summary}`
      : device.processes === null && device.utilizationPercent === null
        ? 'whether it is in use is not known'
        : `not in use (${formatPercent(device.utilizationPercent)} utilisation)`,
  ].filter((line) => line !== '');
}

function cpuLines(device: DeviceFacts): string[] {
  return [
    `${device.name} · ${device.cpuThreads ?? '?'} threads · ${formatBytes(device.memoryTotalBytes)} memory`,
    'CPU reference device: the same cases with exact numerics; its times say nothing about a GPU',
  ];
}

function machineLines(facts: SystemFacts): string[] {
  const lines: string[] = [];
  if (facts.driverVersion !== null || facts.cudaDriverApiVersion !== null) {
    const api = facts.cudaDriverApiVersion;
    lines.push(
      `NVIDIA driver ${facts.driverVersion ?? 'of unknown version'}${api === null ? '' : ` (CUDA ${formatDriverApiVersion(api)})`}`,
    );
  }
  if (facts.cudaVisibleDevices !== null) lines.push(`CUDA_VISIBLE_DEVICES=${facts.cudaVisibleDevices}`);
  const build = facts.kernelBuild;
  lines.push(
    build === null
      ? 'GPU kernels: none built or shipped here'
      : `GPU kernels ${build.hash.slice(0, 12)}: ${build.targets.join(', ')}; need a driver for CUDA ${formatDriverApiVersion(build.minDriverApiVersion)} or newer`,
  );
  return lines;
}

/** Why there is no GPU in the list, or no addon to ask. */
function missingLines(facts: SystemFacts, hello: Hello | null): string[] {
  if (hello !== null && hello.addonVersion === null) {
    const attempts = hello.addonAttempts.map((each) => ({ path: each.path, error: each.error ?? 'unknown' }));
    return [errorLine(new DiagError('addonMissing', { attempts }))];
  }
  if (facts.devices.some((device) => device.kind === 'gpu')) return [];
  return [
    'No NVIDIA GPU was found:',
    ...libraryLines(facts, 'cuda', 'libcuda'),
    ...libraryLines(facts, 'nvml', 'NVML'),
    ...facts.driverErrors.map((each) => `  ${each.call}: ${each.name} (${each.code}), ${each.text}`),
  ];
}

/** The loader's word for "there is no such library", as opposed to one that is there and does not load. */
const ABSENT = /cannot open shared object file: No such file or directory$/;

/** One line when a library is simply not installed, every error when something else went wrong. */
function libraryLines(facts: SystemFacts, library: 'cuda' | 'nvml', title: string): string[] {
  const attempts = facts.loadAttempts.filter((each) => each.library === library);
  if (attempts.length === 0 || attempts.some((each) => each.ok)) return [];
  const others = attempts.filter((each) => !ABSENT.test(each.error ?? ''));
  if (others.length === 0)
    return [`  ${title} is not installed (looked for ${attempts.map((each) => each.path).join(', ')})`];
  return others.map((each) => `  ${each.path}: ${each.error ?? 'not loaded'}`);
}
