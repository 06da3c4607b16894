/** A proxy whose streams are rules of the kernel. They need no process, and do not bind the ports of their listeners. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { z } from 'zod';
import {
  proxyProvider,
  type S2DS,
  type S2DSException,
  type S2DSRequest,
  type S2DSStatus,
  type Target,
} from '@scistream/core';
import type { AnyProvider } from '@scistream/core/internal';

const run = promisify(execFile);
const PREFIX = 'scistream_';
const table = (uid: string): string => PREFIX + uid.replaceAll('-', '_');

/** Forwards each stream with one table of nftables, for connections of this machine. */
class NftProxy implements S2DS {
  readonly supports = { tcp: true, udp: false, tls: false, rateLimit: false, liveRetarget: true, statistics: false };
  readonly #requests = new Map<string, S2DSRequest>();

  async start(request: S2DSRequest): Promise<void> {
    this.#requests.set(request.uid, request);
    const name = table(request.uid);
    await nft(`add table ip ${name}`, `add chain ip ${name} out { type nat hook output priority -100; }`);
  }

  async updateTargets(uid: string, [target]: readonly Target[]): Promise<void> {
    const name = table(uid);
    const rules = (this.#requests.get(uid)?.listeners ?? []).map(
      ({ address: { host, port } }) =>
        `add rule ip ${name} out ip daddr ${host} tcp dport ${port} dnat to ${target?.host}:${target?.port}`,
    );
    await nft(`flush chain ip ${name} out`, ...rules);
  }

  async adopt(request: S2DSRequest): Promise<boolean> {
    this.#requests.set(request.uid, request);
    return (await tables()).includes(table(request.uid));
  }

  async release(uid: string): Promise<void> {
    if ((await tables()).includes(table(uid))) await nft(`delete table ip ${table(uid)}`);
  }

  async sweep(known: ReadonlySet<string>): Promise<void> {
    const kept = [...known].map(table);
    const strays = (await tables()).filter((name) => !kept.includes(name));
    await nft(...strays.map((name) => `delete table ip ${name}`));
  }

  status(): Promise<S2DSStatus> {
    return Promise.resolve({ state: 'running', restarts: 0, listeners: [] });
  }

  ended(): Promise<S2DSException | undefined> {
    return new Promise(() => undefined);
  }
}

/** Applies all commands, or none. */
async function nft(...commands: readonly string[]): Promise<void> {
  if (commands.length > 0) await run('nft', [commands.join('\n')]);
}

/** The tables of streams. */
async function tables(): Promise<readonly string[]> {
  const { stdout } = await run('nft', ['list', 'tables', 'ip']);
  return [...stdout.matchAll(/^table ip (scistream_\w+)$/gm)].map(([, name = '']) => name);
}

export const nftProvider: AnyProvider = proxyProvider({
  id: 'nft',
  options: z.strictObject({}),
  create: () => new NftProxy(),
});
