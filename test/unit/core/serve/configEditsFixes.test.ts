import assert from 'node:assert/strict';
import { test } from 'node:test';
import { applyTextEdits } from '../../../../extension/core/serve/configEdits';
import { configFixes } from '../../../../extension/core/serve/configEditsFixes';
import { serveFindings } from '../../../../extension/core/findings/findingsServe';
import { parseServeFile, serveFileKind } from '../../../../extension/core/serve/serveConfig';

/** Every fix of every finding about a file: `title → text afterwards`. */
function fixes(path: string, text: string, version: string): Record<string, string> {
  const kind = serveFileKind(path, text);
  assert.ok(kind);
  const findings = serveFindings(version, parseServeFile(path, text, kind));
  assert.ok(findings.length > 0, 'there is something to fix');
  return Object.fromEntries(
    findings.flatMap((finding) =>
      configFixes(finding, path, text, version).map((fix) => [fix.title, applyTextEdits(text, fix.edits)] as const),
    ),
  );
}

test('a field the release does not have is removed, comments stay', () => {
  const text = '# head\nattention-config:\n  # why\n  use_system_flash_attn: true # x\n  backend: FLASH_ATTN\n';
  assert.deepEqual(fixes('a.yaml', text, '0.33.0'), {
    'Remove attention_config.use_system_flash_attn': '# head\nattention-config:\n  # why\n  backend: FLASH_ATTN\n',
  });
});

test('a version written as a string becomes a number', () => {
  const text = 'attention-config: {flash_attn_version: "4"} # x\n';
  assert.deepEqual(fixes('a.yaml', text, '0.33.0'), {
    'Write flash_attn_version as the number 4': 'attention-config: {flash_attn_version: 4} # x\n',
  });
});

test('a backend given twice: either one can go', () => {
  const text = 'attention-backend: A\nattention-config:\n  backend: B\n  flash_attn_version: 3\n';
  assert.deepEqual(fixes('a.yaml', text, '0.33.0'), {
    'Remove attention_backend': 'attention-config:\n  backend: B\n  flash_attn_version: 3\n',
    'Remove attention_config.backend': 'attention-backend: A\nattention-config:\n  flash_attn_version: 3\n',
  });
});

test('a kind that never matches goes with the mappings it leaves empty', () => {
  const text = 'attention-config:\n  backend_per_kind:\n    # note\n    mamba: TRITON_ATTN\nport: 80\n';
  const [fix] = configFixes({ id: 'kind-never-matches:mamba', code: 'kind-never-matches' }, 'a.yaml', text, '0.33.0');
  assert.equal(applyTextEdits(text, fix?.edits ?? []), '    # note\nport: 80\n');
});

test('a block size is removed wherever it stands', () => {
  const finding = { id: 'block-size-precludes-backend:full_attention d128', code: 'block-size-precludes-backend' };
  const remove = (text: string): string =>
    applyTextEdits(text, configFixes(finding, 'a.yaml', text, '0.33.0')[0]?.edits ?? []);
  assert.equal(remove('port: 80\nblock_size: 64 # tokens\nx: 1\n'), 'port: 80\nx: 1\n');
  assert.equal(remove('block-size: 64'), '');
  assert.equal(remove('{port: 80, block-size: 64}\n'), '{port: 80}\n');
});

test('dead variables leave a .env file by the line, only when they stand alone', () => {
  assert.deepEqual(fixes('/x/.env', 'A=1\nexport VLLM_ATTENTION_BACKEND=FLASH_ATTN\nB=2\n', '0.33.0'), {
    'Remove VLLM_ATTENTION_BACKEND': 'A=1\nB=2\n',
  });
  assert.deepEqual(fixes('/x/.env', 'VLLM_ATTENTION_BACKEND=FLASH_ATTN OTHER=1\n', '0.33.0'), {});
});

test('no fix where the file cannot be edited in place', () => {
  const finding = { id: 'unknown-config-field:x', code: 'unknown-config-field' };
  assert.deepEqual(configFixes(finding, 'a.sh', 'vllm serve m -ac.x 1\n', '0.33.0'), []);
  assert.deepEqual(configFixes(finding, 'a.yaml', 'a: 1\na: 2\nattention-config.x: 1\n', '0.33.0'), []);
});
