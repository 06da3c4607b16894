import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { toJsonSchema } from '@scistream/core/config';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

interface Outcome {
  readonly exit: number | null;
  readonly said: string;
}

function reference(...args: string[]): Outcome {
  const run = spawnSync(process.execPath, [join(ROOT, 'test/reference.js'), ...args], { encoding: 'utf8' });
  return { exit: run.status, said: run.stderr };
}

const repository = suite('documentation of this repository');

repository('every code block with a source is that source, and generated pages are up to date', () => {
  assert.equal(reference('--check'), { exit: 0, said: '' });
});

/** All keys in a JSON Schema, with where they stand. */
function keysOf(schema: unknown, path = ''): [path: string, key: string][] {
  if (typeof schema !== 'object' || schema === null) return [];
  return Object.entries(schema).flatMap(([name, part]: [string, unknown]) => {
    if (name !== 'properties') return name === 'default' ? [] : keysOf(part, path);
    return Object.entries(part as object).flatMap(([key, below]): [string, string][] => [
      [`${path}.${key}`, key],
      ...keysOf(below, `${path}.${key}`),
    ]);
  });
}

for (const kind of ['s2cs', 's2ds', 's2uc'] as const) {
  repository(`the reference names every key of the configuration of ${kind}`, async () => {
    const page = await readFile(join(ROOT, 'docs/reference/config.md'), 'utf8');
    const named = new Set([...page.matchAll(/`[^`]+`/g)].flatMap(([code]) => code.match(/\w+/g) ?? []));
    const keys = keysOf(toJsonSchema(kind));
    assert.ok(keys.length > 5);
    assert.equal(
      keys.filter(([, key]) => !named.has(key)).map(([path]) => path),
      [],
    );
  });
}

repository.run();

interface Context {
  folder: string;
}

const snippets = suite<Context>('code blocks taken from files', { folder: '' });

const SOURCE = 'before();\n  // region part\n  if (x) {\n    inside();\n  }\n  // endregion\nafter();\n';

snippets.before.each(async (context) => {
  context.folder = await mkdtemp(join(tmpdir(), 'docs-'));
  await mkdir(join(context.folder, 'docs/guide'), { recursive: true });
  await writeFile(join(context.folder, 'source.js'), SOURCE);
  await writeFile(join(context.folder, 'sample.conf'), 'a: 1\n# region tls\ntls: on\n# endregion\n');
});

snippets.after.each(async (context) => {
  await rm(context.folder, { recursive: true, force: true });
});

const block = (from: string, code: string): string =>
  `# Page\n\n<!-- from: ${from} -->\n\`\`\`js\n${code}\`\`\`\n\nText.\n`;

snippets('a block that equals its file or region passes', async ({ folder }) => {
  await writeFile(join(folder, 'README.md'), block('source.js', SOURCE));
  await writeFile(join(folder, 'docs/a.md'), block('source.js#part', 'if (x) {\n  inside();\n}\n'));
  await writeFile(join(folder, 'docs/guide/b.md'), block('sample.conf#tls', 'tls: on\n'));
  assert.equal(reference('--check', '--snippets', folder), { exit: 0, said: '' });
});

snippets('a block that differs is named', async ({ folder }) => {
  await writeFile(join(folder, 'docs/guide/b.md'), block('source.js#part', 'if (y) {}\n'));
  const { exit, said } = reference('--check', '--snippets', folder);
  assert.is(exit, 1);
  assert.match(said, /^docs\/guide\/b\.md differs/);
});

snippets('what is wrong with a marker is said', async ({ folder }) => {
  const cases: readonly (readonly [string, RegExp])[] = [
    [block('nowhere.js', 'x\n'), /README\.md: nowhere\.js does not exist/],
    [block('source.js#nothing', 'x\n'), /README\.md: source\.js has no complete region nothing/],
    ['<!-- from: source.js -->\n\nNo block here.\n', /README\.md: a "from:" marker has no code block/],
  ];
  for (const [text, expected] of cases) {
    await writeFile(join(folder, 'README.md'), text);
    const { exit, said } = reference('--check', '--snippets', folder);
    assert.is(exit, 1);
    assert.match(said, expected);
  }
});

snippets('without --check the block is written, and only the block', async ({ folder }) => {
  const page = join(folder, 'README.md');
  await writeFile(page, block('source.js#part', 'old();\n'));
  assert.is(reference('--snippets', folder).exit, 0);
  assert.is(await readFile(page, 'utf8'), block('source.js#part', 'if (x) {\n  inside();\n}\n'));
});

snippets.run();
