/** What the dependencies are, and which of them run code when they are installed. */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** Packages with an install script. All of them work if npm ignores it: they have prebuilt files, or need none. */
const WITH_SCRIPTS = ['classic-level', 'cpu-features', 'protobufjs', 'ssh2', 'yarn'];

interface Locked {
  readonly version?: string;
  readonly resolved?: string;
  readonly integrity?: string;
  readonly link?: boolean;
  readonly inBundle?: boolean;
  readonly hasInstallScript?: boolean;
}

const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
  readonly packages: Readonly<Record<string, Locked>>;
};
const dependencies = Object.entries(packages).filter(([path, { link }]) => path.includes('node_modules/') && !link);
const nameOf = (path: string): string => path.replace(/^.*node_modules\//, '');

const s = suite('dependencies');

s('no further dependency has an install script', () => {
  const found = dependencies.filter(([, { hasInstallScript }]) => hasInstallScript).map(([path]) => nameOf(path));
  assert.equal([...new Set(found)].sort(), WITH_SCRIPTS);
});

s('every dependency is pinned by its hash', () => {
  const loose = dependencies.filter(([, { integrity, inBundle }]) => !inBundle && !/^sha512-/.test(integrity ?? ''));
  assert.equal(
    loose.map(([path]) => path),
    [],
  );
});

/** The software bill of materials is kept as `.build/sbom.cdx.json`. */
s('npm sbom lists every dependency with its version', () => {
  const args = ['sbom', '--sbom-format=cyclonedx', '--package-lock-only'];
  const { stdout, status, stderr } = spawnSync('npm', args, { cwd: ROOT, encoding: 'utf8', maxBuffer: 1e8 });
  assert.is(status, 0, stderr);
  const { components } = JSON.parse(stdout) as { components: readonly { name: string; version: string }[] };
  const listed = new Set(components.map(({ name, version }) => `${name}@${version}`));
  const needed = dependencies.filter(([, { inBundle }]) => !inBundle);
  assert.ok(needed.length > 20, `${needed.length} dependencies`);
  const missing = needed.filter(([path, { version = '' }]) => !listed.has(`${nameOf(path)}@${version}`));
  assert.equal(
    missing.map(([path]) => path),
    [],
  );
  writeFileSync(join(ROOT, '.build', 'sbom.cdx.json'), stdout);
});

s.run();
