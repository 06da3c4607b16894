/**
 * Lint: typed rules for TypeScript, and the borders between the packages. npm workspaces hoist everything, so a forbidden
 * import would work by accident; these rules prevent it, and test/lint-boundaries.test.ts tests them. The borders between the
 * rooms of core are in .dependency-cruiser.js. Needs a build (`npm run build`): packages see each other through their `dist`.
 */
import { builtinModules } from 'node:module';
import { defineConfig } from 'eslint/config';
import tseslint from 'typescript-eslint';

/** Imports that are wrong in every file. */
const EVERYWHERE = [
  { regex: /^@scistream\/cli($|\/)/, message: 'Nobody imports the command line.' },
  {
    regex: new RegExp(`^(${builtinModules.filter((name) => /^[a-z]/.test(name)).join('|')})$`),
    message: 'Write node: before the name of a built-in module.',
  },
];

/** In TypeScript only: the programs in bin/ start what was compiled beside them. */
const BY_NAME = [{ regex: /^\.{1,2}\/(.*\/)?(src|dist)\//, message: 'Import packages by their name.' }];

const CORE = [
  ...BY_NAME,
  { regex: /^@oclif\//, message: 'core knows nothing of the command line.' },
  { regex: /^dockerode($|\/)/, message: 'Containers are the business of runtime plugins.' },
  { regex: /^@scistream\//, message: 'core imports no package of ours; inside it, paths are relative.' },
];

const NO_SKIPPING = {
  selector: 'CallExpression[callee.property.name=/^(only|skip)$/]',
  message: 'A test runs always; what it lacks goes into a "needs:" comment.',
};

/** tsyringe without emitted types and without the global container. */
const INJECTION = [
  {
    selector:
      "ClassDeclaration:has(> Decorator[expression.callee.name='injectable']) MethodDefinition[kind='constructor'] > FunctionExpression > :matches(TSParameterProperty, Identifier)[decorators.length=0].params",
    message: 'Write @inject(TOKEN) on every parameter; no types are emitted to inject by.',
  },
  {
    selector:
      "ClassDeclaration[superClass]:has(> Decorator[expression.callee.name='injectable']):not(:has(MethodDefinition[kind='constructor']))",
    message: 'An injectable subclass declares its constructor, or its dependencies are undefined.',
  },
  {
    selector: 'CallExpression[callee.name=/^(autoInjectable|singleton|registry|scoped)$/]',
    message: 'This writes to the global container; register in a composition function.',
  },
];

const NO_LOOKUP = [
  {
    selector:
      'CallExpression[callee.property.name=/^resolve(All)?$/]:matches([callee.object.name=/container/i], [callee.object.property.name=/container/i])',
    message: 'Only cli/src/compose.ts resolves; everything else is given what it needs.',
  },
  {
    selector: "ImportDeclaration[source.value='tsyringe'] > ImportSpecifier[imported.name='container']",
    message: 'Only cli/src/compose.ts touches the global container, to make a child of it.',
  },
];

/** In the sources of the packages. */
const NO_HANGING = {
  selector:
    'CallExpression:matches([callee.name=/^mkdir(Sync)?$/], [callee.property.name=/^mkdir(Sync)?$/]) Property[key.name="recursive"]',
  message: 'Below /proc, mkdir with recursive never returns; use makeDirectory() of core.',
};

const CLI = [
  ...BY_NAME,
  { regex: /^@scistream\/plugin-/, message: 'The command line finds plugins, it does not name them.' },
  { regex: /^@scistream\/core\/internal$/, message: 'Only tests import the internals of core.' },
];

const PLUGINS = [
  ...BY_NAME,
  {
    regex: /^@scistream\/(?!(core|templates)$)/,
    message: 'Of ours, plugins import only @scistream/core and @scistream/templates.',
  },
];

/** In these files these imports and constructs are errors. For a file that fits several rows the last one counts. */
const BORDERS = [
  { files: ['**/*.js'], banned: [], constructs: NO_LOOKUP },
  { files: ['**/*.ts'], banned: BY_NAME },
  { files: ['core/src/**/*.ts'], banned: CORE },
  { files: ['plugins/*/src/**/*.ts'], banned: PLUGINS },
  { files: ['cli/src/**/*.ts'], banned: CLI },
  { files: ['cli/src/compose.ts'], banned: CLI, constructs: [NO_HANGING] },
  { files: ['**/test/**/*.ts'], banned: BY_NAME, constructs: [NO_SKIPPING] },
];

/** The global container serves to make a child, and for nothing else, under whatever name it is imported. */
const noGlobalContainer = {
  meta: {
    type: 'problem',
    schema: [],
    messages: { used: 'Of the global container only createChildContainer() is used.' },
  },
  create: (context) => ({
    "ImportDeclaration[source.value='tsyringe'] > ImportSpecifier[imported.name='container']"(specifier) {
      const [variable] = context.sourceCode.getDeclaredVariables(specifier);
      for (const { identifier } of variable.references) {
        const { parent } = identifier;
        const makesChild = parent.type === 'MemberExpression' && parent.property.name === 'createChildContainer';
        if (!makesChild) context.report({ node: identifier, messageId: 'used' });
      }
    },
  }),
};

/** The same ban for `import()` and types in `import('…')`, which no-restricted-imports does not see. */
const inExpressions = ({ regex, message }) => ({
  // A slash would end the pattern of a selector.
  selector: `:matches(ImportExpression, TSImportType)[source.value=/${regex.source.replace(/\\?\//g, '\\u002F')}/]`,
  message,
});

/** The rules of one row, with what is wrong everywhere. */
function border({ files, banned, constructs = [...NO_LOOKUP, NO_HANGING] }) {
  const imports = [...EVERYWHERE, ...banned];
  const patterns = imports.map(({ regex, message }) => ({ regex: regex.source, message }));
  return {
    files,
    rules: {
      'no-restricted-imports': ['error', { patterns }],
      'no-restricted-syntax': ['error', ...INJECTION, ...constructs, ...imports.map(inExpressions)],
    },
  };
}

export default defineConfig(
  { ignores: ['**/dist/', '**/.build/', '**/.cache/', '**/node_modules/', 'core/src/wire/gen/'] },
  { linterOptions: { noInlineConfig: true } },
  {
    files: ['**/*.{ts,js}'],
    extends: [tseslint.configs.recommended],
    plugins: { scistream: { rules: { 'no-global-container': noGlobalContainer } } },
    rules: {
      eqeqeq: 'error',
      'no-warning-comments': 'error',
      'prefer-const': 'error',
      'object-shorthand': 'error',
      complexity: ['error', 20],
      'max-depth': ['error', 4],
      'scistream/no-global-container': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
    },
  },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { project: 'tsconfig.json', tsconfigRootDir: import.meta.dirname } },
    rules: {
      'max-lines': ['error', { max: 320, skipBlankLines: true, skipComments: true }],
      '@typescript-eslint/ban-ts-comment': [
        'error',
        { 'ts-expect-error': true, 'ts-ignore': true, 'ts-nocheck': true },
      ],
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      '@typescript-eslint/no-non-null-assertion': 'error',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      // An async method of an interface turns its throws into rejections, also when it has nothing to wait for.
      '@typescript-eslint/require-await': 'off',
    },
  },
  {
    files: ['**/*.{ts,js}'],
    ignores: ['cli/**', 'examples/**', 'test/**'],
    rules: { 'no-console': 'error' },
  },
  ...BORDERS.map(border),
);
