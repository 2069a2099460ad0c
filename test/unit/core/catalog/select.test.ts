/** What the user's choice of backend means in a release, beside `validate_configuration`. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseBackend, readBackendName } from '../../../../extension/core/catalog/select';

const FULL = { useMla: false, hasSlidingWindow: false, attnType: 'decoder' } as const;
const WINDOWED = { ...FULL, hasSlidingWindow: true };

test('backend_per_kind: the layer of the kind gets its entry, the others the plain backend', () => {
  const perKind = { sliding_window: 'triton_attn' };
  assert.deepEqual(chooseBackend('0.26.0', 'FLASH_ATTN', perKind, WINDOWED), { kind: 'backend', name: 'TRITON_ATTN' });
  assert.deepEqual(chooseBackend('0.26.0', 'FLASH_ATTN', perKind, FULL), { kind: 'backend', name: 'FLASH_ATTN' });
  assert.deepEqual(chooseBackend('0.26.0', null, perKind, FULL), { kind: 'automatic' });
  assert.deepEqual(chooseBackend('0.25.1', null, perKind, WINDOWED), { kind: 'automatic' });
});

test('backend_per_kind: one bad entry stops every layer, also those of other kinds', () => {
  for (const perKind of [{ cross_attention: 'nonsense' }, { mamba: 'auto' }, { windows: 'FLASH_ATTN' }]) {
    assert.equal(chooseBackend('0.31.0', 'FLASHINFER', perKind as Record<string, string>, FULL).kind, 'configError');
  }
  assert.equal(chooseBackend('0.31.0', 'nonsense', { full_attention: 'FLASH_ATTN' }, FULL).kind, 'configError');
});

test('auto is a name from 0.18.0 on, and never one in backend_per_kind', () => {
  assert.equal(readBackendName('0.17.1', 'auto').kind, 'configError');
  assert.equal(readBackendName('0.18.0', 'Auto').kind, 'automatic');
  assert.equal(readBackendName('0.33.0', 'auto', true).kind, 'configError');
});
