/**
 * Prepares a clone so that its programs run: installs packages, compiles the sources, and installs the system programs
 * that tests with real proxies need. It uses only node: modules, because it runs before anything is installed. The test
 * runner and the demo use it; `node test/setup.js` runs it by hand. Progress and the output of failed steps go to stderr.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Root directory of the repository. */
export const root = fileURLToPath(new URL('..', import.meta.url));

/** A failed step, or nothing to run. The message is one sentence; the output of the step has been printed. */
export class SetupError extends Error {}

/** Debian packages the stream module as a file of its own; other builds of Nginx include it. */
const HAS_STREAM_MODULE =
  'test -e /usr/lib/nginx/modules/ngx_stream_module.so || nginx -V 2>&1 | grep -Eq -- "--with-stream( |$)"';

/** Programs that tests need: the name in `needs:`, a command that succeeds if it is installed, and the Debian packages. */
const PROGRAMS = {
  haproxy: { found: ['haproxy', '-v'], package: 'haproxy' },
  nginx: { found: ['sh', '-c', `nginx -v && { ${HAS_STREAM_MODULE}; }`], package: 'nginx libnginx-mod-stream' },
  openssl: { found: ['openssl', 'version'], package: 'openssl' },
  stunnel: { found: ['stunnel', '-version'], package: 'stunnel4' },
  'python3-grpc': { found: ['/usr/bin/python3', '-c', 'import grpc'], package: 'python3-grpcio' },
  ip: { found: ['ip', '-V'], package: 'iproute2' },
  nft: { found: ['nft', '--version'], package: 'nftables' },
  zsh: { found: ['zsh', '--version'], package: 'zsh' },
  fish: { found: ['fish', '--version'], package: 'fish' },
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

/** PATH with the directories of administration programs (haproxy, nft), which the PATH of an ordinary Debian user lacks. */
export const searchPath = `${process.env.PATH ?? ''}:/usr/local/sbin:/usr/sbin:/sbin`;

const env = { ...process.env, PATH: searchPath };

const say = (text) => process.stderr.write(`setup: ${text}\n`);
const succeeds = ([command, ...args]) => spawnSync(command, args, { env, stdio: 'ignore' }).status === 0;
const seconds = (since) => `${((Date.now() - since) / 1000).toFixed(1)} s`;

/** The Debian packages of a program, separated by spaces; undefined for an unknown name. */
export const packageOf = (name) => (Object.hasOwn(PROGRAMS, name) ? PROGRAMS[name].package : undefined);

/** Whether the system has a program that {@link packageOf} knows. */
export const hasProgram = (name) => succeeds(PROGRAMS[name].found);

/** Runs one step in the repository. Prints its output and throws a {@link SetupError} if it fails. */
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
 * Whether node_modules contains the packages of package-lock.json, according to npm's record of what it installed. This
 * compares contents and not times, because git sets a new time on every file that it writes.
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

/** Runs `npm ci` if node_modules is missing or differs from package-lock.json. Throws a {@link SetupError}. */
export function ensureInstalled() {
  if (isInstalled()) return;
  say('installing packages …');
  step('npm ci', ['npm', 'ci', '--include=dev', '--no-audit', '--no-fund']);
}

/**
 * Compiles the changed files of a project and of its dependencies (`tsc -b`); by default of everything, tests included.
 * Throws a {@link SetupError} after the compiler's messages.
 */
export function ensureBuilt(project = 'tsconfig.build.json') {
  const compiler = createRequire(join(root, 'package.json')).resolve('typescript/bin/tsc');
  step('tsc -b', [process.execPath, compiler, '-b', project]);
}

/** Prepares a bare clone for a command: packages, a build, and the PATH of system programs. Ends the process on failure. */
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
 * Installs the Debian packages that tests with real proxies need, or only those of `names`. It does so on Debian as root
 * and unless SCISTREAM_NO_PROVISION=1. Otherwise it prints what is missing, and the runner skips the tests that need it.
 * Never throws if a package cannot be installed.
 */
export function provision(names = Object.keys(PROGRAMS)) {
  const missing = names.map((name) => PROGRAMS[name]).filter(({ found }) => !succeeds(found));
  if (missing.length === 0) return;
  const packages = missing.flatMap((program) => program.package.split(' '));
  const refusal = refusalToInstall();
  if (refusal !== undefined) {
    say(`not installed: ${packages.join(', ')} (${refusal}); tests that need them cannot run`);
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
    say(`${error.message}; tests that need ${packages.join(', ')} cannot run`);
  }
}

function refusalToInstall() {
  if (process.env.SCISTREAM_NO_PROVISION === '1') return 'SCISTREAM_NO_PROVISION=1';
  if (!existsSync('/etc/debian_version')) return 'not a Debian system';
  return process.getuid?.() === 0 ? undefined : 'not root';
}

/**
 * Prevents packages from starting their services during installation: a system-wide haproxy would disturb the tests.
 * Debian runs /usr/sbin/policy-rc.d (deb-systemd-invoke(1p)); exit code 101 forbids the start. An existing file is kept.
 * Ours is removed afterwards, even after Ctrl-C, which ends apt-get and returns here.
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
