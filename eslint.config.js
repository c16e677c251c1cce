// What the linter asks of all TypeScript here: types used soundly, promises never dropped.
import js from '@eslint/js'
import tseslint from 'typescript-eslint'

export default tseslint.config(
  {
    ignores: [
      '**/dist/',
      '**/output/',
      'target/',
      'tests/fixtures/',
      'drop-in/',
      '**/*.config.{js,ts}',
      '**/*.mjs',
      '**/*-worklet.js',
    ],
  },
  js.configs.recommended,
  tseslint.configs.recommendedTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/no-non-null-assertion': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      // An aborted call rejects with its signal's reason, whatever that is, as fetch does.
      '@typescript-eslint/prefer-promise-reject-errors': ['error', { allowThrowingAny: true, allowThrowingUnknown: true }],
      // The compiler reports unused names, and knows `_` as a name for what is not wanted.
      '@typescript-eslint/no-unused-vars': 'off',
    },
  },
  {
    // onnxruntime-web's types are reached as members of its classes, as in `InferenceSession.SessionOptions`.
    files: ['pkg/ts/ort/**'],
    rules: {
      '@typescript-eslint/no-namespace': 'off',
      '@typescript-eslint/no-empty-object-type': ['error', { allowInterfaces: 'with-single-extends' }],
    },
  },
)
