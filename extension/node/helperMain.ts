/**
 * The helper process: loads the addon, answers probe and run, and leaves when its client does.
 * Started by helperProcess.ts as `node helperMain.js --addon FILE… [--kernels DIR]`; messages come on stdin and go out on
 * descriptor 3, so that a library that prints cannot be taken for a message.
 */
import { parseArgs } from 'node:util';
import type { AttentionAddon, DeviceSession } from '../../native/index';
import { onCancel, type CancelSignal } from '../core/async';
import { DiagError } from '../core/errors';
import { emptyResult } from '../core/measure/emptyResult';
import { silentLogger } from '../core/logger';
import {
  HELPER_PROTOCOL_VERSION,
  helloEvent,
  probeMethod,
  runMethod,
  type RunParams,
  type RunProgress,
  type RunResult,
} from '../protocol/helperApi';
import { RpcPeer } from '../protocol/rpc';
import { loadAddon } from './addonLocator';
import { HELPER_CHANNEL_FD, readMessages, writeMessageSync } from './messageStream';
import { staticSystemFacts } from './systemFacts';
import { systemClock } from './systemClock';

/** After the client is gone, how long a running launch may take to end before the process kills itself. */
const ORPHAN_GRACE_MS = 1000;
/** How long a device is held for a next run: longer than another engine's turn, shorter than anybody would wonder about. */
const HOLD_MS = 10_000;

const { values } = parseArgs({
  options: { addon: { type: 'string', multiple: true, default: [] }, kernels: { type: 'string' } },
});
const kernelDir = values.kernels ?? null;
const { addon, attempts } = loadAddon(values.addon);

/** A device that the next run is expected to want again. Closed when it does not come. */
let held: { readonly deviceId: string; readonly session: DeviceSession; readonly timer: NodeJS.Timeout } | null = null;

let runs = 0;
const peer = new RpcPeer((message) => writeMessageSync(HELPER_CHANNEL_FD, message), systemClock, silentLogger);

peer.serve(probeMethod, ({ level }) =>
  addon === null ? staticSystemFacts(level, process.env) : addon.probe(level, kernelDir),
);
peer.serve(runMethod, async (params, { signal, progress }) => {
  if (addon === null) {
    throw new DiagError('addonMissing', {
      attempts: attempts.map((attempt) => ({ path: attempt.path, error: attempt.error ?? '' })),
    });
  }
  runs += 1;
  try {
    return await run(addon, params, signal, progress);
  } finally {
    runs -= 1;
  }
});

// The client is gone, or asks us to go: nothing may keep a GPU context open.
const leave = (): void => {
  peer.close(new DiagError('helperDisposed', {}));
  if (runs === 0) process.exit(0);
  // process.exit would wait for the thread that is inside the driver.
  setTimeout(() => process.kill(process.pid, 'SIGKILL'), ORPHAN_GRACE_MS);
};
process.stdin.on('end', leave);
process.stdin.on('error', leave);
readMessages(
  process.stdin,
  (message) => peer.receive(message),
  (error) => {
    process.stderr.write(`${error.message}\n`);
    leave();
  },
);

peer.notify(helloEvent, {
  protocolVersion: HELPER_PROTOCOL_VERSION,
  pid: process.pid,
  nodeVersion: process.versions.node,
  addonVersion: addon?.version ?? null,
  addonAttempts: attempts,
});

/** The held device if it is this one, else none; either way it is held no longer. */
function takeHeld(deviceId: string): DeviceSession | null {
  const last = held;
  held = null;
  if (last === null) return null;
  clearTimeout(last.timer);
  if (last.deviceId === deviceId) return last.session;
  last.session.close();
  return null;
}

function hold(deviceId: string, session: DeviceSession): void {
  const timer = setTimeout(() => takeHeld('')?.close(), HOLD_MS);
  timer.unref();
  held = { deviceId, session, timer };
}

/** Opens the device, measures the ceilings if asked, runs the cases in order, frees the device unless it is to be held. */
async function run(
  native: AttentionAddon,
  params: RunParams,
  signal: CancelSignal,
  report: (progress: RunProgress) => void,
): Promise<RunResult> {
  report({ kind: 'phase', caseIndex: null, phase: 'context' });
  const { deviceId, options } = params;
  const session =
    takeHeld(deviceId) ?? (await fromNative('openDevice', deviceId, native.openDevice(deviceId, kernelDir)));
  let complete = false;
  const stopListening = onCancel(signal, () => session.cancel());
  try {
    if (signal.aborted) return { ended: 'cancelled' };
    if (options.ceilings) {
      report({ kind: 'phase', caseIndex: null, phase: 'ceilings' });
      report({ kind: 'ceilings', ceilings: await fromNative('ceilings', deviceId, session.ceilings(options)) });
    }
    for (const caseIndex of params.cases.keys()) {
      if (signal.aborted) return { ended: 'cancelled' };
      await runOne(session, params, caseIndex, report);
    }
    complete = !signal.aborted;
    return { ended: complete ? 'complete' : 'cancelled' };
  } finally {
    stopListening();
    if (complete && options.hold) hold(deviceId, session);
    else session.close();
  }
}

async function runOne(
  session: DeviceSession,
  params: RunParams,
  caseIndex: number,
  report: (progress: RunProgress) => void,
): Promise<void> {
  const attentionCase = params.cases[caseIndex];
  if (attentionCase === undefined) return;
  report({ kind: 'phase', caseIndex, phase: 'allocate' });
  const onPhase = (phase: Extract<RunProgress, { kind: 'phase' }>['phase']): void =>
    report({ kind: 'phase', caseIndex, phase });
  try {
    const result = await session.runCase(attentionCase, params.options, onPhase);
    report({ kind: 'row', caseIndex, result });
  } catch (error) {
    // The addon answers everything a case can cause with a status; this is a defect of it, and the run goes on.
    const text = error instanceof Error ? error.message : String(error);
    report({ kind: 'row', caseIndex, result: emptyResult('failed', 'addonThrew', text) });
  }
}

/** The addon rejects with `{code, data}`, a code of ours or the name of a driver status; both become a `DiagError`. */
async function fromNative<T>(call: string, deviceId: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (caught) {
    if (!(caught instanceof Error)) throw DiagError.from(caught);
    const { code, data } = caught as Error & { code?: unknown; data?: unknown };
    if (code === 'cancelled') throw new DiagError('cancelled', {}, caught);
    if (code === 'deviceNotFound') throw new DiagError('deviceNotFound', { asked: deviceId, present: [] }, caught);
    if (code === 'kernelsMissing') throw new DiagError('kernelsMissing', {}, caught);
    const status = typeof data === 'object' && data !== null && 'number' in data ? data.number : null;
    throw new DiagError(
      'nativeFailure',
      {
        call,
        status: typeof status === 'number' ? status : null,
        name: typeof code === 'string' ? code : caught.name,
        text: caught.message,
      },
      caught,
    );
  }
}
