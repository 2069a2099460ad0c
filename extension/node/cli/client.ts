/** The helper of a command, and the device it is asked about. */
import { DiagError } from '../../core/errors';
import type { DeviceFacts, SystemFacts } from '../../core/facts';
import { addonPaths, findKernelDir } from '../addonLocator';
import { HelperClient } from '../helperClient';
import { cliLogger, type CliIo } from './io';

/** Does something with a helper client that is gone afterwards, whatever happens. */
export async function withClient<T>(io: CliIo, use: (client: HelperClient) => Promise<T>): Promise<T> {
  const client = new HelperClient({
    helperPath: io.helperPath,
    addonPaths: addonPaths(io.rootDir),
    kernelDir: findKernelDir(io.rootDir),
    logger: cliLogger(io),
    env: io.env,
  });
  try {
    return await use(client);
  } finally {
    await client.dispose();
  }
}

/** How a device is named on the command line: `cuda:0`, `nvml:0` when CUDA does not see it, `cpu`. */
export function shortName(device: DeviceFacts): string {
  if (device.kind === 'cpu') return 'cpu';
  if (device.cudaIndex !== null) return `cuda:${device.cudaIndex}`;
  return device.nvmlIndex === null ? device.id : `nvml:${device.nvmlIndex}`;
}

/**
 * The device that `--device TEXT` names: `cpu`, a CUDA index (`0`, `cuda:0`), `nvml:0`, or a UUID or the start of one.
 * Throws `deviceNotFound`.
 */
export function namedDevice(facts: SystemFacts, text: string): DeviceFacts {
  const cuda = /^(?:cuda:)?(\d+)$/.exec(text)?.[1];
  const nvml = /^nvml:(\d+)$/.exec(text)?.[1];
  const found = facts.devices.filter((device) => {
    if (cuda !== undefined) return device.cudaIndex === Number(cuda) && device.kind === 'gpu';
    if (nvml !== undefined) return device.nvmlIndex === Number(nvml) && device.kind === 'gpu';
    return device.id === text || (text.length >= 8 && device.id.startsWith(text));
  });
  const [device] = found;
  if (device === undefined || found.length > 1) {
    throw new DiagError('deviceNotFound', { asked: text, present: facts.devices.map(shortName) });
  }
  return device;
}

/** Without `--device`: the first GPU that CUDA sees, else the CPU device. */
export function defaultDevice(facts: SystemFacts): DeviceFacts {
  const device =
    facts.devices.find((each) => each.kind === 'gpu' && each.cudaIndex !== null) ??
    facts.devices.find((each) => each.kind === 'cpu');
  if (device === undefined) throw new DiagError('deviceNotFound', { asked: 'any', present: [] });
  return device;
}
