/** The store: who is woken, when, and in which order. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { failed, IDLE, known, loading, ready, shallowEqual, Store } from '../../../../extension/core/state/store';

interface State {
  readonly count: number;
  readonly name: string;
}

function store(errors: unknown[] = []): Store<State> {
  return new Store<State>({ count: 0, name: 'a' }, (error) => errors.push(error));
}

describe('Store', () => {
  it('wakes only listeners whose selection changed', () => {
    const it = store();
    const seen: string[] = [];
    it.subscribe(
      (state) => state.count,
      (count, before) => seen.push(`count ${before}→${count}`),
    );
    it.subscribe(
      (state) => state.name,
      (name) => seen.push(`name ${name}`),
    );
    it.patch({ count: 1 });
    it.patch({ count: 1 });
    it.patch({ name: 'b' });
    assert.deepEqual(seen, ['count 0→1', 'name b']);
  });

  it('uses the given equality for selections that are built anew', () => {
    const it = store();
    let woken = 0;
    it.subscribe(
      (state) => ({ name: state.name }),
      () => (woken += 1),
      shallowEqual,
    );
    it.patch({ count: 5 });
    assert.equal(woken, 0);
    it.patch({ name: 'b' });
    assert.equal(woken, 1);
  });

  it('stops telling a listener that left', () => {
    const it = store();
    let woken = 0;
    const leave = it.subscribe(
      (state) => state.count,
      () => (woken += 1),
    );
    leave();
    leave();
    it.patch({ count: 1 });
    assert.equal(woken, 0);
  });

  it('never shows an older state after a newer one when a listener updates', () => {
    const it = store();
    const seen: number[] = [];
    it.subscribe(
      (state) => state.count,
      (count) => {
        if (count === 1) it.patch({ count: 2 });
      },
    );
    it.subscribe(
      (state) => state.count,
      (count) => seen.push(count),
    );
    it.patch({ count: 1 });
    assert.deepEqual(seen, [2]);
  });

  it('reports a listener that throws and still wakes the others', () => {
    const errors: unknown[] = [];
    const it = store(errors);
    const seen: number[] = [];
    it.subscribe(
      (state) => state.count,
      () => {
        throw new Error('listener');
      },
    );
    it.subscribe(
      (state) => state.count,
      (count) => seen.push(count),
    );
    it.patch({ count: 3 });
    assert.deepEqual(seen, [3]);
    assert.equal(errors.length, 1);
  });
});

describe('Async', () => {
  it('keeps the last good value over a refresh and a failure', () => {
    const good = ready(7);
    assert.equal(known(loading(good)), 7);
    assert.equal(known(failed(loading(good), { code: 'x', what: 'w', next: 'n' })), 7);
    assert.equal(known(loading<number>(IDLE)), null);
    assert.equal(known<number>(IDLE), null);
  });
});
