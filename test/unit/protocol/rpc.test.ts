import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as v from 'valibot';
import { DiagError } from '../../../extension/core/errors';
import { silentLogger } from '../../../extension/core/logger';
import { RpcPeer, type RpcMethod } from '../../../extension/protocol/rpc';
import { FakeClock } from '../node/fakeClock';

const double: RpcMethod<number, number, string> = {
  name: 'double',
  params: v.number(),
  result: v.number(),
  progress: v.string(),
  deadlineMs: 1000,
  onAbort: 'abandon',
};
const work: RpcMethod<number, string, string> = {
  name: 'work',
  params: v.number(),
  result: v.string(),
  progress: v.string(),
  deadlineMs: null,
  onAbort: 'await',
};

/** Two peers whose messages cross as JSON, as over a real channel. */
function pair(): { clock: FakeClock; left: RpcPeer; right: RpcPeer; sent: string[]; logged: string[] } {
  const clock = new FakeClock();
  const sent: string[] = [];
  const logged: string[] = [];
  const log = {
    ...silentLogger,
    warn: (line: string) => void logged.push(line),
    debug: (line: string) => void logged.push(line),
  };
  const left: RpcPeer = new RpcPeer(
    (message) => {
      sent.push(JSON.stringify(message));
      queueMicrotask(() => right.receive(JSON.parse(JSON.stringify(message))));
    },
    clock,
    log,
  );
  const right: RpcPeer = new RpcPeer(
    (message) => queueMicrotask(() => left.receive(JSON.parse(JSON.stringify(message)))),
    clock,
    log,
  );
  return { clock, left, right, sent, logged };
}

async function rejection(promise: Promise<unknown>): Promise<DiagError> {
  return promise.then(
    () => assert.fail('it should have been rejected'),
    (error: unknown) => DiagError.from(error),
  );
}

test('a request is answered, with progress on the way and no timer left', async () => {
  const { left, right, clock } = pair();
  right.serve(double, (value, { progress }) => {
    progress('half');
    return Promise.resolve(value * 2);
  });
  const heard: string[] = [];
  assert.equal(await left.request(double, 21, { onProgress: (text) => heard.push(text) }), 42);
  assert.deepEqual(heard, ['half']);
  assert.equal(clock.pending, 0);
});

test('at the deadline the request fails and the other side is told to stop', async () => {
  const { left, right, clock } = pair();
  let aborted = false;
  right.serve(double, (_, { signal }) => {
    signal.addEventListener('abort', () => (aborted = true));
    return new Promise<number>(() => undefined);
  });
  const pending = rejection(left.request(double, 1));
  await Promise.resolve();
  clock.advance(999);
  assert.equal(clock.pending, 1);
  clock.advance(1);
  const error = await pending;
  assert.ok(DiagError.is(error, 'requestTimeout'));
  assert.equal(error.data.deadlineMs, 1000);
  await new Promise(setImmediate);
  assert.ok(aborted);
});

test('an answer that comes after the deadline is ignored', async () => {
  const { left, right, clock } = pair();
  let answer = (_: number): void => undefined;
  right.serve(double, () => new Promise<number>((resolve) => (answer = resolve)));
  const pending = rejection(left.request(double, 1));
  await new Promise(setImmediate);
  clock.advance(1000);
  answer(2);
  assert.equal((await pending).code, 'requestTimeout');
  await new Promise(setImmediate);
});

test('an abort either abandons at once or waits for the reply, and is acknowledged', async () => {
  const { left, right } = pair();
  right.serve(double, () => new Promise<number>(() => undefined));
  right.serve(
    work,
    (_, { signal }) => new Promise((resolve) => signal.addEventListener('abort', () => resolve('stopped'))),
  );
  const first = new AbortController();
  const abandoned = rejection(left.request(double, 1, { signal: first.signal }));
  first.abort();
  assert.equal((await abandoned).code, 'cancelled');
  assert.equal((await rejection(left.request(double, 1, { signal: first.signal }))).code, 'cancelled');

  const second = new AbortController();
  let acknowledged = false;
  const awaited = left.request(work, 1, { signal: second.signal, onCancelAck: () => (acknowledged = true) });
  await new Promise(setImmediate);
  second.abort();
  assert.equal(await awaited, 'stopped');
  assert.ok(acknowledged);
});

test('errors travel as code and data; unknown codes and thrown strings become internal', async () => {
  const { left, right } = pair();
  right.serve(double, () => Promise.reject(new DiagError('deviceProhibited', { deviceId: 'GPU-1' })));
  const known = await rejection(left.request(double, 1));
  assert.ok(DiagError.is(known, 'deviceProhibited'));
  assert.equal(known.data.deviceId, 'GPU-1');
  right.serve(double, () => Promise.reject(new Error('boom')));
  const internal = await rejection(left.request(double, 1));
  assert.ok(DiagError.is(internal, 'internal'));
  assert.equal(internal.data.problem, 'boom');
  const pending = rejection(left.request({ ...double, name: 'nobody serves this' }, 1));
  assert.equal((await pending).code, 'unsupportedMethod');
});

test('an error of a newer version keeps its name', async () => {
  const peer = new RpcPeer(() => undefined, new FakeClock(), silentLogger);
  const pending = rejection(peer.request(double, 1));
  peer.receive({ kind: 'error', id: 1, body: { code: 'gpuOnFire', data: {} } });
  const error = await pending;
  assert.ok(DiagError.is(error, 'internal'));
  assert.match(error.data.problem, /gpuOnFire/);
});

test('what does not fit the schema is an error on the side that asked, parameters and results alike', async () => {
  const { left, right } = pair();
  right.serve({ ...double, result: v.string() as unknown as typeof double.result }, () =>
    Promise.resolve('many' as unknown as number),
  );
  const badResult = await rejection(left.request(double, 1));
  assert.ok(DiagError.is(badResult, 'invalidMessage'));
  assert.match(badResult.data.where, /reply to double/);
  right.serve(double, (value) => Promise.resolve(value));
  const badParams = await rejection(left.request(double, 'x' as unknown as number));
  assert.ok(DiagError.is(badParams, 'invalidMessage'));
  assert.match(badParams.data.where, /parameters of double/);
  right.serve(double, (_, { progress }) => {
    progress(7 as unknown as string);
    return new Promise<number>(() => undefined);
  });
  assert.equal((await rejection(left.request(double, 1))).code, 'invalidMessage');
});

test('unknown kinds, stray replies and nonsense are tolerated', async () => {
  const { left, right, logged } = pair();
  right.serve(double, (value) => Promise.resolve(value));
  for (const message of [
    null,
    7,
    'text',
    [],
    {},
    { kind: 'gossip' },
    { kind: 'reply', id: 999, body: 1 },
    { kind: 'cancel', id: 5 },
    { kind: 'event', method: 'unheard', body: 1 },
  ]) {
    left.receive(message);
  }
  assert.equal(await left.request(double, 3), 3);
  assert.ok(logged.length >= 5);
});

test('closing fails what is pending at once and aborts what is being served', async () => {
  const { left, right, clock } = pair();
  let aborted = false;
  right.serve(work, (_, { signal }) => {
    signal.addEventListener('abort', () => (aborted = true));
    return new Promise<string>(() => undefined);
  });
  const pending = rejection(left.request(work, 1));
  await new Promise(setImmediate);
  left.close(new DiagError('helperExited', { exitCode: null, signal: 'SIGSEGV', during: null }));
  assert.equal((await pending).code, 'helperExited');
  assert.equal((await rejection(left.request(work, 1))).code, 'helperExited');
  right.close(new DiagError('helperDisposed', {}));
  assert.ok(aborted);
  assert.equal(clock.pending, 0);
});

test('a transport that throws fails the request and leaves nothing behind', async () => {
  const clock = new FakeClock();
  const peer = new RpcPeer(
    () => {
      throw new Error('EPIPE');
    },
    clock,
    silentLogger,
  );
  const error = await rejection(peer.request(double, 1));
  assert.ok(DiagError.is(error, 'internal'));
  assert.equal(clock.pending, 0);
});
