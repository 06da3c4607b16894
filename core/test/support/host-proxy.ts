/** A proxy without instances: what forwards is no part of a runtime, outlives the daemon, and only the proxy can end it. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import {
  poll,
  proxyProvider,
  S2DSException,
  type PluginContext,
  type S2DS,
  type S2DSRequest,
  type S2DSStatus,
  type Target,
} from '@scistream/core';
import type { AnyProvider } from '@scistream/core/internal';

const PROGRAM = fileURLToPath(new URL('./forwarder.js', import.meta.url));

/** A stream that is forwarded, and the process that does it. */
interface Rule {
  readonly uid: string;
  readonly pid: number;
}

/** Forwards each stream with a detached process, and keeps one file per stream in a directory of its own. */
export class HostProxy implements S2DS {
  readonly supports = { tcp: true, udp: false, tls: true, rateLimit: false, liveRetarget: true, statistics: false };

  constructor(
    private readonly directory: string,
    private readonly site: HostSite,
  ) {}

  async start({ uid, listeners }: S2DSRequest): Promise<void> {
    const addresses = listeners.map(({ address: { host, port } }) => `${host} ${port}`);
    for (const listener of listeners) {
      await listener.bind();
      await listener.close();
    }
    const child = spawn(process.execPath, [PROGRAM, join(this.directory, uid), ...addresses], {
      detached: true,
      stdio: 'ignore',
    });
    child.unref();
    const isReady = async (): Promise<true | undefined> =>
      (await readFile(join(this.directory, `${uid}.pid`), 'utf8')).endsWith('\n') || undefined;
    await poll(isReady, { timeoutMs: 30_000 }, () => new Error('the forwarder does not start'));
    await this.site.after('start', uid);
  }

  async updateTargets(uid: string, [target]: readonly Target[]): Promise<void> {
    await writeFile(join(this.directory, `${uid}.target`), `${target?.host} ${target?.port}`);
  }

  async adopt({ uid }: S2DSRequest): Promise<boolean> {
    return (await this.rules()).some((rule) => rule.uid === uid && isAlive(rule.pid));
  }

  async release(uid: string, request?: S2DSRequest): Promise<void> {
    this.site.released.push({ uid, ports: request?.listeners.map(({ address }) => address.port) });
    await this.site.after('release', uid);
    if (this.site.isStuck) throw new S2DSException('SCI_RUNTIME_FAILED', 'The rules are locked.');
    for (const rule of await this.rules()) if (rule.uid === uid) await this.#remove(rule);
  }

  async sweep(known: ReadonlySet<string>): Promise<void> {
    if (this.site.isStuck) throw new S2DSException('SCI_RUNTIME_FAILED', 'The rules are locked.');
    for (const rule of await this.rules()) if (!known.has(rule.uid)) await this.#remove(rule);
  }

  async status(uid: string): Promise<S2DSStatus> {
    if (await this.adopt({ uid } as S2DSRequest)) return { state: 'running', restarts: 0, listeners: [] };
    throw new S2DSException('SCI_STREAM_NOT_FOUND', `No rule for ${uid}.`);
  }

  async ended(): Promise<S2DSException | undefined> {
    return await new Promise(() => undefined);
  }

  /** What forwards now. */
  async rules(): Promise<readonly Rule[]> {
    const files = (await readdir(this.directory)).filter((file) => file.endsWith('.pid'));
    return await Promise.all(
      files.map(async (file) => ({
        uid: file.slice(0, -'.pid'.length),
        pid: Number(await readFile(join(this.directory, file), 'utf8')),
      })),
    );
  }

  async #remove({ uid, pid }: Rule): Promise<void> {
    if (isAlive(pid)) process.kill(pid, 'SIGKILL');
    const isGone = (): true | undefined => !isAlive(pid) || undefined;
    await poll(isGone, { timeoutMs: 30_000 }, () => new Error(`forwarder ${pid} does not end`));
    for (const end of ['target', 'pid']) await rm(join(this.directory, `${uid}.${end}`), { force: true });
  }
}

/** The directory of the rules, which is no part of the state of a gateway, and what the tests do to the proxy. */
export class HostSite {
  /** The calls of `release`, with the ports of the request. */
  readonly released: { readonly uid: string; readonly ports: readonly number[] | undefined }[] = [];
  /** Whether rules cannot be removed. */
  isStuck = false;
  /** Called in the middle of a method. */
  after: (method: 'start' | 'release', uid: string) => Promise<void> = () => Promise.resolve();

  constructor(readonly directory: string) {}

  readonly provider: AnyProvider = proxyProvider({
    id: 'host',
    options: z.strictObject({}),
    create: (_context: PluginContext) => new HostProxy(this.directory, this),
  });

  /** Uids of the streams that are forwarded now. */
  async forwarded(): Promise<readonly string[]> {
    const rules = await new HostProxy(this.directory, this).rules();
    return rules.flatMap(({ uid, pid }) => (isAlive(pid) ? uid : [])).toSorted();
  }

  /** Ends everything that still forwards. */
  async clean(): Promise<void> {
    this.isStuck = false;
    await new HostProxy(this.directory, this).sweep(new Set());
  }
}

/** Whether a process runs. A zombie, which its parent has not reaped yet, does not. */
function isAlive(pid: number): boolean {
  try {
    return !/\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}
