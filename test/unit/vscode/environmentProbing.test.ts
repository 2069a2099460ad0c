/** The inspected environment follows the interpreter that is meant, and nothing is started before somebody asks. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import * as v from 'valibot';
import { environmentFactsSchema, type EnvironmentFacts } from '../../../extension/core/environment';
import { silentLogger } from '../../../extension/core/logger';
import type { AppState } from '../../../extension/core/state/appState';
import { IDLE, known, loading, ready, Store } from '../../../extension/core/state/store';
import { EnvironmentProbing } from '../../../extension/vscode/environmentProbing';
import { freshState } from '../../ui/support/states';

const FACTS = v.parse(
  environmentFactsSchema,
  JSON.parse(readFileSync('test/fixtures/environments/vllm-0.33.0.facts.json', 'utf8')),
);
const ANSWER: AppState['validation'] = ready({ kind: 'failed', key: 'any', stage: 'import', text: 'any' });

function factsOf(executable: string): EnvironmentFacts {
  return { ...FACTS, python: { ...FACTS.python, executable } };
}

/** A host whose interpreters answer at once, except those that are held. */
function host(meant: string | null) {
  const store = new Store<AppState>(freshState(), (error) => assert.fail(String(error)));
  const started: string[] = [];
  const held = new Map<string, () => void>();
  const it = {
    store,
    started,
    held,
    meant,
    hold: new Set<string>(),
    executable: () => known(store.state.environment)?.python.executable ?? null,
  };
  const probing = new EnvironmentProbing({
    store,
    log: silentLogger,
    findInterpreter: () => Promise.resolve(it.meant),
    inspect: async (interpreter) => {
      started.push(interpreter);
      if (it.hold.has(interpreter)) await new Promise<void>((resolve) => held.set(interpreter, resolve));
      return factsOf(interpreter);
    },
  });
  return Object.assign(it, { probing });
}

/** Lets everything run that waits for nothing outside. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

describe('environment probing', () => {
  it('starts nothing for a change before somebody has asked', async () => {
    const it = host('/a/python');
    it.meant = '/b/python';
    await it.probing.interpreterChanged();
    assert.deepEqual(it.started, []);
    assert.equal(it.store.state.environment, IDLE);
  });

  it('inspects the other interpreter after a change, and forgets what the first one said', async () => {
    const it = host('/a/python');
    await it.probing.probe();
    it.store.patch({ validation: ANSWER });
    it.meant = '/b/python';
    it.hold.add('/b/python');
    const changed = it.probing.interpreterChanged();
    await settled();
    assert.deepEqual(it.store.state.environment, loading(IDLE), 'what is known of one is shown as the other');
    assert.equal(it.store.state.validation, IDLE);
    it.held.get('/b/python')?.();
    await changed;
    assert.equal(it.executable(), '/b/python');
  });

  it('inspects after a change also where none was found before', async () => {
    const it = host(null);
    await it.probing.ensureCurrent();
    assert.equal(it.store.state.environment, IDLE);
    it.meant = '/a/python';
    await it.probing.interpreterChanged();
    assert.equal(it.executable(), '/a/python');
  });

  it('knows nothing more once no interpreter is meant', async () => {
    const it = host('/a/python');
    await it.probing.probe();
    it.store.patch({ validation: ANSWER });
    it.meant = null;
    await it.probing.interpreterChanged();
    assert.equal(it.store.state.environment, IDLE);
    assert.equal(it.store.state.validation, IDLE);
  });

  it('keeps what the installed vLLM said when the same interpreter is inspected again', async () => {
    const it = host('/a/python');
    await it.probing.probe();
    it.store.patch({ validation: ANSWER });
    await it.probing.probe();
    assert.equal(it.store.state.validation, ANSWER);
    assert.deepEqual(it.started, ['/a/python', '/a/python']);
  });

  it('inspects for a question only when another interpreter is meant than the inspected one', async () => {
    const it = host('/a/python');
    await it.probing.ensureCurrent();
    await it.probing.ensureCurrent();
    assert.deepEqual(it.started, ['/a/python']);
    // Nobody told of this change: the choice of another extension before it was listened to.
    it.meant = '/b/python';
    await it.probing.ensureCurrent();
    assert.deepEqual(it.started, ['/a/python', '/b/python']);
    assert.equal(it.executable(), '/b/python');
  });

  it('an older call is over with the newer one, so that a question is asked of the newest', async () => {
    const it = host('/a/python');
    it.hold.add('/a/python').add('/b/python');
    const asked = it.probing.ensureCurrent().then(() => it.executable());
    await settled();
    it.meant = '/b/python';
    void it.probing.interpreterChanged();
    await settled();
    it.held.get('/a/python')?.();
    await settled();
    it.held.get('/b/python')?.();
    assert.equal(await asked, '/b/python');
  });
});
