import { execFileSync } from 'node:child_process';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const DEPCRUISE = join(ROOT, 'node_modules/.bin/depcruise');

interface Cruise {
  readonly summary: {
    readonly violations: readonly { readonly from: string; readonly rule: { readonly name: string } }[];
  };
}

/** The rules that a small tree of sources breaks (path below core/src → content), each with the file that breaks it. */
async function broken(sources: Readonly<Record<string, string>>): Promise<readonly string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'rooms-'));
  try {
    for (const name of ['.dependency-cruiser.js', 'tsconfig.base.json']) await cp(join(ROOT, name), join(folder, name));
    await writeFile(join(folder, 'package.json'), '{ "type": "module" }');
    for (const [name, text] of Object.entries(sources)) {
      const path = join(folder, 'core/src', name);
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, text);
    }
    const args = ['--config', '.dependency-cruiser.js', '--output-type', 'json', 'core/src'];
    const found = JSON.parse(execFileSync(DEPCRUISE, args, { cwd: folder, encoding: 'utf8' })) as Cruise;
    return found.summary.violations.map(({ from, rule }) => `${from.slice('core/src/'.length)}: ${rule.name}`).sort();
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const imports = (name: string): string => `import type { X } from '${name}';\nexport type Y = X;\n`;
const LEAF = 'export type X = string;\n';

const s = suite('rooms of core');

s('an import that the table allows is accepted', async () => {
  const sources = {
    'contracts/a.ts': LEAF,
    'proxy/b.ts': imports('../contracts/a.js'),
    'relay/c.ts': imports('../proxy/b.js'),
  };
  assert.equal(await broken(sources), []);
});

s('an import that the table does not name is an error, also of a type', async () => {
  const sources = {
    'contracts/a.ts': LEAF,
    'wire/b.ts': imports('../client/c.js'),
    'client/c.ts': LEAF,
    'control/d.ts': LEAF,
    'control/streams/e.ts': imports('../d.js'),
    'gateway/f.ts': imports('../control/d.js'),
    'contracts/g.ts': imports('../proxy/h.js'),
    'proxy/h.ts': LEAF,
  };
  assert.equal(await broken(sources), [
    'contracts/g.ts: room-contracts',
    'control/streams/e.ts: room-control-streams',
    'gateway/f.ts: room-gateway',
    'wire/b.ts: room-wire',
  ]);
});

s('files that import each other are an error, also through types alone', async () => {
  const sources = { 'store/a.ts': `${imports('./b.js')}${LEAF}`, 'store/b.ts': `${imports('./a.js')}${LEAF}` };
  assert.equal([...new Set(await broken(sources))], ['store/a.ts: no-cycle']);
});

s('contracts import no package', async () => {
  assert.equal(await broken({ 'contracts/a.ts': "import { z } from 'zod';\nexport const x = z;\n" }), [
    'contracts/a.ts: contracts-alone',
  ]);
});

s.run();
