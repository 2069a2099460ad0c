// Lint that needs types (a forgotten await is a bug here, not a matter of taste) and the rings of the source tree.
import js from '@eslint/js';
import tseslint from 'typescript-eslint';

/** For the rings that must run anywhere: in a browser, in the extension host, in a test without either. */
const noNode = {
  group: ['node:*', 'fs', 'path', 'os', 'child_process', 'util', 'events'],
  message: 'This ring is pure.',
};
const noVscode = { group: ['vscode'], message: 'Only extension/vscode and the composition root may import vscode.' };

/**
 * @param {string} name ring, as it appears in the message
 * @param {string[]} folders folders of outer rings, as import patterns
 */
const noOuterRing = (name, folders) => ({
  group: folders.flatMap((folder) => [`**/${folder}/**`, `../${folder}/*`]),
  message: `${name} must not import an outer ring (core ← protocol ← node ← vscode; media → core and protocol only).`,
});

/**
 * @param {string[]} files
 * @param {{group: string[], message: string}[]} patterns
 * @returns {import('typescript-eslint').ConfigWithExtends}
 */
const ring = (files, patterns) => ({ files, rules: { 'no-restricted-imports': ['error', { patterns }] } });

export default tseslint.config(
  { ignores: ['dist/**', 'test/out/**', 'test/fixtures/**', 'native/build/**', 'node_modules/**', '.vscode-test/**'] },
  js.configs.recommended,
  ...tseslint.configs.recommendedTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      '@typescript-eslint/no-floating-promises': [
        'error',
        // node:test hands back promises that the runner itself waits for.
        {
          allowForKnownSafeCalls: [
            { from: 'package', package: 'node:test', name: ['test', 'describe', 'it', 'suite'] },
          ],
        },
      ],
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true, requireDefaultForNonUnion: true },
      ],
      '@typescript-eslint/consistent-type-imports': [
        'error',
        { fixStyle: 'inline-type-imports', disallowTypeAnnotations: false },
      ],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', caughtErrors: 'all' }],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'no-restricted-syntax': [
        'error',
        {
          selector: 'ExportDefaultDeclaration',
          message: 'Named exports only: a name that cannot drift is searchable.',
        },
        { selector: 'ExportAllDeclaration', message: 'No barrels: import from the file that declares it.' },
      ],
    },
  },
  {
    files: ['extension/core/**', 'extension/protocol/**', 'extension/node/**', 'extension/vscode/**'],
    rules: { 'no-console': 'error' },
  },
  ring(['extension/core/**'], [noNode, noVscode, noOuterRing('core', ['protocol', 'node', 'vscode', 'media'])]),
  ring(['extension/protocol/**'], [noNode, noVscode, noOuterRing('protocol', ['node', 'vscode', 'media'])]),
  ring(['extension/node/**'], [noVscode, noOuterRing('node', ['vscode', 'media'])]),
  ring(['extension/vscode/**'], [noOuterRing('vscode', ['media'])]),
  ring(['media/**'], [noNode, noVscode, noOuterRing('media', ['node', 'vscode'])]),
  {
    // Plain JavaScript tooling is type-checked through its JSDoc; what JSON.parse returns is looked at where it is used.
    files: ['**/*.mjs'],
    languageOptions: {
      globals: {
        console: 'readonly',
        process: 'readonly',
        URL: 'readonly',
        setTimeout: 'readonly',
        clearTimeout: 'readonly',
        AbortController: 'readonly',
        AbortSignal: 'readonly',
        Buffer: 'readonly',
        fetch: 'readonly',
      },
    },
    rules: {
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-unsafe-call': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
    },
  },
  // ESLint reads its configuration through the default export.
  { files: ['eslint.config.mjs'], rules: { 'no-restricted-syntax': 'off' } },
);
