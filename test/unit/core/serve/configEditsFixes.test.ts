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
    'Write flash_attn_version: 4 instead':
      '# head\nattention-config:\n  # why\n  backend: FLASH_ATTN\n  flash_attn_version: 4\n',
  });
});

test('FA4 is offered in place of the flag only where the release has it, and once', () => {
  const titles = (text: string, version: string): string[] => Object.keys(fixes('a.yaml', text, version));
  const flag = 'attention-config.use_system_flash_attn: true\n';
  assert.deepEqual(titles(flag, '0.16.0'), ['Remove attention_config.use_system_flash_attn']);
  assert.deepEqual(titles(`${flag}attention-config.flash_attn_version: 4\n`, '0.33.0'), [
    'Remove attention_config.use_system_flash_attn',
  ]);
});

test('inside a JSON value, the flag goes before FA4 is written in its place', () => {
  const instead = 'Write flash_attn_version: 4 instead';
  const remove = 'Remove attention_config.use_system_flash_attn';
  assert.deepEqual(
    fixes('a.yaml', `attention-config: '{"use_system_flash_attn": true, "backend": "FLASH_ATTN"}' # x\n`, '0.33.0'),
    {
      [remove]: `attention-config: '{"backend": "FLASH_ATTN"}' # x\n`,
      [instead]: `attention-config: '{"backend": "FLASH_ATTN","flash_attn_version": 4}' # x\n`,
    },
  );
  assert.deepEqual(fixes('a.yaml', `attention-config: '{"use_system_flash_attn": true}'\n`, '0.33.0'), {
    [remove]: `attention-config: '{}'\n`,
    [instead]: `attention-config: '{"flash_attn_version": 4}'\n`,
  });
  // Escaped text cannot be edited in place, and a fix that leaves the flag is none.
  assert.deepEqual(fixes('a.yaml', 'attention-config: "{\\"use_system_flash_attn\\": true}"\n', '0.33.0'), {});
});

test('a field inside JSON text that cannot be read is left alone', () => {
  const finding = { id: 'unknown-config-field:x', code: 'unknown-config-field' };
  for (const json of ['', 'x', '{"x": 1,}', '{"y": {"x": 1}}']) {
    assert.deepEqual(configFixes(finding, 'a.yaml', `attention-config: '${json}'\n`, '0.33.0'), [], json);
  }
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
  // A part of a JSON word.
  assert.deepEqual(configFixes(finding, 'a.sh', `vllm serve m -ac '{"x": 1}'\n`, '0.33.0'), []);
  // Given twice: which one counts is not for us to settle.
  assert.deepEqual(configFixes(finding, 'a.sh', 'vllm serve m -ac.x 1 -ac.x 2\n', '0.33.0'), []);
  assert.deepEqual(configFixes(finding, 'a.yaml', 'a: 1\na: 2\nattention-config.x: 1\n', '0.33.0'), []);
});

test('an argument leaves a command line with the blanks or the line end before it', () => {
  const finding = { id: 'block-size-precludes-backend:d128', code: 'block-size-precludes-backend' };
  const remove = (path: string, text: string): string =>
    applyTextEdits(text, configFixes(finding, path, text, '0.33.0')[0]?.edits ?? []);
  const long = 'vllm serve m \\\n  --dtype half \\\n  --block-size 64 \\\n  --port 80\n';
  assert.equal(remove('a.sh', long), 'vllm serve m \\\n  --dtype half \\\n  --port 80\n');
  assert.equal(remove('a.sh', 'vllm serve m --block_size="64" # why\n'), 'vllm serve m # why\n');
  assert.equal(remove('a.sh', 'vllm serve m \\\n  --block-size=64\necho done\n'), 'vllm serve m\necho done\n');
  assert.equal(
    remove('Dockerfile', 'FROM x\nCMD vllm serve m --block-size 64 --port 80\n'),
    'FROM x\nCMD vllm serve m --port 80\n',
  );
  assert.equal(
    remove('compose.yaml', 'services:\n  a:\n    command: vllm serve m --block-size 64 --port 80 # ours\n'),
    'services:\n  a:\n    command: vllm serve m --port 80 # ours\n',
  );
});

test('a dead variable leaves scripts, Dockerfiles and compose files, and nothing else does', () => {
  const remove = 'Remove VLLM_ATTENTION_BACKEND';
  const name = 'VLLM_ATTENTION_BACKEND';
  const after = (path: string, text: string): string | undefined => fixes(path, text, '0.33.0')[remove];
  assert.equal(after('a.sh', `set -e\nexport ${name}=FLASHINFER # old\nvllm serve m\n`), 'set -e\nvllm serve m\n');
  assert.equal(after('a.sh', `A=1 ${name}=FLASHINFER vllm serve m\n`), 'A=1 vllm serve m\n');
  assert.equal(after('Dockerfile', `FROM x\nENV ${name}=FLASHINFER\nRUN y\n`), 'FROM x\nRUN y\n');
  assert.equal(after('Dockerfile', `FROM x\nENV A=1 ${name}=FLASHINFER\n`), 'FROM x\nENV A=1 \n');
  assert.equal(
    after('compose.yaml', `services:\n  a:\n    environment:\n      - A=1\n      - ${name}=FLASHINFER\n    image: x\n`),
    'services:\n  a:\n    environment:\n      - A=1\n    image: x\n',
  );
  assert.equal(
    after('compose.yaml', `services:\n  a:\n    environment:\n      ${name}: FLASHINFER\n      A: 1\n`),
    'services:\n  a:\n    environment:\n      A: 1\n',
  );
});

test('a version written as a string inside a JSON argument becomes a number', () => {
  const text = `vllm serve m --attention-config '{"flash_attn_version": "4", "backend": "FLASH_ATTN"}'\n`;
  assert.deepEqual(fixes('a.sh', text, '0.33.0'), {
    'Write flash_attn_version as the number 4': `vllm serve m --attention-config '{"flash_attn_version": 4, "backend": "FLASH_ATTN"}'\n`,
  });
});

test('dtype bfloat16 becomes half in its place', () => {
  const finding = { id: 'bfloat16-unsupported', code: 'bfloat16-unsupported' };
  const after = (path: string, text: string): string =>
    applyTextEdits(text, configFixes(finding, path, text, '0.33.0')[0]?.edits ?? []);
  assert.equal(after('a.yaml', 'dtype: bfloat16 # x\n'), 'dtype: half # x\n');
  assert.equal(after('a.sh', 'vllm serve m --dtype bfloat16 &\n'), 'vllm serve m --dtype half &\n');
});
