import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ESLint } from 'eslint';
import tseslint from 'typescript-eslint';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** The repository's own rules, without those that ask the compiler: the files looked at here do not exist. */
const eslint = new ESLint({
  cwd: ROOT,
  overrideConfig: tseslint.configs.disableTypeChecked as ESLint.Options['overrideConfig'],
});

/** The rules a text breaks where it stood in this file. */
async function broken(file: string, text: string): Promise<readonly string[]> {
  const [result] = await eslint.lintText(text, { filePath: join(ROOT, file) });
  const messages = result?.messages ?? [];
  assert.equal(
    messages.filter(({ fatal }) => fatal).map(({ message }) => message),
    [],
    'the text is understood',
  );
  return [...new Set(messages.map(({ ruleId }) => ruleId ?? 'none'))];
}

const importing = (name: string): string => `import { x } from '${name}';\nexport const y = x;\n`;

interface Border {
  readonly from: string;
  readonly banned: readonly string[];
  readonly allowed: readonly string[];
}

const BORDERS: readonly Border[] = [
  {
    from: 'core/src/contracts/s2ds.ts',
    banned: ['@oclif/core', 'dockerode', '@scistream/core'],
    allowed: ['./errors.js', 'node:net'],
  },
  {
    from: 'core/src/control/control-server.ts',
    banned: ['@oclif/core', 'dockerode', '@scistream/core', '@scistream/plugin-haproxy', '@scistream/cli'],
    allowed: ['tsyringe', 'zod', '@connectrpc/connect-node', '../contracts/s2ds.js'],
  },
  {
    from: 'plugins/haproxy/src/index.ts',
    banned: [
      '@scistream/core/internal',
      '@scistream/core/client',
      '@scistream/core/config',
      '@scistream/plugin-nginx',
      '@scistream/cli',
      '../../../core/src/contracts/errors.js',
      '../../nginx/dist/index.js',
    ],
    allowed: ['@scistream/core', '@scistream/templates', 'zod', './options.js'],
  },
  {
    from: 'plugins/haproxy/test/contract.real.test.ts',
    banned: ['../src/index.js', '../../../core/dist/index.js', '@scistream/cli'],
    allowed: ['@scistream/core/testing', '@scistream/plugin-haproxy', 'uvu'],
  },
  {
    from: 'cli/src/commands/stream/up.ts',
    banned: [
      '@scistream/plugin-haproxy',
      '@scistream/cli',
      '@scistream/core/internal',
      '../../../../core/src/index.js',
    ],
    allowed: [
      '@scistream/core',
      '@scistream/core/server',
      '@scistream/core/client',
      '@oclif/core',
      '../../base-command.js',
    ],
  },
  {
    from: 'cli/src/compose.ts',
    banned: ['@scistream/plugin-haproxy', '@scistream/cli', '@scistream/core/internal'],
    allowed: ['@scistream/core/server', 'tsyringe', 'reflect-metadata'],
  },
  {
    from: 'test/e2e/two.e2e.test.ts',
    banned: ['@scistream/cli', 'fs', 'fs/promises'],
    allowed: ['@scistream/core/internal'],
  },
];

const borders = suite('lint: borders between packages');

for (const { from, banned, allowed } of BORDERS) {
  for (const name of banned) {
    borders(`${from} may not import ${name}`, async () => {
      assert.equal(await broken(from, importing(name)), ['no-restricted-imports']);
      assert.equal(await broken(from, `export { x } from '${name}';\n`), ['no-restricted-imports']);
      assert.equal(await broken(from, `export const load = () => import('${name}');\n`), ['no-restricted-syntax']);
    });
  }
  borders(`${from} may import ${allowed.join(', ')}`, async () => {
    for (const name of allowed) {
      assert.equal(await broken(from, importing(name)), []);
      assert.equal(await broken(from, `export const load = () => import('${name}');\n`), []);
    }
  });
}

borders.run();

const SERVER = 'core/src/control/service.ts';
const COMPOSE = 'cli/src/compose.ts';

const injection = suite('lint: tsyringe');

injection('every constructor parameter of an injectable class has @inject', async () => {
  const text = (parameter: string): string => `@injectable()\nexport class A {\n  constructor(${parameter}) {}\n}\n`;
  assert.equal(await broken(SERVER, text('readonly b: B')), ['no-restricted-syntax']);
  assert.equal(await broken(SERVER, text('@inject(B) readonly b: B')), []);
});

injection('an injectable subclass has a constructor', async () => {
  const text = (body: string): string => `@injectable()\nexport class A extends B {${body}}\n`;
  assert.equal(await broken(SERVER, text('')), ['no-restricted-syntax']);
  assert.equal(await broken(SERVER, text(' constructor() { super(); } ')), []);
});

injection('decorators that use the global container are refused', async () => {
  for (const name of ['autoInjectable', 'singleton', 'registry', 'scoped']) {
    assert.equal(await broken(SERVER, `@${name}()\nexport class A {}\n`), ['no-restricted-syntax']);
  }
});

injection('only the composition root resolves', async () => {
  for (const call of ['container.resolve(T)', 'this.container.resolve(T)', 'childContainer.resolveAll(T)']) {
    const text = `export function f() {\n  return ${call};\n}\n`;
    assert.equal(await broken(SERVER, text), ['no-restricted-syntax']);
    assert.equal(await broken(COMPOSE, text), []);
  }
  assert.equal(await broken(SERVER, 'export const f = () => Promise.resolve(1);\n'), []);
});

injection('the global container makes a child, in the composition root, and does nothing else', async () => {
  const text = (use: string): string => `import { container as root } from 'tsyringe';\nexport const x = ${use};\n`;
  assert.equal(await broken(SERVER, text('root.createChildContainer()')), ['no-restricted-syntax']);
  assert.equal(await broken(COMPOSE, text('root.createChildContainer()')), []);
  assert.equal(await broken(COMPOSE, text('root.resolve(T)')), ['scistream/no-global-container']);
  assert.equal(await broken(COMPOSE, text('root')), ['scistream/no-global-container']);
});

injection.run();

const house = suite('lint: house rules');

house('console is for the command line, examples and tests', async () => {
  const text = `console.log('x');\n`;
  assert.equal(await broken('core/src/contracts/wait.ts', text), ['no-console']);
  assert.equal(await broken('plugins/haproxy/src/index.ts', text), ['no-console']);
  for (const file of ['cli/src/a.ts', 'examples/demo.js', 'test/run.js']) assert.equal(await broken(file, text), []);
});

house('a program in bin/ starts what was compiled beside it', async () => {
  assert.equal(await broken('cli/bin/run.js', `await import('../dist/main.js');\n`), []);
});

house('nothing creates directories with mkdir and recursive, which hangs below /proc', async () => {
  const text = `import { mkdir } from 'node:fs/promises';\nawait mkdir('x', { recursive: true, mode: 0o700 });\n`;
  for (const file of ['core/src/client/journal.ts', 'cli/src/cert-init.ts', 'plugins/dockersock/src/index.ts']) {
    assert.equal(await broken(file, text), ['no-restricted-syntax']);
    assert.equal(await broken(file, text.replace('recursive: true, ', '')), []);
  }
  assert.equal(await broken('cli/test/a.test.ts', text), []);
  assert.equal(await broken('test/run.js', text), []);
});

house('a lint comment switches nothing off', async () => {
  const rules = await broken('core/src/contracts/wait.ts', '// eslint-disable-next-line no-console\nconsole.log(1);\n');
  assert.ok(rules.includes('no-console'));
});

house('tests are neither skipped nor singled out', async () => {
  for (const word of ['only', 'skip']) {
    assert.equal(await broken('core/test/a.test.ts', `s.${word}('one', () => {});\n`), ['no-restricted-syntax']);
  }
});

house('any and the non-null assertion are refused', async () => {
  assert.equal(await broken('core/src/contracts/wait.ts', 'export const f = (x: any) => x;\n'), [
    '@typescript-eslint/no-explicit-any',
  ]);
  assert.equal(await broken('core/src/contracts/wait.ts', 'export const f = (x?: { y: 1 }) => x!.y;\n'), [
    '@typescript-eslint/no-non-null-assertion',
  ]);
});

house.run();
