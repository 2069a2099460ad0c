import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import type { AttentionFieldChange } from '../../../../extension/core/serve/configEdits';
import { applyTextEdits, editAttentionField, refusalToWriteField } from '../../../../extension/core/serve/configEdits';
import type { EnvironmentFacts } from '../../../../extension/core/environment';
import { parseServeFile } from '../../../../extension/core/serve/serveConfig';

function edited(text: string, change: AttentionFieldChange, version = '0.33.0'): string {
  const result = editAttentionField(text, change, version);
  if (!result.ok) assert.fail(`${result.refusal.code}: ${result.refusal.problem}`);
  return applyTextEdits(text, result.edits);
}

function refusal(text: string, change: AttentionFieldChange): string {
  const result = editAttentionField(text, change, '0.33.0');
  assert.ok(!result.ok);
  assert.match(result.refusal.problem, /\.$/);
  return result.refusal.code;
}

const FA4: AttentionFieldChange = { field: 'flash_attn_version', value: 4 };
const FLAG: AttentionFieldChange = { field: 'use_system_flash_attn', value: true };

const CASES: ReadonlyArray<readonly [string, string, AttentionFieldChange, string]> = [
  ['an empty file', '', FA4, 'attention-config:\n  flash_attn_version: 4\n'],
  ['a new key', 'port: 80 # web', FLAG, 'port: 80 # web\nattention-config:\n  use_system_flash_attn: true\n'],
  ['only comments', '# nothing yet\n', FA4, '# nothing yet\nattention-config:\n  flash_attn_version: 4\n'],
  [
    'a value with its comment',
    'attention-config:\n  flash_attn_version: 3   # Hopper\n  backend: FLASH_ATTN\n',
    FA4,
    'attention-config:\n  flash_attn_version: 4   # Hopper\n  backend: FLASH_ATTN\n',
  ],
  [
    'a field behind the last, in its indentation',
    'attention_config:\n    backend: FLASH_ATTN  # ours\n\n# next\nport: 80\n',
    FA4,
    'attention_config:\n    backend: FLASH_ATTN  # ours\n    flash_attn_version: 4\n\n# next\nport: 80\n',
  ],
  [
    'behind a nested mapping',
    'attention-config:\n  backend_per_kind:\n    full_attention: A\nport: 80\n',
    FA4,
    'attention-config:\n  backend_per_kind:\n    full_attention: A\n  flash_attn_version: 4\nport: 80\n',
  ],
  [
    'a flow mapping',
    'attention-config: {backend: A} # x\n',
    FA4,
    'attention-config: {backend: A, flash_attn_version: 4} # x\n',
  ],
  ['an empty flow mapping', 'attention-config: {}\n', FA4, 'attention-config: {flash_attn_version: 4}\n'],
  [
    'an empty key',
    'attention-config:  # todo\nport: 80\n',
    FA4,
    'attention-config:  # todo\n  flash_attn_version: 4\nport: 80\n',
  ],
  ['an empty value', 'attention-config:\n  flash_attn_version:\n', FA4, 'attention-config:\n  flash_attn_version: 4\n'],
  ['a dotted key', 'attention-config.flash_attn_version: 3\n', FA4, 'attention-config.flash_attn_version: 4\n'],
  [
    'beside a dotted key',
    'attention-config.backend: A # x\nport: 80\n',
    FA4,
    'attention-config.backend: A # x\nattention-config.flash_attn_version: 4\nport: 80\n',
  ],
  [
    'JSON in a string',
    `attention-config: '{"backend": "A"}' # x\n`,
    FA4,
    `attention-config: '{"backend": "A","flash_attn_version": 4}' # x\n`,
  ],
  [
    'the flat backend key',
    'attention-backend: A\n',
    { field: 'backend', value: 'FLASHINFER' },
    'attention-backend: FLASHINFER\n',
  ],
  ['Windows line ends', 'port: 80\r\n', FA4, 'port: 80\r\nattention-config:\r\n  flash_attn_version: 4\r\n'],
  ['already so', 'attention-config: {flash_attn_version: 4}', FA4, 'attention-config: {flash_attn_version: 4}'],
  [
    'removing a field',
    'attention-config:\n  # why\n  flash_attn_version: 4 # gone with it\n  backend: A\n',
    { field: 'flash_attn_version', value: null },
    'attention-config:\n  # why\n  backend: A\n',
  ],
  [
    'removing the last field removes the key',
    'port: 80\nattention-config:\n  flash_attn_version: 4\n# tail\nx: 1\n',
    { field: 'flash_attn_version', value: null },
    'port: 80\n# tail\nx: 1\n',
  ],
  [
    'removing from a flow mapping',
    'attention-config: {flash_attn_version: 4, backend: A}\n',
    { field: 'flash_attn_version', value: null },
    'attention-config: {backend: A}\n',
  ],
  [
    'removing the last of a flow mapping',
    'attention-config: {backend: A, flash_attn_version: 4}\n',
    { field: 'flash_attn_version', value: null },
    'attention-config: {backend: A}\n',
  ],
  ['removing what is not there', 'port: 80\n', { field: 'backend', value: null }, 'port: 80\n'],
  [
    'a word YAML 1.1 takes for a boolean is quoted',
    '',
    { field: 'backend', value: 'ON' },
    'attention-config:\n  backend: "ON"\n',
  ],
];

for (const [what, before, change, after] of CASES) {
  test(`edit: ${what}`, () => {
    assert.equal(edited(before, change), after);
  });
}

test('before 0.16.0 nested mappings are not understood, so a new key is dotted', () => {
  assert.equal(edited('', FA4, '0.15.1'), 'attention-config.flash_attn_version: 4\n');
});

test('the fixture keeps every other byte', () => {
  const text = readFileSync(path.resolve('test/fixtures/serve/serve.yaml'), 'utf8');
  assert.equal(
    edited(text, { field: 'flash_attn_version', value: 3 }),
    text.replace('flash_attn_version: 4', 'flash_attn_version: 3'),
  );
});

test('refused: errors in the document, forms that cannot be edited in place', () => {
  assert.equal(refusal('a: 1\na: 2\n', FA4), 'documentErrors');
  assert.equal(refusal('attention-config:\n\tbackend: A\n', FA4), 'documentErrors');
  assert.equal(refusal('attention-config: &a\n  backend: A\n', FA4), 'documentErrors');
  assert.equal(refusal('a: 1\n---\nb: 2\n', FA4), 'documentErrors');
  assert.equal(refusal('{port: 80}\n', FA4), 'unsupportedForm');
  assert.equal(refusal('attention-config: [1]\n', FA4), 'unsupportedForm');
  assert.equal(refusal('attention-config: "{\\"backend\\": \\"A\\"}"\n', FA4), 'unsupportedForm');
  assert.equal(
    refusal('attention-config:\n  backend_per_kind: {a: B}\n', { field: 'backend_per_kind', value: 'A' }),
    'unsupportedForm',
  );
  assert.equal(refusal('port: 80\n...\n', FA4), 'notVerified');
});

/** The part of the facts that decides about writing. */
function facts(
  version: string | null,
  fields: readonly string[] | null,
  forbidsUnknown: boolean | null,
): EnvironmentFacts {
  const config =
    fields === null
      ? null
      : {
          path: '',
          fields: fields.map((name) => ({ name, annotation: '', default: null, literals: [] })),
          forbidsUnknown,
        };
  return { vllm: { version, attentionConfig: config } } as unknown as EnvironmentFacts;
}

test('a field is written only where the installed vLLM declares it', () => {
  const code = (given: EnvironmentFacts | null): string | undefined =>
    refusalToWriteField(given, 'use_system_flash_attn')?.code;
  assert.equal(code(facts('0.40.0', ['use_system_flash_attn'], true)), undefined);
  assert.equal(code(facts('0.33.0', ['backend'], true)), 'wouldAbort');
  assert.equal(code(facts('0.15.1', ['backend'], false)), 'wouldBeIgnored');
  assert.equal(code(facts('0.12.0', null, null)), 'wouldAbort');
  assert.equal(code(facts('0.33.0', null, null)), 'notEstablished');
  assert.equal(code(null), 'notEstablished');
});

test('random files: an edit re-parses to the intended value, changes no other byte, or is refused', () => {
  let state = 99;
  const random = (below: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const lines = [
    'attention-config:',
    'attention_config:',
    '  backend: FLASH_ATTN',
    '  flash_attn_version: 3 # c',
    '  backend_per_kind:',
    '    full_attention: X',
    'attention-config.flash_attn_version: 2',
    'attention-config.backend: Y',
    'attention-backend: Z',
    'attention-config: {backend: A, flash_attn_version: 3}',
    `attention-config: '{"flash_attn_version": 3}'`,
    '# comment',
    '',
    'port: 80',
    'block-size: 64   # tokens',
    '    # deep',
    'model: "a b"',
    'list:',
    '  - 1',
    'text: |',
    '  flash_attn_version: 9',
    '...',
    '\t',
  ];
  const changes: readonly AttentionFieldChange[] = [
    FA4,
    { field: 'flash_attn_version', value: null },
    FLAG,
    { field: 'backend', value: 'TRITON_ATTN' },
    { field: 'backend', value: null },
  ];
  let done = 0;
  for (let i = 0; i < 20_000; i++) {
    const text =
      Array.from({ length: random(9) }, () => lines[random(lines.length)]).join(random(5) === 0 ? '\r\n' : '\n') +
      (random(2) === 0 ? '\n' : '');
    const change = changes[random(changes.length)] as AttentionFieldChange;
    const result = editAttentionField(text, change, '0.33.0');
    if (!result.ok) continue;
    if (result.edits.length === 0) continue;
    done += 1;
    const after = applyTextEdits(text, result.edits);
    const start = Math.min(...result.edits.map((e) => e.offset));
    const tail = text.length - Math.max(...result.edits.map((e) => e.offset + e.length));
    assert.equal(after.slice(0, start), text.slice(0, start));
    assert.equal(after.slice(after.length - tail), text.slice(text.length - tail));
    const parsed = parseServeFile('f', after, 'vllmYaml');
    const values = parsed.located.filter(
      (s) =>
        s.name === `attention_config.${change.field}` || (change.field === 'backend' && s.name === 'attention_backend'),
    );
    assert.deepEqual(
      values.map((s) => s.value),
      change.value === null ? [] : [change.value],
      JSON.stringify(text),
    );
    for (const comment of text.match(/# (comment|tokens|deep)/g) ?? [])
      assert.ok(after.includes(comment), JSON.stringify(text));
  }
  assert.ok(done > 2000, `only ${done} edits`);
});
