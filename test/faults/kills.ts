/** `kill -9` of daemons and proxies while data flows. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { eventually } from '@scistream/core/testing';
import { refused } from '../support/clients.js';
import { processesBelow } from '../support/leftovers.js';
import type { Fault } from './fault.js';
import { PATIENCE_MS, Site } from './site.js';
import { through } from './traffic.js';

/** Number of requests that begin immediately. */
const REQUESTS = 8;
/** By then all of them wait, unless the machine is slow. */
const MOMENT_MS = 100;

const PROXIES = ['relay', 'haproxy'] as const;
type Proxy = (typeof PROXIES)[number];

const needsOf = (proxy: Proxy): readonly string[] => (proxy === 'haproxy' ? ['haproxy'] : []);

const DAEMONS = {
  'S2CS with its gateway': { separate: false, victims: ['server'] },
  'S2CS with a separate S2DS': { separate: true, victims: ['server'] },
  'S2DS while S2CS runs': { separate: true, victims: ['gateway'] },
  'S2CS and S2DS': { separate: true, victims: ['server', 'gateway'] },
} as const;

/** The kills of the short selection. The others differ little. */
const SHORT: readonly string[] = ['kill -9 of S2CS with its gateway, haproxy', 'kill -9 of S2CS and S2DS, relay'];

function daemonKilled(who: keyof typeof DAEMONS, proxy: Proxy): Fault {
  const { separate, victims } = DAEMONS[who];
  const fault = `kill -9 of ${who}, ${proxy}`;
  return {
    fault,
    promised: 'open connections lose no byte; after the restart the stream can be controlled as before',
    short: SHORT.includes(fault),
    needs: needsOf(proxy),
    async run() {
      await using site = await Site.start({ separate });
      const before = await site.connect();
      const stream = await site.flowing(before, proxy);
      for (const victim of victims) await site[victim]?.kill();
      await stream.flow.moves();
      await through(stream.entry);
      if (victims.length === 1 && separate && victims[0] === 'gateway') {
        const refusal = before.control.update({ uid: stream.uid, remoteListeners: [site.application.address] });
        await refused(refusal, 'SCI_S2DS_UNREACHABLE');
      }
      for (const victim of [...victims].reverse()) await site[victim]?.again();
      await stream.flow.moves();
      return await site.conclude(await site.connect(), stream);
    },
  };
}

/** Kills every process of one proxy, and expects it back at the same address with the same targets. */
function proxyKilled(proxy: Proxy): Fault {
  return {
    fault: `kill -9 of the processes of a proxy, ${proxy}`,
    promised: 'its connections end; it restarts at the same address with the same targets; other streams lose nothing',
    short: true,
    needs: needsOf(proxy),
    async run() {
      await using site = await Site.start();
      const peer = await site.connect();
      const steady = await site.flowing(peer, proxy);
      const others = await processesBelow(site.carrier.state);
      const victim = await site.flowing(peer, proxy);
      const processes = (await processesBelow(site.carrier.state)).filter((pid) => !others.includes(pid));
      assert.ok(processes.length > 0, 'the proxy has no process');
      const begun = performance.now();
      for (const pid of processes) process.kill(pid, 'SIGKILL');
      await eventually(() => assert.not(victim.flow.open), PATIENCE_MS);
      await eventually(() => through(victim.entry), PATIENCE_MS);
      const seconds = (performance.now() - begun) / 1000;
      await steady.flow.moves();
      await site.retarget(peer, victim);
      await peer.control.release({ uid: victim.uid });
      const seen = await site.conclude(peer, steady);
      return `back after ${seconds.toFixed(1)} s; other stream: ${seen}`;
    },
  };
}

/** Kills a proxy while no daemon watches it. */
const unwatched: Fault = {
  fault: 'kill -9 of a proxy while S2CS and its gateway are dead, relay',
  promised: 'the next start of S2CS restarts the proxy with the same address and targets',
  short: false,
  needs: [],
  async run() {
    await using site = await Site.start();
    const victim = await site.flowing(await site.connect());
    const processes = await processesBelow(site.carrier.state);
    await site.server.kill();
    await victim.flow.moves();
    for (const pid of processes) process.kill(pid, 'SIGKILL');
    await eventually(() => assert.not(victim.flow.open), PATIENCE_MS);
    await site.server.again();
    const peer = await site.connect();
    await through(victim.entry);
    await peer.control.release({ uid: victim.uid });
    await site.settles();
    return 'back with its target; nothing left';
  },
};

/** @param away Whether S2CS is dead when the proxy dies, and must detect the restart later. */
function restartTold(away: boolean): Fault {
  return {
    fault: `kill -9 of a proxy of a separate S2DS while S2CS ${away ? 'is dead' : 'runs'}, relay`,
    promised: 'S2DS restarts it with the same address and targets; S2CS counts one restart and reports it as an event',
    short: away,
    needs: [],
    async run() {
      await using site = await Site.start({ separate: true });
      const { uid, entry, flow } = await site.flowing(await site.connect());
      const processes = await processesBelow(site.carrier.state);
      assert.ok(processes.length > 0, 'the proxy has no process');
      if (away) await site.server.kill();
      for (const pid of processes) process.kill(pid, 'SIGKILL');
      await eventually(() => assert.not(flow.open), PATIENCE_MS);
      await eventually(() => through(entry), PATIENCE_MS);
      if (away) await site.server.again();
      const peer = await site.connect();
      const restarts = async () => {
        const { events } = await peer.streams.events({ uid });
        return events.filter(({ what }) => what === 'restarted');
      };
      await eventually(async () => assert.ok((await restarts()).length > 0, 'S2CS reports no restart'), PATIENCE_MS);
      await site.retarget(peer, { uid, entry });
      assert.is((await peer.streams.get({ uid })).restarts, 1);
      assert.match(
        (await restarts()).map(({ detail }) => detail).join(),
        /^relay exited unexpectedly \(signal SIGKILL\)/,
      );
      assert.is((await restarts()).length, 1);
      await peer.control.release({ uid });
      await site.settles();
      return 'back with its target; 1 restart counted and reported; nothing left';
    },
  };
}

/** Kills it again after every start. */
const repeatedly: Fault = {
  fault: 'kill -9 of S2CS five times in a row',
  promised: 'open connections lose no byte',
  short: false,
  needs: [],
  async run() {
    await using site = await Site.start();
    const stream = await site.flowing(await site.connect());
    for (let i = 0; i < 5; i += 1) {
      await site.server.kill();
      await stream.flow.moves();
      await site.server.again();
    }
    return await site.conclude(await site.connect(), stream);
  },
};

/** REQs whose clients have disappeared, so that no HELLO will follow. */
function waitingKilled(separate: boolean): Fault {
  return {
    fault: `kill -9 of S2CS${separate ? ' with a separate S2DS' : ' with its gateway'} while REQs begin and wait and their clients disappear`,
    promised: 'every REQ fails when its HELLO timeout expires; nothing left',
    short: !separate,
    needs: [],
    async run({ full }) {
      const config = { limits: { helloTimeout: '3s' } };
      await using site = await Site.start({ separate, config });
      const rounds = full ? 8 : 3;
      for (let round = 0; round < rounds; round += 1) {
        const before = await site.connect();
        await site.gatewayUp(before);
        const requests = Array.from({ length: REQUESTS }, () =>
          before.control.req({ uid: randomUUID(), role: 'PROD', numConn: 1, proxy: 'relay' }),
        );
        const answers = Promise.allSettled(requests);
        // Wait until some are stored, then kill at a random moment.
        await eventually(async () => assert.ok((await before.streams.list({})).streams.length > 0), PATIENCE_MS);
        await sleep(Math.random() * MOMENT_MS);
        await site.server.kill();
        before.cut();
        assert.ok((await answers).every(({ status }) => status === 'rejected'));
        await site.server.again();
        const peer = await site.connect();
        await eventually(async () => assert.is((await peer.streams.list({})).streams.length, 0), PATIENCE_MS);
        await site.settles();
      }
      const { streams } = await (await site.connect()).streams.list({ ended: true });
      assert.ok(streams.every(({ state }) => state === 'failed'));
      return `${rounds} deaths; ${streams.length} REQs were stored and have failed; nothing left`;
    },
  };
}

const names = Object.keys(DAEMONS) as (keyof typeof DAEMONS)[];

/** The faults of this group. */
export const kills: readonly Fault[] = [
  ...PROXIES.flatMap((proxy) => names.map((who) => daemonKilled(who, proxy))),
  ...PROXIES.map(proxyKilled),
  unwatched,
  ...[false, true].map(restartTold),
  repeatedly,
  ...[false, true].map(waitingKilled),
];
