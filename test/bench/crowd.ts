import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { connectPeer, type Peer } from '../support/clients.js';
import { freeRange } from '../support/ports.js';
import { newDirectory, type Bench, type Part } from './bench.js';
import type { CrowdListening, CrowdStart } from './crowd-server.js';
import { number, range } from './format.js';
import { Program, residentBytes } from './process.js';
import { ratios, spread } from './statistics.js';

const PROGRAM = fileURLToPath(new URL('crowd-server.js', import.meta.url));
/** The flags with which the daemons run (cli/src/small-heap.ts). */
const SMALL_HEAP = ['--optimize-for-size', '--semi-space-growth-factor=1'];
const STREAMS = 1_000;
const QUICK_STREAMS = 100;
const TIMES = 60;
const QUICK_TIMES = 10;
const WARM_UPS = 10;
const AT_ONCE = 10;
const MEMORY_GOAL_MB = 100;
const RATIO_GOAL = 1.2;

/** A control server and a connection to it. */
class Crowd implements AsyncDisposable {
  private constructor(
    private readonly program: Program,
    private readonly peer: Peer,
  ) {}

  static async start(bench: Bench, ports: number): Promise<Crowd> {
    const state = await newDirectory(bench, 'crowd');
    const argument: CrowdStart = { state, ports: await freeRange(ports) };
    const program = new Program([process.execPath, ...SMALL_HEAP, PROGRAM, JSON.stringify(argument)], {
      name: 'control server',
    });
    try {
      const { url } = JSON.parse(await program.line()) as CrowdListening;
      const options = { url, certificate: join(state, 'tls', 'server.crt'), authorization: 'INVALID_TOKEN' };
      return new Crowd(program, await connectPeer(options));
    } catch (error) {
      await program[Symbol.asyncDispose]();
      throw error;
    }
  }

  get residentBytes(): number {
    return residentBytes(this.program.pid);
  }

  /** REQ, HELLO and UPDATE. @returns ms */
  async setUp(uid: string = randomUUID()): Promise<number> {
    const { control } = this.peer;
    const begun = performance.now();
    await Promise.all([control.req({ uid, role: 'PROD', numConn: 1 }), control.hello({ uid })]);
    await control.update({ uid, remoteListeners: ['127.0.0.1:9'] });
    return performance.now() - begun;
  }

  async setUpAndRelease(): Promise<number> {
    const uid = randomUUID();
    const ms = await this.setUp(uid);
    await this.peer.control.release({ uid });
    return ms;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.peer.cut();
    await this.program[Symbol.asyncDispose]();
  }
}

/** The cost of a thousand streams on a control server with its gateway: memory, and the time to set up one more. */
export async function crowdPart(bench: Bench): Promise<Part> {
  const streams = bench.quick ? QUICK_STREAMS : STREAMS;
  await using full = await Crowd.start(bench, streams + AT_ONCE);
  await using empty = await Crowd.start(bench, AT_ONCE);
  for (let i = 0; i < WARM_UPS; i += 1) for (const one of [full, empty]) await one.setUpAndRelease();
  const before = full.residentBytes;
  bench.say(`crowd: ${streams} streams`);
  for (let made = 0; made < streams; made += AT_ONCE) {
    bench.signal.throwIfAborted();
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, streams - made) }, () => full.setUp()));
  }
  bench.say('crowd: set-ups on both servers alternately');
  const times = { full: [] as number[], empty: [] as number[] };
  for (let i = 0; i < (bench.quick ? QUICK_TIMES : TIMES); i += 1) {
    for (const kind of i % 2 === 0 ? (['full', 'empty'] as const) : (['empty', 'full'] as const)) {
      times[kind].push(await (kind === 'full' ? full : empty).setUpAndRelease());
    }
  }
  const megabytes = full.residentBytes / 1e6;
  const ratio = ratios(times.full, times.empty);
  const show = (value: number): string => number(value, 1);
  return {
    name: 'Crowd',
    method:
      `Two \`s2cs\` with embedded gateways whose proxies are processes that only sleep: one with ${streams} streams that have ` +
      `targets, one without streams. REQ, HELLO and UPDATE of one more on each alternately, ${times.full.length} times: ` +
      'median [min–max].',
    tables: [
      {
        title: 'Memory of the server and time of a set-up',
        columns: ['streams', 'RSS MB before', 'RSS MB with them', 'ms without them', 'ms with them', 'ratio'],
        rows: [
          [
            `${streams}`,
            show(before / 1e6),
            show(megabytes),
            range(spread(times.empty), show),
            range(spread(times.full), show),
            range(ratio, (value) => number(value, 2)),
          ],
        ],
      },
    ],
    goals: [
      {
        what: `RSS of s2cs with ${streams} streams`,
        bound: 'at most',
        wanted: MEMORY_GOAL_MB,
        got: megabytes,
        unit: 'MB',
      },
      {
        what: `set-up beside ${streams} streams, against none`,
        bound: 'at most',
        wanted: RATIO_GOAL,
        got: ratio.median,
        spread: ratio,
        unit: '',
      },
    ],
    notMeasured: [],
    broken: [],
    data: { streams, before, megabytes, times, ratio },
  };
}
