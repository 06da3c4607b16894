import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFile, readdir, readFile, realpath, rename, rm, rmdir, stat, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { makeDirectory, messageOf, quote, SciStreamError } from '@scistream/core';
import { failed, installError } from './plugin-errors.js';
import { integrityError, recordIntegrity } from './plugin-integrity.js';
import { npmEnvironment } from './plugin-npm-environment.js';
import { registryError, unreachableRegistry, type NpmOutput } from './plugin-registry.js';
import { checkPacked } from './plugin-tarball.js';
import { systemError } from './system-error.js';

const require = createRequire(import.meta.url);
const PACKAGES = 'packages';
const STATE = ['package.json', 'package-lock.json'] as const;

/** The fields used from the data folder's package.json. */
interface HomePackage {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly oclif?: { readonly plugins?: readonly ({ readonly name: string } | string)[] };
}

/**
 * The folder in which npm keeps installed plugins (oclif's data folder, `SCISTREAM_DATA_DIR`). Its plugins share the
 * host's @scistream/core through a link, so that both use the same classes. Not safe for concurrent changes.
 */
export class PluginHome {
  /** Whether the registry does not answer, so that npm must not wait for it. */
  #offline = false;

  /** @param directory Created when needed. */
  constructor(
    private readonly directory: string,
    /** Folder of the CLI's package.json. */
    private readonly cliRoot: string,
  ) {}

  /**
   * Installs a plugin with npm.
   * @param what A package name, optionally with `@version`; a folder; a `.tgz` file; a git or https address. It is packed
   * first, so that its package.json can be checked before any other file is unpacked. None of its scripts run.
   * @param accept Checks the folder of the package; throws to reject the package. Called with the package.json alone, and
   * again when the package and its dependencies are installed (`complete`).
   * @returns Name of the package.
   * @throws SCI_PLUGIN_INSTALL_FAILED, SCI_PLUGIN_NOT_FOUND, SCI_PLUGIN_CHANGED, SCI_FILE_UNTRUSTED, the errors of
   * `accept`. The folder is restored then.
   */
  async install(what: string, accept: (root: string, complete: boolean) => Promise<void>): Promise<string> {
    await this.#create();
    // Otherwise the new record would cover the change.
    const changed = await integrityError(this.directory);
    if (changed) throw changed;
    const unreachable = await unreachableRegistry(what, (args, timeoutMs) => this.#npm(args, timeoutMs));
    // A file may need nothing from the registry.
    if (unreachable && !isPath(what)) throw registryError(what, unreachable);
    this.#offline = unreachable !== undefined;
    const before = await this.#snapshot();
    // Ctrl-C ends npm; the failed install must still be undone here.
    const ignore = (): void => undefined;
    process.on('SIGINT', ignore);
    try {
      const tarball = await this.#packed(what);
      await checkPacked(tarball, (root) => accept(root, false));
      await this.#shareCore();
      const target = `file:${tarball}`;
      const { ok, output } = await this.#plugins('install', target);
      const name = await this.#installedName(target, before);
      if (name !== undefined) await accept(join(this.directory, 'node_modules', name), ok);
      if (!ok && unreachable && /ENOTCACHED/.test(output)) throw registryError(what, unreachable);
      if (!ok || name === undefined) throw installError(what, output);
      await recordIntegrity(this.directory);
      return name;
    } catch (error) {
      await this.#restore(before);
      throw SciStreamError.is(error)
        ? error
        : (systemError(error) ?? failed(`Cannot install ${what}`, messageOf(error)));
    } finally {
      await this.#removeStrayPackages();
      process.off('SIGINT', ignore);
    }
  }

  /**
   * Removes an installed or linked plugin.
   * @throws SCI_PLUGIN_NOT_FOUND, SCI_PLUGIN_INSTALL_FAILED
   */
  async uninstall(name: string): Promise<void> {
    const { oclif } = await this.#read();
    if (!oclif?.plugins?.some((plugin) => (typeof plugin === 'string' ? plugin : plugin.name) === name)) {
      throw new SciStreamError('SCI_PLUGIN_NOT_FOUND', `Plugin ${quote(name)} is not installed.`, {
        suggestions: ['scistream plugin ls'],
      });
    }
    const changed = await integrityError(this.directory);
    const { ok, output } = await this.#plugins('uninstall', name);
    if (!ok) throw failed(`Cannot remove ${name}`, output);
    await this.#removeStrayPackages();
    if (!changed) await recordIntegrity(this.directory);
  }

  /** @throws SCI_SYSTEM */
  async #create(): Promise<void> {
    await makeDirectory(this.directory).catch((error: unknown) => {
      throw systemError(error) ?? error;
    });
  }

  /** Makes npm link the host's copy of core. npm would prune a plain symlink on the next install. */
  async #shareCore(): Promise<void> {
    const core = await realpath(dirname(require.resolve('@scistream/core/package.json')));
    const found = await this.#read();
    const dependencies = { ...found.dependencies, '@scistream/core': `file:${core}` };
    const oclif = { schema: 1, plugins: [], ...found.oclif };
    const content = { name: '@scistream/plugins', private: true, ...found, oclif, dependencies };
    await writeFile(this.#path('package.json'), `${JSON.stringify(content, undefined, 2)}\n`);
  }

  /** The tarball of a package, in the folder of packages: later changes of the original have no effect. */
  async #packed(what: string): Promise<string> {
    const path = resolve(what.replace(/^file:/, ''));
    const found = /^(file:|\.{0,2}\/|~\/)|\.tgz$/.test(what) ? await stat(path).catch(() => undefined) : undefined;
    if (!found) {
      if (isPath(what)) {
        throw new SciStreamError('SCI_PLUGIN_NOT_FOUND', `No file or folder ${quote(path)} exists.`, {
          suggestions: ['Check the path of the plugin.'],
        });
      }
    }
    await makeDirectory(this.#path(PACKAGES));
    const isFile = found?.isDirectory() === false;
    const made = this.#path(PACKAGES, isFile ? `copy of ${basename(path)}` : await this.#pack(found ? path : what));
    if (isFile) await copyFile(path, made);
    const hash = createHash('sha256')
      .update(await readFile(made))
      .digest('hex')
      .slice(0, 16);
    const kept = this.#path(PACKAGES, `${hash}.tgz`);
    await rename(made, kept);
    return kept;
  }

  /** Packs a folder, or downloads a package. Returns the name of the tarball in the folder of packages. */
  async #pack(what: string): Promise<string> {
    const args = ['pack', what, '--pack-destination', this.#path(PACKAGES), '--loglevel=error'];
    const { ok, output } = await this.#npm(args);
    const file = output.trim().split('\n').at(-1) ?? '';
    if (!ok || !file.endsWith('.tgz')) throw installError(what, output);
    return file;
  }

  /** The package that npm added or changed. */
  async #installedName(target: string, before: Snapshot): Promise<string | undefined> {
    const { dependencies = {} } = await this.#read();
    const earlier = before['package.json'] === undefined ? {} : (parseHome(before['package.json']).dependencies ?? {});
    const own = Object.keys(dependencies).filter((name) => name !== '@scistream/core');
    const file = basename(target);
    return (
      own.find((name) => dependencies[name]?.endsWith(`/${file}`)) ??
      own.find((name) => dependencies[name] !== earlier[name])
    );
  }

  /** Removes tarballs that no installed plugin uses, and their folder when it is empty. */
  async #removeStrayPackages(): Promise<void> {
    const files = await readdir(this.#path(PACKAGES)).catch(() => undefined);
    if (files === undefined) return;
    const used = Object.values((await this.#read()).dependencies ?? {}).map((range) => basename(range));
    const strays = files.filter((file) => !used.includes(file));
    await Promise.all(strays.map((file) => rm(this.#path(PACKAGES, file), { force: true })));
    if (strays.length === files.length) await rmdir(this.#path(PACKAGES));
  }

  async #snapshot(): Promise<Snapshot> {
    const contents = await Promise.all(STATE.map((file) => readFile(this.#path(file), 'utf8').catch(() => undefined)));
    return { 'package.json': contents[0], 'package-lock.json': contents[1] };
  }

  async #restore(before: Snapshot): Promise<void> {
    for (const file of STATE) {
      const content = before[file];
      if (content === undefined) await rm(this.#path(file), { force: true });
      else await writeFile(this.#path(file), content);
    }
    if (before['package.json'] === undefined) await rm(this.#path('node_modules'), { recursive: true, force: true });
    else await this.#npm(['install', '--omit=dev', '--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error']);
  }

  async #read(): Promise<HomePackage> {
    const content = await readFile(this.#path('package.json'), 'utf8').catch(() => '{}');
    return parseHome(content);
  }

  #plugins(verb: 'install' | 'uninstall', what: string): Promise<NpmOutput> {
    const script = fileURLToPath(new URL('./plugin-npm.js', import.meta.url));
    return this.#node([script, verb, what, this.cliRoot]);
  }

  #npm(args: readonly string[], timeoutMs?: number): Promise<NpmOutput> {
    const npm = createRequire(require.resolve('@oclif/plugin-plugins')).resolve('npm/package.json');
    return this.#node([join(dirname(npm), 'bin', 'npm-cli.js'), ...args], timeoutMs);
  }

  async #node(args: readonly string[], timeout?: number): Promise<NpmOutput> {
    const env = {
      ...npmEnvironment(process.env),
      ...(this.#offline && { npm_config_offline: 'true' }),
      SCISTREAM_DATA_DIR: this.directory,
      SCISTREAM_NPM_LOG_LEVEL: 'error',
      NO_COLOR: '1',
    };
    const child = spawn(process.execPath, args, {
      cwd: this.directory,
      env,
      timeout,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const ended = new Promise<number | null>((done, reject) => {
      child.once('error', reject);
      child.once('close', done);
    });
    const [stdout, stderr, exitCode] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
    const timedOut = timeout !== undefined && child.signalCode === 'SIGTERM';
    return { ok: exitCode === 0, output: exitCode === 0 ? stdout : `${stdout}\n${stderr}`, timedOut };
  }

  #path(...parts: readonly string[]): string {
    return join(this.directory, ...parts);
  }
}

/** Whether a user means a file or folder, which may not exist. */
const isPath = (what: string): boolean => /^(file:|\.{1,2}\/|\/)|^[^:]*\.tgz$/.test(what);

type Snapshot = Readonly<Record<(typeof STATE)[number], string | undefined>>;

function parseHome(content: string): HomePackage {
  try {
    return JSON.parse(content) as HomePackage;
  } catch (error) {
    throw failed('The package.json of the plugin folder is damaged', messageOf(error));
  }
}
