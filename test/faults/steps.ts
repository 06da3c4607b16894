/** `kill -9` of a daemon at every write to its database: before and after each step of a set-up, an update, a release. */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ConnectError } from '@connectrpc/connect';
import * as assert from 'uvu/assert';
import { eventually, exchange, temporaryDirectory } from '@scistream/core/testing';
import type { Peer } from '../support/clients.js';
import type { Leftovers } from '../support/leftovers.js';
import { toAddress } from '../support/server.js';
import type { Fault } from './fault.js';
import { compiled, PATIENCE_MS, Site } from './site.js';
import { megabytes } from './traffic.js';

/** More writes than any operation has. */
const MOST = 20;
const MOMENTS = ['before', 'after'] as const;

/** The operation during which the daemon is killed. */
interface Operation {
  /** Prepares the operation. @returns uid of the stream */
  readonly prepare: (site: Site, peer: Peer) => Promise<string>;
  readonly act: (site: Site, peer: Peer, uid: string) => Promise<unknown>;
  /** Checks after the restart that the stored state is in force and the operation can be completed. */
  readonly check: (site: Site, peer: Peer, uid: string) => Promise<void>;
  /** The writes at which the short selection kills, by daemon. */
  readonly short: { readonly server: number; readonly gateway: number };
}

const target = ({ a, b }: Site, name: 'a' | 'b'): string => `127.0.0.1:${{ a, b }[name].address.port}`;

async function victim(site: Site, peer: Peer): Promise<string> {
  return (await site.setUp(peer, { target: target(site, 'a') })).uid;
}

/** Repeats REQ and HELLO unless the stream is gone, then uses it. Both are rejected if they are not needed. */
async function completed(site: Site, { control, streams }: Peer, uid: string): Promise<void> {
  const state = await streams.get({ uid }).then(
    (found) => found.state,
    () => 'released',
  );
  if (state === 'failed' || state === 'released') return;
  await Promise.allSettled([control.req({ uid, role: 'PROD', numConn: 1, proxy: 'relay' }), control.hello({ uid })]);
  await control.update({ uid, remoteListeners: [target(site, 'b')] });
  await answers({ control, streams }, uid, 'b');
}

/** Expects new connections to reach the stored target. */
async function answers({ streams }: Pick<Peer, 'control' | 'streams'>, uid: string, name: string): Promise<void> {
  const { listeners } = await streams.get({ uid });
  const found = await exchange(toAddress(listeners[0] ?? ''), 'x');
  assert.is(found, `${name}x`, `new connections reach ${found[0]}, the record says ${name}`);
}

const OPERATIONS: Readonly<Record<string, Operation>> = {
  'a set-up': {
    prepare: () => Promise.resolve(randomUUID()),
    act: (_, { control }, uid) =>
      Promise.all([control.req({ uid, role: 'PROD', numConn: 1, proxy: 'relay' }), control.hello({ uid })]),
    check: completed,
    short: { server: 3, gateway: 1 },
  },
  'an update': {
    prepare: victim,
    act: (site, { control }, uid) => control.update({ uid, remoteListeners: [target(site, 'b')] }),
    async check(site, peer, uid) {
      const { targets } = await peer.streams.get({ uid });
      await answers(peer, uid, targets[0] === target(site, 'b') ? 'b' : 'a');
      await completed(site, peer, uid);
    },
    short: { server: 1, gateway: 0 },
  },
  'a release': {
    prepare: victim,
    act: (_, { control }, uid) => control.release({ uid }),
    check: () => Promise.resolve(),
    short: { server: 1, gateway: 0 },
  },
};

/** A daemon that dies at a given write. */
async function mortal() {
  const directory = await temporaryDirectory();
  const file = join(directory.path, 'step');
  const preload = pathToFileURL(compiled('die-at.js')).href;
  return {
    prefix: ['env', `SCISTREAM_TEST_STEP=${file}`, `NODE_OPTIONS=--import=${preload}`],
    arm: (left: number, when: string) => writeFile(file, `${left} ${when}`),
    disarm: () => rm(file, { force: true }),
    [Symbol.asyncDispose]: () => directory.remove(),
  };
}

/** Kills once. @returns Whether the daemon died: an operation has a limited number of writes. */
async function once(
  site: Site,
  { act, prepare, check }: Operation,
  who: 'server' | 'gateway',
  steady: Leftovers,
  death: { arm: () => Promise<void>; disarm: () => Promise<void> },
): Promise<boolean> {
  const daemon = who === 'gateway' && site.gateway ? site.gateway : site.server;
  const before = await site.connect();
  await site.gatewayUp(before);
  const uid = await prepare(site, before);
  await death.arm();
  const outcome = await act(site, before, uid).then(
    () => undefined,
    (error: unknown) => error,
  );
  // Only a death may fail the operation. A connection ends a moment before its process does.
  if (outcome instanceof ConnectError)
    await eventually(() => assert.not(isAlive(daemon.pid), outcome.message), PATIENCE_MS);
  else if (outcome !== undefined) throw new Error('no answer of a daemon', { cause: outcome });
  const died = !isAlive(daemon.pid);
  await death.disarm();
  before.cut();
  if (died) {
    await daemon.kill();
    await daemon.again();
  }
  const peer = await site.connect();
  await eventually(() => check(site, peer, uid), PATIENCE_MS);
  await eventually(async () => {
    const known = await peer.streams.get({ uid }).catch(() => undefined);
    if (known) await peer.control.release({ uid });
  }, PATIENCE_MS);
  await site.settles(steady);
  peer.cut();
  return died;
}

/** A zombie is dead, even though its parent has not reaped it. */
function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

function stepFault(name: string, operation: Operation, who: 'server' | 'gateway'): Fault {
  return {
    fault: `kill -9 of ${who === 'server' ? 'S2CS with its gateway' : 'S2DS'} before and after each write of ${name}`,
    promised:
      'the step is complete, undone or can be repeated; the stored state is in force; other streams lose nothing; nothing left',
    short: who === 'server',
    needs: [],
    async run({ full, say }) {
      await using death = await mortal();
      const separate = who === 'gateway';
      const prefixes = separate ? { gatewayPrefix: death.prefix } : { prefix: death.prefix };
      await using site = await Site.start({ separate, ...prefixes });
      const peer = await site.connect();
      const steady = await site.flowing(peer);
      const expected = await site.leftovers();
      let deaths = 0;
      const die = async (step: number, when: string): Promise<boolean> => {
        say(`${name}: ${when} write ${step + 1} of ${who}`);
        const died = await once(site, operation, who, expected, { ...death, arm: () => death.arm(step, when) });
        await steady.flow.moves();
        if (died) deaths += 1;
        return died;
      };
      if (full) {
        for (const when of MOMENTS) for (let step = 0; step < MOST && (await die(step, when)); step += 1);
      } else {
        assert.ok(await die(operation.short[who], 'after'), 'the daemon did not die');
      }
      assert.ok(deaths > 0);
      const bytes = await steady.flow.finish();
      return `${deaths} deaths; 0 of ${megabytes(bytes)} of another stream lost; nothing left`;
    },
  };
}

/** The faults of this group. */
export const steps: readonly Fault[] = Object.entries(OPERATIONS).flatMap(([name, operation]) =>
  (['server', 'gateway'] as const).map((who) => stepFault(name, operation, who)),
);
