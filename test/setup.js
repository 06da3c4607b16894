/**
 * Brings a clone to the point where its programs run: packages installed, sources compiled, and what the tests with
 * real proxies need. Only node: modules, so that it runs before anything is installed. The test runner and the demo
 * use it; by hand it is `node test/setup.js`. Progress goes to stderr, and so does the output of a step that fails.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder of the repository. */
export const root = fileURLToPath(new URL('..', import.meta.url));

/** A step that failed, or nothing to run. What there was to show has been shown; the message is one sentence. */
export class SetupError extends Error {}

/** The stream module is a file where it is a package of its own, and built in elsewhere. */
const HAS_STREAM_MODULE =
  'test -e /usr/lib/nginx/modules/ngx_stream_module.so || nginx -V 2>&1 | grep -Eq -- "--with-stream( |$)"';

/** What tests need from the system: the name they use, how it is found, and the Debian packages that bring it. */
const PROGRAMS = {
  haproxy: { found: ['haproxy', '-v'], package: 'haproxy' },
  nginx: { found: ['sh', '-c', `nginx -v && { ${HAS_STREAM_MODULE}; }`], package: 'nginx libnginx-mod-stream' },
  openssl: { found: ['openssl', 'version'], package: 'openssl' },
  stunnel: { found: ['stunnel', '-version'], package: 'stunnel4' },
  'python3-grpc': { found: ['/usr/bin/python3', '-c', 'import grpc'], package: 'python3-grpcio' },
  ip: { found: ['ip', '-V'], package: 'iproute2' },
  nft: { found: ['nft', '--version'], package: 'nftables' },
  tcpdump: { found: ['tcpdump', '--version'], package: 'tcpdump' },
  docker: {
    found: ['sh', '-c', 'dockerd --version && containerd --version && busybox true'],
    package: 'docker.io busybox-static',
  },
  podman: {
    found: ['sh', '-c', 'podman --version && docker-init --version && busybox true'],
    package: 'podman docker.io busybox-static',
  },
};

/** PATH with the folders of administrators' programs (haproxy, nft), which an ordinary user's lacks on Debian. */
export const searchPath = `${process.env.PATH ?? ''}:/usr/local/sbin:/usr/sbin:/sbin`;

const env = { ...process.env, PATH: searchPath };

const say = (text) => process.stderr.write(`setup: ${text}\n`);
const succeeds = ([command, ...args]) => spawnSync(command, args, { env, stdio: 'ignore' }).status === 0;
const seconds = (since) => `${((Date.now() - since) / 1000).toFixed(1)} s`;

/** The Debian packages that bring a program, with spaces between, by the name tests give it; undefined if unknown. */
export const packageOf = (name) => (Object.hasOwn(PROGRAMS, name) ? PROGRAMS[name].package : undefined);

/** Whether the system has a program that {@link packageOf} knows. */
export const hasProgram = (name) => succeeds(PROGRAMS[name].found);

/** Runs one step in the repository; shows its output and throws a {@link SetupError} when it fails. */
function step(name, [command, ...args], extra = {}) {
  const since = Date.now();
  const run = spawnSync(command, args, { cwd: root, encoding: 'utf8', env: { ...env, ...extra }, maxBuffer: 1 << 26 });
  if (run.status !== 0) {
    process.stderr.write(`${run.stdout ?? ''}${run.stderr ?? ''}`);
    throw new SetupError(`${name} failed (${run.error?.message ?? run.signal ?? `exit code ${run.status}`})`);
  }
  say(`${name} (${seconds(since)})`);
}

/**
 * Whether node_modules holds what package-lock.json asks for, by npm's own record of what it installed. Contents are
 * compared and not times, because git gives a file that it writes again a new time.
 */
function isInstalled() {
  const record = join(root, 'node_modules/.package-lock.json');
  if (!existsSync(record)) return false;
  const installed = JSON.parse(readFileSync(record, 'utf8')).packages;
  const asked = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages;
  return Object.entries(asked).every(([path, { version, integrity, optional }]) => {
    if (path === '' || (optional && !installed[path])) return true;
    return installed[path]?.version === version && installed[path]?.integrity === integrity;
  });
}

/** Runs `npm ci` when node_modules is missing or does not fit package-lock.json. Throws a {@link SetupError}. */
export function ensureInstalled() {
  if (isInstalled()) return;
  say('installing packages …');
  step('npm ci', ['npm', 'ci', '--include=dev', '--no-audit', '--no-fund']);
}

/**
 * Compiles what changed of a project and of what it builds on (`tsc -b`); without a name everything, tests included.
 * Throws a {@link SetupError} after the compiler's own words.
 */
export function ensureBuilt(project = 'tsconfig.build.json') {
  const compiler = createRequire(join(root, 'package.json')).resolve('typescript/bin/tsc');
  step('tsc -b', [process.execPath, compiler, '-b', project]);
}

/** What a command of its own needs on a bare clone: packages and a build; and the programs of the system. Ends the process without them. */
export function prepareOrExit() {
  try {
    ensureInstalled();
    ensureBuilt();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    process.stderr.write(`setup: ${error.message}\n`);
    process.exit(1);
  }
  process.env.PATH = searchPath;
}

/**
 * Installs the Debian packages the tests with real proxies need (or only those that `names` ask for), on Debian as root and unless SCISTREAM_NO_PROVISION=1;
 * otherwise it says what is missing, and the tests that need it are skipped with that reason. Never throws for a
 * package that cannot be had.
 */
export function provision(names = Object.keys(PROGRAMS)) {
  const missing = names.map((name) => PROGRAMS[name]).filter(({ found }) => !succeeds(found));
  if (missing.length === 0) return;
  const packages = missing.flatMap((program) => program.package.split(' '));
  const refusal = refusalToInstall();
  if (refusal !== undefined) {
    say(`not installed: ${packages.join(', ')} (${refusal}); what needs them cannot run`);
    return;
  }
  say(`installing ${packages.join(', ')} …`);
  const quiet = { DEBIAN_FRONTEND: 'noninteractive' };
  try {
    withoutServices(() => {
      step('apt-get update', ['apt-get', 'update', '-q'], quiet);
      step(
        `apt-get install ${packages.join(' ')}`,
        ['apt-get', 'install', '-y', '-q', '--no-install-recommends', ...packages],
        quiet,
      );
    });
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    say(`${error.message}; what needs ${packages.join(', ')} cannot run`);
  }
}

function refusalToInstall() {
  if (process.env.SCISTREAM_NO_PROVISION === '1') return 'SCISTREAM_NO_PROVISION=1';
  if (!existsSync('/etc/debian_version')) return 'not a Debian system';
  return process.getuid?.() === 0 ? undefined : 'not root';
}

/**
 * Keeps the packages installed meanwhile from starting their services: a haproxy of the system has no place in a test.
 * Debian asks /usr/sbin/policy-rc.d (deb-systemd-invoke(1p)), and 101 there means "do not". One that exists already is
 * left alone; ours is gone afterwards, also after Ctrl-C, which reaches apt-get and returns here.
 */
function withoutServices(install) {
  const policy = '/usr/sbin/policy-rc.d';
  if (existsSync(policy)) return install();
  const survive = () => undefined;
  process.on('SIGINT', survive).on('SIGTERM', survive);
  try {
    writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755, flag: 'wx' });
    return install();
  } finally {
    rmSync(policy, { force: true });
    process.off('SIGINT', survive).off('SIGTERM', survive);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    ensureInstalled();
    ensureBuilt();
    provision();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    say(error.message);
    process.exitCode = 1;
  }
}
