/** `attn-diag selftest`: the whole kernel correctness suite on one device. */
import type { AttentionCase } from '../../core/attentionCase';
import type { DeviceFacts } from '../../core/facts';
import { selftestCases } from '../../core/measure/selftestCases';
import { DEFAULT_RUN_OPTIONS } from '../../protocol/helperApi';
import type { Command } from './io';
import { DEVICE_HELP, DEVICE_OPTIONS, measure } from './measure';
import { COMMON_HELP, COMMON_OPTIONS, readOptions, usage } from './options';

/**
 * On the CPU device every case of this many is run: its arithmetic is the same code for all tiles. A prime that divides no
 * period of the list, so that every kind of case comes up.
 */
const CPU_STRIDE = 7;

export const selftestCommand: Command = {
  name: 'selftest',
  summary: 'the whole kernel correctness suite on a device, every output element checked',
  help: `usage: attn-diag selftest [options]

Runs every bundled kernel once on shapes chosen for their edges and compares every row with the float64 reference.
Nothing is timed. On the CPU reference device every ${CPU_STRIDE}th case is run unless --all is given.

  --all                all cases on the CPU device too
  --rows               print every row, not only those that are not ok
${DEVICE_HELP}
${COMMON_HELP}

Exit codes: 0 every row is ok or unsupported, 1 a row is wrong, failed, timed out, out of memory or crashed, or the run
failed, 2 usage, 3 the device asked for is not there, 130 interrupted`,
  async run(args, io) {
    const { values } = readOptions(args, {
      ...COMMON_OPTIONS,
      ...DEVICE_OPTIONS,
      all: { type: 'boolean', default: false },
      rows: { type: 'boolean', default: false },
    });
    if (values.cpu && values.device !== undefined) throw usage('--cpu and --device exclude each other.');
    return measure(io, {
      command: 'selftest',
      device: values.cpu ? 'cpu' : (values.device ?? null),
      busyOk: values['busy-ok'],
      cases: (device) => casesFor(device, values.all),
      options: { ...DEFAULT_RUN_OPTIONS, checkOnly: true, checkRows: 'all', ceilings: false },
      backends: null,
      shown: values.rows ? 'all' : 'notOk',
      target: values.json ?? null,
      redacted: !values['no-redact'],
    });
  },
};

function casesFor(device: DeviceFacts, all: boolean): readonly AttentionCase[] {
  const cases = selftestCases();
  return device.kind === 'cpu' && !all ? cases.filter((_, index) => index % CPU_STRIDE === 0) : cases;
}
