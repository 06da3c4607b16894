import { spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Home, nextLine, REPOSITORY, resultOf, type Result } from '../../cli/test/support/cli.js';
import { Namespaces } from './namespaces.js';

const ROLES = ['wan', 'aps', 'alcf', 'user', 'producer', 'consumer', 'stranger'] as const;
type Role = (typeof ROLES)[number];
const FACILITIES = ['aps', 'alcf'] as const;
type Facility = (typeof FACILITIES)[number];

/** The addresses of examples/two-hosts. The stranger's network reaches the same gateway. */
export const ADDRESSES = {
  aps: { wan: '203.0.113.10', lan: '10.0.1.254' },
  alcf: { wan: '198.51.100.7', lan: '10.3.0.7' },
  user: '192.0.2.10',
  producer: '10.0.1.5',
  consumer: '10.3.0.20',
  stranger: '10.4.0.20',
} as const;

const USERS = ['alice', 'bob'] as const;
const tokenOf = (user: string, facility: Facility): string => `token-of-${user}-at-${facility}`;

/** The rules require encryption of alice and forbid it to bob. Everything else is the same for both. */
const rules = (sides: object) => ({
  rules: USERS.map((user) => ({
    name: `${user}-streams`,
    who: { identities: [`token:${user}`] },
    encryption: user === 'alice' ? ['tls'] : ['none'],
    ...sides,
  })),
});

const POLICIES: Readonly<Record<Facility, object>> = {
  aps: rules({
    roles: ['PROD'],
    sources: [ADDRESSES.alcf.wan],
    targets: { networks: ['10.0.1.0/24'], names: ['*.beamline.example'], ports: ['5001-5002'] },
  }),
  alcf: rules({ roles: ['CONS'], sources: ['10.3.0.0/24'], targets: { networks: [ADDRESSES.aps.wan] } }),
};

/** The names that aps can resolve. */
const HOSTS = `127.0.0.1 localhost
${ADDRESSES.producer} detector.beamline.example archive.example
10.0.2.9 mirror.beamline.example
`;

/** Both gateways and the user are connected to `wan`, which routes. Each gateway has a LAN behind it and does not route. */
async function cable(namespaces: Namespaces<Role>): Promise<void> {
  const end = (at: Role, device: string, address: string) => ({ at, device, address: `${address}/24` });
  for (const [role, address] of [
    ['aps', ADDRESSES.aps.wan],
    ['alcf', ADDRESSES.alcf.wan],
    ['user', ADDRESSES.user],
  ] as const) {
    const router = address.replace(/\d+$/, '1');
    await namespaces.link(end('wan', role, router), end(role, 'wan', address));
    await namespaces.ip(role, 'route', 'add', 'default', 'via', router);
  }
  await namespaces.run('wan', 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward');
  await namespaces.link(end('producer', 'lan', ADDRESSES.producer), end('aps', 'lan', ADDRESSES.aps.lan));
  await namespaces.link(end('consumer', 'lan', ADDRESSES.consumer), end('alcf', 'lan', ADDRESSES.alcf.lan));
  await namespaces.link(end('stranger', 'lan', ADDRESSES.stranger), end('alcf', 'lan2', '10.4.0.7'));
  await namespaces.ip('stranger', 'route', 'add', 'default', 'via', '10.4.0.7');
  await namespaces.etc('aps', 'hosts', HOSTS);
  // Other names do not exist: there is no name server.
  await namespaces.etc('aps', 'resolv.conf', 'nameserver 127.0.0.1\n');
}

/** A program that a test started, and its output when it has ended. */
interface Program {
  readonly child: ChildProcess;
  readonly result: Promise<Result>;
}

/** The two facilities of examples/two-hosts as operators and users set them up. Needs root. */
export class TwoSites implements AsyncDisposable {
  readonly #daemons: Program[] = [];

  private constructor(
    readonly namespaces: Namespaces<Role>,
    private readonly home: Home,
  ) {}

  static async open(): Promise<TwoSites> {
    const sites = new TwoSites(await Namespaces.make(...ROLES), await Home.create());
    try {
      await cable(sites.namespaces);
      for (const facility of FACILITIES) await sites.#operate(facility);
      await sites.#configureUsers();
      return sites;
    } catch (error) {
      await sites[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Makes certificates, completes the example's configuration as the operator must, and starts the daemon. */
  async #operate(facility: Facility): Promise<void> {
    const home = this.home.in(this.namespaces.prefix(facility));
    await home.json('cert', 'init', ADDRESSES[facility].wan, '--dir', facility);
    const tokens = USERS.map((subject) => {
      const sha256 = createHash('sha256').update(tokenOf(subject, facility)).digest('hex');
      return `- { subject: ${subject}, sha256: ${sha256} }`;
    });
    const more = {
      tls: { cert: 'server.crt', key: 'server.key' },
      policy: 'policy.yaml',
      audit: { file: 'audit.jsonl' },
    };
    const keys = Object.entries(more).map(([key, value]) => `${key}: ${JSON.stringify(value)}\n`);
    const example = (await this.#example(`s2cs-${facility}.conf`)).replace(/^(policy|audit):.*\n/gm, '');
    const config = example.replace(/- \{ subject: alice.*/, tokens.join('\n      ')) + keys.join('');
    await this.#write(`${facility}/s2cs.conf`, config);
    await this.#write(`${facility}/policy.yaml`, JSON.stringify(POLICIES[facility]));
    const state = join(facility, 'state');
    const flags = ['--config', `${facility}/s2cs.conf`, '--state', state, '--json', '--quiet', '--release-on-exit'];
    const child = home.start('s2cs.js', flags);
    const daemon = { child, result: resultOf(child) };
    this.#daemons.push(daemon);
    // A daemon that listens prints one line; an error has several.
    const first = await Promise.race([nextLine(child), daemon.result]);
    if (typeof first === 'string' && /listen/.test(first)) return;
    const { stdout, stderr } = await daemon.result;
    throw new Error(`s2cs of ${facility} ended: ${stdout}${stderr}`);
  }

  async #configureUsers(): Promise<void> {
    let config = await this.#example('s2uc.conf');
    // In the order of the file.
    for (const facility of FACILITIES) config = config.replace(/fingerprint: .*/, `ca: ${facility}/ca.crt`);
    await this.#write('s2uc.conf', config);
  }

  #example(name: string): Promise<string> {
    return readFile(join(REPOSITORY, 'examples/two-hosts', name), 'utf8');
  }

  async #write(name: string, text: string): Promise<void> {
    await writeFile(join(this.home.path, name), text, { mode: 0o600 });
  }

  /** Runs a command of a user, with `--json`. */
  async #run(user: string, args: readonly string[]): Promise<Result> {
    const env = { APS_TOKEN: tokenOf(user, 'aps'), ALCF_TOKEN: tokenOf(user, 'alcf') };
    const home = this.home.in(this.namespaces.prefix('user'));
    return await home.run([...args, '--config', 's2uc.conf', '--json'], env);
  }

  /** Runs a command of a user, which must succeed. @returns Its output. */
  async as(user: string, ...args: readonly string[]): Promise<unknown> {
    const { exitCode, stdout, stderr } = await this.#run(user, args);
    if (exitCode !== 0) throw new Error(`${args.join(' ')} exited with ${exitCode}: ${stdout}${stderr}`);
    return JSON.parse(stdout);
  }

  /** Runs a command of a user, which must fail. */
  async refused(user: string, ...args: readonly string[]): Promise<{ exitCode: number | null; code: string }> {
    const { exitCode, stdout } = await this.#run(user, args);
    const { error } = JSON.parse(stdout) as { error?: { code: string } };
    return { exitCode, code: error?.code ?? 'none' };
  }

  /** Starts the example's producer in the LAN of aps. */
  async producer(listen: readonly string[], ...flags: readonly string[]) {
    const { child, result } = this.#program('producer', 'producer', '--listen', listen.join(), ...flags);
    await nextLine(child);
    const stop = async (): Promise<{ served: number; lost: number }> => {
      child.kill('SIGTERM');
      const [, summary = ''] = (await result).stdout.split('\n');
      return JSON.parse(summary) as { served: number; lost: number };
    };
    return { stop, [Symbol.asyncDispose]: () => stop().then(() => undefined) };
  }

  /** Runs the example's consumer in a LAN of alcf to its end. */
  async consumer(role: 'consumer' | 'stranger', connect: readonly string[]) {
    const { exitCode, stdout } = await this.#program(role, 'consumer', '--connect', connect.join()).result;
    return { exitCode, received: JSON.parse(stdout) as { bytes: number; frames: number; sha256Match: boolean } };
  }

  #program(role: Role, name: 'producer' | 'consumer', ...args: readonly string[]): Program {
    const [program = '', ...prefix] = this.namespaces.prefix(role);
    const script = join(REPOSITORY, 'examples/producer-consumer/dist', `${name}.js`);
    const child = spawn(program, [...prefix, process.execPath, script, ...args, '--json'], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    return { child, result: resultOf(child) };
  }

  /** The audit log of a facility, without values that differ between runs. */
  async decisions(facility: Facility): Promise<string[]> {
    const lines = (await readFile(join(this.home.path, facility, 'audit.jsonl'), 'utf8')).trim().split('\n');
    return (
      lines
        .map((line) => JSON.parse(line) as Record<string, unknown>)
        // The summary of repeated views is written later, possibly by an earlier test case.
        .filter(({ repeated }) => repeated === undefined)
        .map(({ who, action, decision, rule, code }) => [who, action, decision, rule, code].filter(Boolean).join(' '))
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { child } of this.#daemons) child.kill('SIGTERM');
    await Promise.all(this.#daemons.map(({ result }) => result));
    await this.home.remove();
    await this.namespaces[Symbol.asyncDispose]();
  }
}
