/** What a user has set for other work does not change what the tooling builds and tests. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  npmEnvironment,
  pipEnvironment,
  testEnvironment,
  vscodeEnvironment,
} from '../../../extension/dev/environments.mjs';

test('pip keeps its way to an index and nothing that says what to install where', () => {
  const kept = { PATH: '/usr/bin', PIP_INDEX_URL: 'https://mirror/simple', PIP_CERT: '/ca.pem', VIRTUAL_ENV: '/venv' };
  const env = pipEnvironment({
    ...kept,
    PIP_USER: '1',
    PIP_REQUIRE_VIRTUALENV: 'true',
    PIP_TARGET: '/elsewhere',
    PIP_PREFIX: '/elsewhere',
    PIP_NO_BINARY: ':all:',
    PIP_CONSTRAINT: '/constraints.txt',
    PYTHONHOME: '/nowhere',
    PYTHONPATH: '/nowhere',
  });
  assert.deepEqual(env, { ...kept, PIP_USER: '0', PIP_REQUIRE_VIRTUALENV: '0', PIP_NO_INPUT: '1' });
});

test('an npm inside npm keeps its way to the registry and none of the outer project’s settings', () => {
  const kept = {
    PATH: '/usr/bin',
    npm_config_registry: 'https://mirror/',
    npm_config_cafile: '/ca.pem',
    NPM_TOKEN: 'x',
  };
  const dropped = {
    npm_config_include: 'dev',
    npm_config_omit: 'optional',
    npm_config_global: 'true',
    npm_config_dry_run: 'true',
    NPM_CONFIG_IGNORE_SCRIPTS: 'false',
  };
  assert.deepEqual(npmEnvironment({ ...kept, ...dropped }), kept);
});

test('a VS Code of our own hears nothing from an outer one', () => {
  const kept = { PATH: '/usr/bin', HOME: '/root', ATTENTION_DIAGNOSTICS_OPEN_PANEL: '1', http_proxy: 'http://proxy' };
  const dropped = {
    VSCODE_IPC_HOOK_CLI: '/tmp/x.sock',
    ELECTRON_RUN_AS_NODE: '1',
    NODE_OPTIONS: '--require=bootloader.js',
    npm_config_prefix: '/x',
  };
  assert.deepEqual(vscodeEnvironment({ ...kept, ...dropped }), kept);
});

test('tests run under the user’s locale and folders, and without what changes Node, Python or the extension', () => {
  const kept = { LC_ALL: 'tr_TR.UTF-8', TZ: 'Pacific/Chatham', TMPDIR: '/tmp/a b', CUDA_VISIBLE_DEVICES: '1' };
  const dropped = {
    NODE_ENV: 'production',
    NODE_TEST_CONTEXT: 'child',
    FORCE_COLOR: '1',
    PYTHONWARNINGS: 'error',
    ATTN_DIAG_CUDA_LIBRARY: '/x.so',
    ATTENTION_DIAGNOSTICS_OPEN_PANEL: '1',
  };
  assert.deepEqual(testEnvironment({ ...kept, ...dropped }), kept);
});
