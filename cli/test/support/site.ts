import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import Docker from 'dockerode';
import * as assert from 'uvu/assert';
import { eventually } from '@scistream/core/testing';
import { makeCertificate } from '../../../plugins/janus/test/emulator/certificate.js';
import { JanusEmulator } from '../../../plugins/janus/test/emulator/emulator.js';
import { testEngine, type EngineInUse } from '../../../test/support/engine.js';
import { leftovers } from '../../../test/support/leftovers.js';
import { json, startFacilities, type Facilities } from './facilities.js';
import { REPOSITORY, resultOf } from './cli.js';

const EXAMPLE = join(REPOSITORY, 'examples', 'producer-consumer', 'dist');
const MODULE = '/usr/lib/nginx/modules/ngx_stream_module.so';
const PORTS = { first: 5100, last: 5109 };
const FRAMES = 400;
const NODES = { aps: 'n1', alcf: 'n2' };

/** Two facilities whose gateways have every proxy and every runtime: an engine, and a Janus controller with two nodes. */
export class Site implements AsyncDisposable {
  private constructor(
    private readonly engine: EngineInUse,
    private readonly emulator: JanusEmulator,
    private readonly directory: string,
    readonly facilities: Facilities,
  ) {}

  /** @param gateways Keys of the gateways, by facility. */
  static async open(gateways: Partial<Record<keyof typeof NODES, object>> = {}): Promise<Site> {
    const engine = await testEngine();
    const directory = await mkdtemp(join(tmpdir(), 'janus-e2e-'));
    const [ca, passwordFile] = [join(directory, 'ca.crt'), join(directory, 'password')];
    const pair = await makeCertificate();
    await writeFile(ca, pair.cert);
    await writeFile(passwordFile, 'secret\n', { mode: 0o600 });
    const { image, host } = engine;
    const access = { ...pair, password: 'secret', engine: host };
    const images = [image.split(':')[0] ?? ''];
    const emulator = await JanusEmulator.open({ ...access, nodes: Object.values(NODES), images });
    const facilities = await startFacilities({
      daemon: (facility, net) => {
        const address = `${net}.${facility === 'aps' ? 1 : 2}`;
        const nodes = [{ name: NODES[facility], wan: address, lan: address }];
        return {
          ...(gateways[facility] && { gateway: gateways[facility] }),
          proxies: {
            relay: { image, processes: 1 },
            haproxy: { image },
            nginx: { image, module: MODULE },
            stunnel: { image },
          },
          runtimes: {
            docker: { host },
            dockersock: { socket: host.slice('unix://'.length) },
            janus: { url: emulator.url, ca, auth: { user: 'admin', passwordFile }, nodes },
          },
        };
      },
    });
    return new Site(engine, emulator, directory, facilities);
  }

  /** Sends frames from the example's producer to its consumer through a stream that is made, used and released. */
  async carry(...flags: readonly string[]): Promise<{ readonly sides: string; readonly encryption: string }> {
    const producer = example('producer', '--listen', `${this.facilities.host}:0`, '--count', `${FRAMES}`, '--json');
    try {
      const { listening } = JSON.parse(await producer.line) as { listening: string[] };
      const { uid, connect, from, to, encryption } = await this.up('--producer', listening.join(), ...flags);
      await consume(connect);
      await json(this.facilities, 0, 'stream', 'down', uid);
      const sides = [from, to].map((side) => `${side?.proxy} ${side?.runtime}`);
      return { sides: sides.join(', '), encryption };
    } finally {
      producer.child.kill('SIGTERM');
      await producer.result;
    }
  }

  up(...flags: readonly string[]): Promise<Up> {
    return json<Up>(this.facilities, 0, 'stream', 'up', '--from', 'aps', '--to', 'alcf', '--wait', '3m', ...flags);
  }

  /** Containers of streams, of whichever runtime. */
  async containers(): Promise<readonly string[]> {
    const docker = new Docker({ socketPath: this.engine.host.slice('unix://'.length), host: undefined });
    const managed = await docker.listContainers({ all: true, filters: { label: ['org.scistream.managed=true'] } });
    return [...managed.map(({ Names }) => Names.join()), ...(await this.emulator.backend.containers())];
  }

  /** That of all streams nothing is left: processes, ports, files, containers, sessions and profiles. */
  async expectNothingLeft(): Promise<void> {
    const { dir, aps, alcf } = this.facilities;
    await eventually(async () => {
      for (const [name, { address }] of Object.entries({ aps, alcf })) {
        const { processes, files, listening } = await leftovers(join(dir, name), PORTS);
        const own = listening.filter((text) => text.startsWith(`${address.split(':')[0]}:`));
        assert.equal({ name, processes, files, own }, { name, processes: [], files: [], own: [] });
      }
      assert.equal(await this.containers(), []);
      assert.equal([...this.emulator.controller.sessions.keys()], [], 'sessions');
      assert.equal([...this.emulator.controller.profiles.keys()], ['default'], 'profiles');
    }, 60_000);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.facilities.stop();
    await this.emulator[Symbol.asyncDispose]();
    await this.engine[Symbol.asyncDispose]();
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** What `stream up --json` prints, as far as it is used here. */
export interface Up {
  readonly uid: string;
  readonly connect: readonly string[];
  readonly encryption: string;
  readonly from?: { readonly proxy: string; readonly runtime: string };
  readonly to?: { readonly proxy: string; readonly runtime: string };
}

/** The consumer has to receive everything from all addresses, unharmed. */
async function consume(connect: readonly string[]): Promise<void> {
  const { exitCode, stdout, stderr } = await example('consumer', '--connect', connect.join(), '--json').result;
  if (exitCode !== 0) throw new Error(`the consumer ended with ${exitCode}: ${stdout}${stderr}`);
  const { frames, sha256Match } = JSON.parse(stdout) as { frames: number; sha256Match: boolean };
  assert.equal({ frames, sha256Match }, { frames: FRAMES * connect.length, sha256Match: true });
}

function example(name: 'producer' | 'consumer', ...args: readonly string[]) {
  const child = spawn(process.execPath, [join(EXAMPLE, `${name}.js`), ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const line = name === 'producer' ? lines.next().then(({ value }) => String(value)) : Promise.resolve('');
  return { child, line, result: resultOf(child) };
}
