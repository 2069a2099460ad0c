import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import * as v from 'valibot';
import type { AppState, Setting } from '../../../../extension/core/state/appState';
import type { EnvironmentFacts } from '../../../../extension/core/environment';
import { environmentFactsSchema } from '../../../../extension/core/environment';
import {
  catalogDifferences,
  environmentFindings,
  withEnvironment,
} from '../../../../extension/core/findings/environmentFindings';
import { failed, IDLE, ready } from '../../../../extension/core/state/store';
import type { Finding } from '../../../../extension/core/verdict';
import { panelModel } from '../../../../extension/core/view/viewModels';
import { evaluated, freshState, hopperState } from '../../../ui/support/states';

/** What the probe said about a released wheel, paths replaced. */
function recorded(version: string): EnvironmentFacts {
  const file = path.resolve(`test/fixtures/environments/vllm-${version}.facts.json`);
  return v.parse(environmentFactsSchema, JSON.parse(readFileSync(file, 'utf8')));
}

/** The same with parts of the vLLM changed. */
function changed(facts: EnvironmentFacts, parts: Partial<NonNullable<EnvironmentFacts['vllm']>>): EnvironmentFacts {
  assert.ok(facts.vllm !== null);
  return { ...facts, vllm: { ...facts.vllm, ...parts } };
}

for (const version of ['0.19.1', '0.33.0']) {
  test(`the released ${version} is what the catalog says: fields, versions, backends, priorities`, () => {
    const facts = recorded(version);
    assert.deepEqual(catalogDifferences(facts), []);
    assert.deepEqual(environmentFindings(facts), []);
    assert.ok(Object.keys(facts.vllm?.priorities ?? {}).length >= 4);
  });
}

test('a patched installation is a contradiction that names what differs', () => {
  const facts = recorded('0.33.0');
  const config = facts.vllm?.attentionConfig;
  assert.ok(config);
  const field = { name: 'use_system_flash_attn', annotation: 'bool', default: 'False', literals: [] };
  const patched = changed(facts, { attentionConfig: { ...config, fields: [...config.fields, field] } });
  const [finding, ...others] = environmentFindings(patched);
  assert.deepEqual([finding?.code, others.length], ['environment-catalogDiffers', 0]);
  assert.match(finding?.detail ?? '', /only installed: use_system_flash_attn/);
});

test('another order of priorities, a missing backend and another range of versions are seen', () => {
  const facts = recorded('0.19.1');
  const { priorities, backends } = facts.vllm ?? {};
  assert.ok(priorities && backends);
  const order = {
    ...priorities,
    standard: { ...priorities['standard'], 9: ['FLASHINFER', 'FLASH_ATTN', 'TRITON_ATTN', 'FLEX_ATTENTION'] },
  };
  const patched = changed(facts, { priorities: order, backends: { ...backends, members: backends.members.slice(1) } });
  assert.deepEqual(
    catalogDifferences(patched).map((difference) => difference.what),
    ['backends', 'priorities standard 9.x'],
  );
});

test('a development build is not measured against a release', () => {
  const facts = changed(recorded('0.33.0'), { version: '0.33.1.dev7+gabcdef0', attentionConfig: null, backends: null });
  assert.deepEqual(environmentFindings(facts), []);
});

test('each trap becomes a finding that ends with a step to take', () => {
  const facts = recorded('0.19.1');
  const trapped: EnvironmentFacts = {
    ...changed(facts, { isNamespace: true }),
    flashAttnPlaces: [{ path: '/env/flash_attn', hasInit: false, hasRotary: false, hasCuteInterface: false }],
    systemFa4: {
      version: '4.0.0b36',
      interface: null,
      importedInterface: null,
      importedIsOwn: false,
      owners: [],
      cute: null,
    },
    conflicts: [{ by: 'vllm', requirement: 'torch==2.10.0', name: 'torch', installed: '2.14.0' }],
    dists: {
      'flashinfer-python': { version: '0.6.6', path: '/env/a', others: [] },
      'flashinfer-cubin': { version: '0.6.4', path: '/env/b', others: [{ version: '0.6.6', path: '/other' }] },
    },
  };
  const findings = environmentFindings(trapped);
  assert.deepEqual(
    findings.map((finding) => finding.code),
    [
      'environment-vllmIsNamespace',
      'environment-rotaryImportBreaks',
      'environment-systemFa4FilesMissing',
      'environment-cubinVersionDiffers',
      'environment-requirementConflict',
      'environment-duplicateDist',
    ],
  );
  for (const finding of findings) assert.match(finding.detail, /\.$/);
  assert.equal(new Set(findings.map((finding) => finding.id)).size, findings.length);
});

test('what inspection answers is not said again by the rules, unless another release is asked about', () => {
  const facts = recorded('0.19.1');
  const declared = {
    ...environmentFindings({ ...facts, conflicts: [] })[0],
    code: 'flash-attn-4-breaks-rotary',
  } as Finding;
  assert.deepEqual(withEnvironment([declared], facts, '0.19.1', null), []);
  assert.deepEqual(withEnvironment([declared], facts, '0.20.0', null), [declared]);
  assert.deepEqual(withEnvironment([declared], null, '0.19.1', null), [declared]);
});

test('a vLLM of which files are missing or cannot be read is said, not silently replaced by the catalog', () => {
  const facts = recorded('0.33.0');
  const codes = (changed: EnvironmentFacts): readonly string[] => environmentFindings(changed).map(({ code }) => code);
  const emptied = changed(facts, { attentionConfig: null, backends: null, priorities: null });
  const [missing] = environmentFindings(emptied);
  assert.equal(missing?.code, 'environment-unreadable');
  assert.match(missing.detail, /not found: the fields of AttentionConfig.*backends.*platforms\/cuda\.py.* Reinstall/);
  const problems = [1, 2, 3, 4].map((n) => ({ where: `/env/${n}.py`, what: `SyntaxError:\n${'x'.repeat(500)}` }));
  const [unread] = environmentFindings({ ...facts, problems });
  assert.match(unread?.detail ?? '', /not readable: \/env\/1\.py: SyntaxError: x+….*and 1 more\. The catalog answers/);
  assert.ok((unread?.detail ?? '').length < 1000);
  // The class is newer than the release: nothing is missing.
  const old = changed(facts, { version: '0.12.0', attentionConfig: null });
  assert.ok(!codes(old).includes('environment-unreadable'));
  const dists = { ...facts.dists, vllm: { version: '0.33.0', path: '/env/vllm-0.33.0.dist-info', others: [] } };
  assert.deepEqual(codes({ ...facts, vllm: null, dists, conflicts: [] }), ['environment-vllm-missing']);
  assert.deepEqual(codes({ ...facts, vllm: null, dists: {}, conflicts: [] }), []);
});

test('FlashInfer without flashinfer-cubin: one finding, where the family needs prebuilt kernels', () => {
  const facts = (version: string, flashinferCubin = false): EnvironmentFacts => ({
    ...recorded(version),
    flashinfer: true,
    flashinferCubin,
    dists: { ...recorded(version).dists, 'flashinfer-python': { version: '0.7.2.post1', path: '/env', others: [] } },
  });
  const found = (
    environment: EnvironmentFacts,
    capability: readonly [number, number] | null,
    release = '0.33.0',
    rules: readonly Finding[] = [],
  ): readonly Finding[] =>
    withEnvironment(rules, environment, release, capability).filter(({ code }) => code === 'flashinfer-cubin-missing');
  const [finding, ...others] = found(facts('0.33.0'), [10, 0]);
  assert.ok(finding);
  assert.deepEqual([others, finding.severity, finding.level], [[], 'warning', 'inspected']);
  assert.match(finding.detail, /^On 10\.0 .* Install flashinfer-cubin of the same version as flashinfer-python\.$/);
  assert.ok(finding.fixes.some((fix) => JSON.stringify(fix).includes('flashinfer-cubin==0.7.2.post1')));
  // Also where the rules were told so: one cause, one finding.
  assert.deepEqual(found(facts('0.33.0'), [10, 0], '0.33.0', [{ ...finding, id: 'rules', level: 'declared' }]), [
    finding,
  ]);
  assert.equal(found(facts('0.33.0'), [12, 0]).length, 1);
  assert.deepEqual(found(facts('0.19.1'), [12, 0], '0.19.1'), []);
  assert.deepEqual(found(facts('0.33.0'), [9, 0]), []);
  assert.deepEqual(found(facts('0.33.0'), null), []);
  assert.deepEqual(found(facts('0.33.0', true), [10, 0]), []);
  assert.deepEqual(found(facts('0.33.0'), [10, 0], '0.32.0'), []);
});

test('with an inspected environment the installed release answers, unless another one is set', () => {
  const state = { ...hopperState(), environment: ready(recorded('0.19.1')) };
  assert.match(panelModel(evaluated(state)).rules.release, /0\.19\.1/);
  const set: Setting<string> = { value: '0.33.0', setIn: 'user' };
  assert.match(panelModel(evaluated({ ...state, vllmVersion: set })).rules.release, /0\.33\.0/);
});

test('traps and a failed inspection are findings also where no SM family is asked about', () => {
  const facts = recorded('0.19.1');
  const trapped: EnvironmentFacts = {
    ...facts,
    flashAttnPlaces: [{ path: '/env/flash_attn', hasInit: false, hasRotary: false, hasCuteInterface: true }],
  };
  const codes = (environment: AppState['environment']): string[] =>
    panelModel({ ...freshState(), environment }).findings.map((finding) => finding.code);
  assert.ok(codes(ready(trapped)).includes('environment-rotaryImportBreaks'));
  const failure = { code: 'interpreterUnusable', what: 'It cannot be used.', next: 'Choose another.' } as const;
  assert.deepEqual(codes(failed(IDLE, failure)), ['environment-interpreterUnusable']);
});
