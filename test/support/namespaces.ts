import { execFile } from 'node:child_process';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const execute = promisify(execFile);
const ip = (...args: readonly string[]) => execute('ip', args);

/** One end of a veth pair. */
export interface End<Role extends string> {
  /** Its namespace; absent: the namespace of this process. */
  readonly at?: Role;
  readonly device: string;
  /** With prefix length: `10.0.1.5/24`. */
  readonly address: string;
}

/** Network namespaces with names that are unique to this process. Needs root. Removing a namespace removes its devices. */
export class Namespaces<Role extends string> implements AsyncDisposable {
  readonly #made: Role[] = [];

  private constructor() {}

  /** @param roles Names of the namespaces in the test. */
  static async make<Role extends string>(...roles: readonly Role[]): Promise<Namespaces<Role>> {
    const made = new Namespaces<Role>();
    try {
      for (const role of roles) {
        await ip('netns', 'add', made.name(role));
        made.#made.push(role);
        await made.ip(role, 'link', 'set', 'lo', 'up');
      }
      return made;
    } catch (error) {
      await made[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Name of a namespace in the system. */
  name(role: Role): string {
    return `scistream-${role}-${process.pid}`;
  }

  /** Command that runs another command in a namespace. It replaces itself, so pid and signals are those of the other one. */
  prefix(role: Role): readonly string[] {
    return ['ip', 'netns', 'exec', this.name(role)];
  }

  /** Runs `ip` in a namespace. */
  async ip(role: Role, ...args: readonly string[]): Promise<void> {
    await ip('-n', this.name(role), ...args);
  }

  /** Runs a command in a namespace. */
  async run(role: Role, ...command: readonly string[]): Promise<void> {
    await ip('netns', 'exec', this.name(role), ...command);
  }

  /** Connects two namespaces with a veth pair and brings it up. */
  async link(left: End<Role>, right: End<Role>): Promise<void> {
    const where = ({ at }: End<Role>): readonly string[] => (at === undefined ? [] : ['netns', this.name(at)]);
    const peer = ['peer', 'name', right.device, ...where(right)];
    await ip('link', 'add', left.device, ...where(left), 'type', 'veth', ...peer);
    for (const { at, device, address } of [left, right]) {
      const there = at === undefined ? [] : ['-n', this.name(at)];
      await ip(...there, 'address', 'add', address, 'dev', device);
      await ip(...there, 'link', 'set', device, 'up');
    }
  }

  /** Replaces a file of /etc for programs that start in the namespace from now on: ip-netns(8). */
  async etc(role: Role, name: string, text: string): Promise<void> {
    await mkdir(etc(this.name(role)), { recursive: true });
    await writeFile(join(etc(this.name(role)), name), text);
  }

  /** Removes the namespaces, even if only some of them were created. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const role of this.#made.splice(0)) {
      const name = this.name(role);
      await ip('netns', 'del', name);
      await rm(etc(name), { recursive: true, force: true });
    }
  }
}

const etc = (name: string): string => `/etc/netns/${name}`;

/**
 * A network namespace behind a veth pair that can be unplugged. The other end is in the namespace of this process.
 * @param number 0 or 1, to distinguish those of one process. They use the networks for benchmark tests (RFC 2544).
 */
export async function island(number = 0) {
  const role = `island${number}`;
  const namespaces = await Namespaces.make(role);
  const network = `198.${18 + number}.${(process.pid >> 6) & 255}`;
  const base = (process.pid & 63) * 4;
  const [near, far] = [`${network}.${base + 1}`, `${network}.${base + 2}`];
  try {
    const here = { device: `ssi${number}-${process.pid}`, address: `${near}/30` };
    await namespaces.link(here, { at: role, device: 'wan', address: `${far}/30` });
  } catch (error) {
    await namespaces[Symbol.asyncDispose]();
    throw error;
  }
  return {
    near,
    far,
    prefix: namespaces.prefix(role),
    unplug: () => namespaces.ip(role, 'link', 'set', 'wan', 'down'),
    plug: () => namespaces.ip(role, 'link', 'set', 'wan', 'up'),
    // Removes its end of the pair, and with it the near end.
    [Symbol.asyncDispose]: () => namespaces[Symbol.asyncDispose](),
  };
}
