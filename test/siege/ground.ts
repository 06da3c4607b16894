import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryDirectory } from '@scistream/core/testing';
import { Home } from '../../cli/test/support/cli.js';
import { connectPeer, type Peer } from '../support/clients.js';
import { Daemon } from '../support/daemon.js';

/** Alice is the user whose streams must not suffer. Mallory has the same rights. */
export const USERS = ['alice', 'mallory'] as const;
export type User = (typeof USERS)[number];

export const FACILITIES = ['aps', 'alcf'] as const;
export type Facility = (typeof FACILITIES)[number];

/** Ports of each gateway. */
const PORTS = 120;
/** Where producers listen. */
export const PRODUCERS = '127.0.3.1';

const NETS: Readonly<Record<Facility, string>> = { aps: '127.0.1', alcf: '127.0.2' };

export const tokenOf = (user: User): string => `${user}-4Zk9-secret`;

const POLICY = {
  rules: [
    {
      name: 'users',
      who: { identities: USERS.map((user) => `token:${user}`) },
      encryption: ['tls', 'none'],
      targets: { networks: [`${PRODUCERS}/32`, `${NETS.aps}.1/32`], ports: ['1024-65535'] },
    },
  ],
};

/** Two facilities as operators run them, with a policy and an audit log, and the home of a user. */
export class Ground implements AsyncDisposable {
  readonly #peers: Peer[] = [];

  private constructor(
    readonly daemons: Readonly<Record<Facility, Daemon>>,
    private readonly home: Home,
    private readonly cleanUps: readonly (() => Promise<void>)[],
  ) {}

  static async start(): Promise<Ground> {
    const directory = await temporaryDirectory();
    const policy = join(directory.path, 'policy.json');
    await writeFile(policy, JSON.stringify(POLICY), { mode: 0o600 });
    const tokens = USERS.map((subject) => ({
      subject,
      sha256: createHash('sha256').update(tokenOf(subject)).digest('hex'),
    }));
    const open = (facility: Facility): Promise<Daemon> =>
      Daemon.start({
        facility,
        ports: PORTS,
        wan: `${NETS[facility]}.1`,
        lan: `${NETS[facility]}.2`,
        config: {
          auth: [{ use: 'token', tokens }],
          policy,
          audit: { file: join(directory.path, `${facility}.jsonl`) },
        },
      });
    const aps = await open('aps');
    const alcf = await open('alcf').catch(async (error: unknown) => {
      await aps[Symbol.asyncDispose]();
      throw error;
    });
    const daemons = { aps, alcf };
    const home = await Home.create();
    const trusted = FACILITIES.map((facility) => {
      const { address, fingerprint } = daemons[facility];
      return [facility, { s2cs: address, fingerprint, token: { env: 'SIEGE_TOKEN' } }] as const;
    });
    await writeFile(join(home.path, 's2uc.conf'), JSON.stringify({ facilities: Object.fromEntries(trusted) }));
    return new Ground(daemons, home, [() => home.remove(), () => directory.remove()]);
  }

  /** A client of a user at a facility with a connection of its own. */
  async peer(facility: Facility, user: User): Promise<Peer> {
    const { peerOptions } = this.daemons[facility];
    const peer = await connectPeer({ ...peerOptions, authorization: tokenOf(user) });
    this.#peers.push(peer);
    return peer;
  }

  /** Runs a command of Alice. @returns its JSON output @throws if it fails */
  async scistream(...args: readonly string[]): Promise<unknown> {
    const env = { SIEGE_TOKEN: tokenOf('alice') };
    const { exitCode, stdout, stderr } = await this.home.run([...args, '--config', 's2uc.conf', '--json'], env);
    if (exitCode !== 0) throw new Error(`${args.join(' ')} exited with ${exitCode}: ${stdout}${stderr}`);
    return stdout === '' ? undefined : (JSON.parse(stdout) as unknown);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const peer of this.#peers) peer.cut();
    for (const facility of FACILITIES) await this.daemons[facility][Symbol.asyncDispose]();
    for (const cleanUp of this.cleanUps) await cleanUp();
  }
}
