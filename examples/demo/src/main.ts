/**
 * Demonstrates SciStream on one machine with the programs of a user: two control servers (facilities `beamline` and
 * `cluster`) with one gateway each, a producer, a consumer, and the `scistream` command. While data flows, the stream
 * is retargeted to a second producer. The open connection continues; the next one reaches the second producer.
 */
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { leftovers } from './leftovers.js';
import { Program } from './programs.js';

interface Settings {
  readonly proxy: string;
  readonly encryption: string;
  readonly frames: number;
  readonly json: boolean;
}

/** The fields of the consumer's summary that are used. */
interface Received {
  readonly bytes: number;
  readonly frames: number;
  readonly lost: number;
  readonly sha256Match: boolean | null;
  readonly seconds: number;
}

interface StreamUp {
  readonly uid: string;
  readonly connect: readonly string[];
  readonly setupMs: number;
  readonly encryption: string;
  readonly from: { readonly proxy: string };
}

interface Reception {
  readonly flowing: Promise<void>;
  readonly received: Promise<Received>;
  readonly ended: () => boolean;
}

interface Summary {
  readonly bytes: number;
  readonly frames: number;
  readonly lost: number;
  readonly sha256Match: boolean;
  readonly gbps: number;
  readonly setupMs: number;
  readonly leftovers: number;
}

/**
 * Frames (1 MiB) per second of the first producer, slow enough that it is still sending when the stream is retargeted.
 */
const FIRST_RATE = 700;

const SIDES = ['beamline', 'cluster'] as const;

function readSettings(): Settings {
  const { values } = parseArgs({
    options: {
      proxy: { type: 'string', default: 'relay' },
      encryption: { type: 'string', default: 'tls' },
      frames: { type: 'string', default: '2500' },
      json: { type: 'boolean', default: false },
    },
  });
  return { ...values, frames: Number(values.frames) };
}

/** A free port for each control server. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  return ports;
}

/** A range of ports without listeners, below the ephemeral ports of the kernel. */
async function freeRange(): Promise<[number, number]> {
  for (;;) {
    const first = 20_000 + 20 * Math.floor(Math.random() * 600);
    const range: [number, number] = [first, first + 19];
    if ((await leftovers([], [range])).length === 0) return range;
  }
}

class Demo {
  readonly #programs: Program[] = [];
  readonly #env: NodeJS.ProcessEnv;
  readonly #states: string[];
  readonly #ranges: [number, number][] = [];

  constructor(
    private readonly settings: Settings,
    private readonly directory: string,
  ) {
    this.#states = SIDES.map((side) => join(directory, side));
    const own = (name: string): string => join(directory, 'user', name);
    this.#env = {
      ...process.env,
      SCISTREAM_DATA_DIR: own('data'),
      SCISTREAM_CONFIG_DIR: own('config'),
      SCISTREAM_CACHE_DIR: own('cache'),
      SCISTREAM_STATE_DIR: own('state'),
    };
  }

  async run(): Promise<Summary> {
    const config = await this.#startServers();
    const [first, second] = await Promise.all([this.#producer(1, FIRST_RATE), this.#producer(2, 0)]);
    const stream = await this.#command<StreamUp>(
      'up',
      '--config',
      config,
      '--name',
      'demo',
      '--from',
      SIDES[0],
      '--to',
      SIDES[1],
      '--producer',
      first,
      '--encryption',
      this.settings.encryption,
    );
    const how = `${stream.from.proxy}, ${stream.encryption === 'tls' ? 'encrypted' : 'not encrypted'}`;
    const seconds = (stream.setupMs / 1000).toFixed(2);
    this.#say(`stream ${stream.uid} is ready after ${seconds} s (${how}): ${stream.connect.join(' ')}`);

    const begun = performance.now();
    const inFlight = this.#consumer(stream);
    await inFlight.flowing;
    await this.#command('update', 'demo', '--config', config, '--producer', second);
    if (inFlight.ended()) throw new Error('The first producer finished before the retarget. Increase --frames.');
    this.#say('retargeted to the second producer while data flows from the first');
    const received = await Promise.all([inFlight.received, this.#consumer(stream).received]);
    const flowed = (performance.now() - begun) / 1000;

    await this.#command('down', 'demo', '--config', config);
    await this.stop();
    const left = await leftovers(this.#states, this.#ranges);
    for (const what of left) this.#say(`left over: ${what}`);
    return {
      ...summarize(received, this.settings.frames, flowed),
      setupMs: Math.round(stream.setupMs),
      leftovers: left.length,
    };
  }

  /** Stops all running programs, the youngest first. */
  async stop(): Promise<void> {
    for (const program of this.#programs.splice(0).reverse()) await program.stop();
  }

  async #startServers(): Promise<string> {
    const facilities: Record<string, object> = {};
    const ports = await freePorts(SIDES.length);
    for (const [i, side] of SIDES.entries()) {
      const range = await freeRange();
      this.#ranges.push(range);
      const config = {
        facility: side,
        listen: `127.0.0.1:${ports[i]}`,
        state: this.#states[i],
        encryption: this.settings.encryption === 'none' ? 'optional' : 'required',
        gateways: [
          {
            name: `${side}-gw`,
            wan: '127.0.0.1',
            lan: '127.0.0.1',
            ports: range.join('-'),
            proxy: this.settings.proxy,
          },
        ],
      };
      const file = join(this.directory, `${side}.json`);
      await writeFile(file, JSON.stringify(config), { mode: 0o600 });
      const server = this.#start('s2cs', ['--config', file, '--json', '--quiet', '--release-on-exit']);
      const { fingerprint } = await server.answer<{ fingerprint: string }>();
      facilities[side] = { s2cs: config.listen, fingerprint };
      this.#say(`control server of ${side} listens on ${config.listen}`);
    }
    const file = join(this.directory, 's2uc.json');
    await writeFile(file, JSON.stringify({ facilities }), { mode: 0o600 });
    return file;
  }

  async #producer(seed: number, rate: number): Promise<string> {
    const { frames } = this.settings;
    const args = [
      '--listen',
      '127.0.0.1:0',
      '--count',
      `${frames}`,
      '--seed',
      `${seed}`,
      '--rate',
      `${rate}`,
      '--json',
    ];
    const producer = this.#start('producer', args);
    return (await producer.answer<{ listening: string[] }>()).listening.join();
  }

  /** `flowing` settles after the first second of data, or when the consumer ends earlier. */
  #consumer({ connect }: StreamUp): Reception {
    let flows = (): void => undefined;
    const flowing = new Promise<void>((resolve) => (flows = resolve));
    let over = false;
    const args = ['--connect', connect.join(), '--count', `${this.settings.frames}`, '--progress', '--json'];
    const consumer = this.#start('consumer', args, (line) => {
      flows();
      this.#say(`consumer: ${line}`);
    });
    const received = consumer.result<Received>().finally(() => {
      over = true;
      flows();
    });
    return { flowing, received, ended: () => over };
  }

  async #command<T>(...words: string[]): Promise<T> {
    const program = this.#start('scistream', ['stream', ...words, '--json']);
    return await program.result<T>();
  }

  #start(name: Program['name'], args: readonly string[], onError?: (line: string) => void): Program {
    const program = new Program(name, args, { env: this.#env, ...(onError ? { onError } : {}) });
    this.#programs.push(program);
    return program;
  }

  #say(text: string): void {
    process.stderr.write(`${text}\n`);
  }
}

function summarize(
  received: readonly Received[],
  framesEach: number,
  seconds: number,
): Omit<Summary, 'setupMs' | 'leftovers'> {
  const sum = (pick: (one: Received) => number): number => received.reduce((total, one) => total + pick(one), 0);
  const bytes = sum(({ bytes }) => bytes);
  const frames = sum(({ frames }) => frames);
  return {
    bytes,
    frames,
    lost: framesEach * received.length - frames,
    sha256Match: received.every(({ sha256Match }) => sha256Match === true),
    gbps: Number(((bytes * 8) / seconds / 1e9).toFixed(2)),
  };
}

const settings = readSettings();
const directory = await mkdtemp(join(tmpdir(), 'scistream-demo-'));
const demo = new Demo(settings, directory);
try {
  const summary = await demo.run();
  const { bytes, frames, lost, sha256Match, gbps, setupMs } = summary;
  process.stdout.write(
    settings.json
      ? `${JSON.stringify(summary)}\n`
      : `${(bytes / 1e9).toFixed(2)} GB in ${frames} frames, ${lost} lost, SHA-256 ${sha256Match ? 'matches' : 'DOES NOT MATCH'}, ` +
          `${gbps} Gb/s, set up in ${setupMs} ms, ${summary.leftovers} left over\n`,
  );
  process.exitCode = lost === 0 && sha256Match && summary.leftovers === 0 ? 0 : 1;
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
} finally {
  await demo.stop();
  await rm(directory, { recursive: true, force: true });
}
