/**
 * A helper that misbehaves on request, over the real channel and the real protocol. What it does comes in FAKE_HELPER as
 * JSON; `counterFile` counts its starts, so that "crash once, then work" can be told.
 */
import { appendFileSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { onCancel } from '../../../extension/core/async';
import { emptyResult } from '../../../extension/core/measure/emptyResult';
import { silentLogger } from '../../../extension/core/logger';
import { HELPER_CHANNEL_FD, readMessages, writeMessageSync } from '../../../extension/node/messageStream';
import { systemClock } from '../../../extension/node/systemClock';
import { staticSystemFacts } from '../../../extension/node/systemFacts';
import { HELPER_PROTOCOL_VERSION, helloEvent, probeMethod, runMethod } from '../../../extension/protocol/helperApi';
import { RpcPeer } from '../../../extension/protocol/rpc';
import type { FakeBehaviour } from './fakeBehaviour';
import { sampleFacts, sampleGpu } from './sampleFacts';

const behaviour = JSON.parse(process.env['FAKE_HELPER'] ?? '{}') as FakeBehaviour;
appendFileSync(behaviour.counterFile, `${process.pid}\n`);
const start = readFileSync(behaviour.counterFile, 'utf8').trim().split('\n').length;

if (behaviour.ignoreSigterm === true) process.on('SIGTERM', () => process.stderr.write('SIGTERM ignored\n'));
if (behaviour.environmentFile !== undefined) writeFileSync(behaviour.environmentFile, JSON.stringify(process.env));
if (behaviour.dieAtStart === 'always' || (behaviour.dieAtStart === 'once' && start === 1)) process.exit(7);

const peer = new RpcPeer((message) => writeMessageSync(HELPER_CHANNEL_FD, message), systemClock, silentLogger);
readMessages(
  process.stdin,
  (message) => peer.receive(message),
  () => process.exit(3),
);
if (behaviour.ignoreStdinEnd !== true) process.stdin.on('end', () => process.exit(0));
else setInterval(() => undefined, 1000);

const never = (): Promise<never> => new Promise(() => setInterval(() => undefined, 1000));

async function misbehave(action: string): Promise<void> {
  switch (action) {
    case 'segv':
      process.kill(process.pid, 'SIGSEGV');
      return never();
    case 'kill':
      process.kill(process.pid, 'SIGKILL');
      return never();
    case 'exit':
      process.exit(4);
      break;
    case 'hang':
      return never();
    case 'block':
      for (;;) Math.random();
    case 'garbage':
      writeSync(HELPER_CHANNEL_FD, 'double free or corruption\n');
      return never();
    case 'oversize': {
      const filler = 'x'.repeat(1024 * 1024);
      for (let written = 0; written < 24; written += 1) writeSync(HELPER_CHANNEL_FD, filler);
      return never();
    }
    case 'flood':
      for (let count = 0; count < 20_000; count += 1) {
        writeMessageSync(HELPER_CHANNEL_FD, { kind: 'telemetry', count });
        writeMessageSync(HELPER_CHANNEL_FD, { kind: 'reply', id: 1_000_000 + count, body: null });
      }
      return;
    case 'print':
      process.stdout.write('{"kind":"reply","id":1,"body":null}\nlibrary chatter\n');
      return;
    default:
      return;
  }
}

peer.serve(probeMethod, async ({ level }) => {
  if (behaviour.probe !== undefined && (behaviour.onlyFirstStart !== true || start === 1)) {
    await misbehave(behaviour.probe);
  }
  if (behaviour.probeDelayMs !== undefined) await new Promise((done) => setTimeout(done, behaviour.probeDelayMs));
  const facts = behaviour.gpu === true ? sampleFacts(sampleGpu(), { level }) : await staticSystemFacts(level, {});
  return { ...facts, driverVersion: `start ${start}` };
});

peer.serve(runMethod, async (params, { signal, progress }) => {
  progress({ kind: 'phase', caseIndex: null, phase: 'context' });
  for (const [caseIndex, attentionCase] of params.cases.entries()) {
    progress({ kind: 'phase', caseIndex, phase: 'check' });
    const action = behaviour.cases?.[String(attentionCase.seed)];
    if (action === 'untilCancelled') {
      await new Promise<void>((stop) => onCancel(signal, () => stop()));
      return { ended: 'cancelled' as const };
    }
    if (action !== undefined) await misbehave(action);
    progress({ kind: 'row', caseIndex, result: emptyResult('unsupported', 'fake', `start ${start}`) });
    if (behaviour.exitAfterRow === attentionCase.seed) process.exit(5);
  }
  return { ended: 'complete' as const };
});

if (behaviour.hello === 'never') {
  setInterval(() => undefined, 1000);
} else {
  peer.notify(helloEvent, {
    protocolVersion: behaviour.hello === 'otherVersion' ? 99 : HELPER_PROTOCOL_VERSION,
    pid: process.pid,
    nodeVersion: process.versions.node,
    addonVersion: null,
    addonAttempts: [],
  });
}
