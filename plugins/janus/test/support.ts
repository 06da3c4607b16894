import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LABELS, silentLogger, type ContainerSpec, type ErrorCode } from '@scistream/core';
import { expectCode, temporaryDirectory, type TemporaryDirectory } from '@scistream/core/testing';
import { JanusOptions, JanusRuntime } from '@scistream/plugin-janus';
import * as assert from 'uvu/assert';
import { testEngine, type EngineInUse } from '../../../test/support/engine.js';
import { fingerprintOf, makeCertificate } from './emulator/certificate.js';
import { JanusEmulator } from './emulator/emulator.js';

const PASSWORD = 'a password';

/** An emulated controller with the nodes n1 and n2 on one engine, and runtimes that use it. */
export class JanusSite implements AsyncDisposable {
  readonly #runtimes: JanusRuntime[] = [];

  private constructor(
    readonly directory: TemporaryDirectory,
    readonly engine: EngineInUse,
    readonly emulator: JanusEmulator,
    readonly ca: string,
    readonly fingerprint: string,
  ) {}

  static async open(engine: EngineInUse): Promise<JanusSite> {
    const directory = await temporaryDirectory();
    const pair = await makeCertificate();
    const ca = join(directory.path, 'janus.crt');
    await writeFile(ca, pair.cert);
    const images = [engine.image.split(':')[0] ?? '', 'only-registered'];
    const access = { ...pair, password: PASSWORD, engine: engine.host };
    const emulator = await JanusEmulator.open({ ...access, nodes: ['n1', 'n2'], images });
    await writeFile(join(directory.path, 'password'), `${PASSWORD}\n`, { mode: 0o600 });
    return new JanusSite(directory, engine, emulator, ca, fingerprintOf(pair));
  }

  /** A new runtime of its own, with short intervals unless changed. */
  runtime(changes: Readonly<Record<string, unknown>> = {}): JanusRuntime {
    const options = JanusOptions.parse({
      url: this.emulator.url,
      ca: this.ca,
      auth: { user: 'admin', passwordFile: join(this.directory.path, 'password') },
      nodes: ['n1', 'n2'].map((name) => ({ name, wan: '127.0.0.1', lan: '127.0.0.1' })),
      backOff: 20,
      heartbeat: 100,
      ...changes,
    });
    const runtime = new JanusRuntime(options, silentLogger);
    this.#runtimes.push(runtime);
    return runtime;
  }

  /** A program that runs until it is stopped. */
  spec(changes: Partial<ContainerSpec> = {}): ContainerSpec {
    const name = changes.name ?? `scistream-test-${Math.random().toString(36).slice(2, 10)}-0`;
    return {
      name,
      image: this.engine.image,
      executable: 'sh',
      args: ['-c', 'trap "echo bye; exit 0" TERM; echo it runs in `pwd`; while :; do sleep 0.1; done'],
      files: { 'a.conf': 'first\n' },
      labels: { [LABELS.serverId]: 'test', [LABELS.uid]: `uid-of-${name}` },
      sockets: [],
      stopSignal: 'SIGTERM',
      listeners: [],
      transport: 'tcp',
      ...changes,
    };
  }

  /** Asserts that Janus has no SciStream session or profile, and the engine no container. */
  async expectNothingLeft(): Promise<void> {
    assert.equal([...this.emulator.controller.sessions.keys()], [], 'sessions are left');
    assert.equal([...this.emulator.controller.profiles.keys()], ['default'], 'profiles are left');
    assert.equal(await this.emulator.backend.containers(), [], 'containers are left');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#runtimes.map((runtime) => runtime.close()));
    await this.emulator[Symbol.asyncDispose]();
    await this.directory.remove();
  }
}

/** Registers tests that each get a site on one shared engine and must leave nothing behind. */
export function withSite(
  add: (name: string, test: () => Promise<void>) => void,
  hooks: { readonly after: (hook: () => Promise<void>) => void },
): (name: string, test: (site: JanusSite) => Promise<void>) => void {
  let engine: Promise<EngineInUse> | undefined;
  hooks.after(async () => await (await engine)?.[Symbol.asyncDispose]());
  return (name, test) =>
    add(name, async () => {
      engine ??= testEngine();
      await using site = await JanusSite.open(await engine);
      await test(site);
      await site.expectNothingLeft();
    });
}

/** Asserts that work fails with a code and a message that fits, without the password in it. */
export async function expectFailure(code: ErrorCode, words: RegExp, work: Promise<unknown>): Promise<void> {
  const error = await expectCode(code, work);
  assert.match(error.message, words);
  assert.not.match(JSON.stringify(error), PASSWORD);
}
