/** Messages between S2UC, S2CS and S2DS that come late, are lost, or come twice; and networks that are gone for a while. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { parseAddress } from '@scistream/core';
import { eventually, exchange, temporaryDirectory } from '@scistream/core/testing';
import type { Peer } from '../support/clients.js';
import { toAddress } from '../support/server.js';
import type { Fault } from './fault.js';
import { Forwarder } from './forwarder.js';
import { PATIENCE_MS, Site } from './site.js';
import { establish, megabytes } from './traffic.js';

const LATE_MS = 300;

/** A cable to the control server of a site. */
async function cableTo(site: Site): Promise<Forwarder> {
  return await Forwarder.start({ host: '127.0.0.1', port: 0 }, parseAddress(site.server.address));
}

/** Repeats a call until it is answered, as a user client does whose connection was cut. */
async function repeated(site: Site, address: string, call: (peer: Peer) => Promise<unknown>): Promise<void> {
  await eventually(async () => {
    const peer = await site.connect(address);
    try {
      await call(peer);
    } finally {
      peer.cut();
    }
  }, PATIENCE_MS);
}

const late: Fault = {
  fault: 'messages between S2UC and S2CS are late',
  promised: 'every call is answered in the end; no byte is lost; nothing left',
  short: false,
  needs: [],
  async run() {
    await using site = await Site.start();
    await using cable = await cableTo(site);
    cable.delayMs = LATE_MS;
    const peer = await site.connect(cable.address);
    const stream = await site.flowing(peer);
    return `each ${LATE_MS} ms late; ${await site.conclude(peer, stream)}`;
  },
};

const lostAnswers: Fault = {
  fault: 'answers of S2CS are lost, and S2UC says UPDATE and RELEASE again',
  promised: 'a repeated message does no harm; no byte is lost; nothing left',
  short: true,
  needs: [],
  async run() {
    await using site = await Site.start();
    await using cable = await cableTo(site);
    const direct = await site.connect();
    const stream = await site.flowing(direct);
    const target = `127.0.0.1:${site.b.address.port}`;
    const updated = () => direct.streams.get({ uid: stream.uid }).then(({ targets }) => targets[0] === target);
    await loseAnswer(
      site,
      cable,
      (peer) => peer.control.update({ uid: stream.uid, remoteListeners: [target] }),
      updated,
    );
    assert.is(await exchange(stream.entry, 'x'), 'bx');
    await stream.flow.moves();
    const bytes = await stream.flow.finish();
    const ended = () => direct.streams.get({ uid: stream.uid }).then(({ state }) => state === 'released');
    await loseAnswer(site, cable, (peer) => peer.control.release({ uid: stream.uid }), ended);
    await site.settles();
    return `2 answers lost; 0 of ${megabytes(bytes)} lost; nothing left`;
  },
};

/** The call arrives and is obeyed, its answer does not arrive, and the call is made again. */
async function loseAnswer(
  site: Site,
  cable: Forwarder,
  call: (peer: Peer) => Promise<unknown>,
  obeyed: () => Promise<boolean>,
): Promise<void> {
  const peer = await site.connect(cable.address);
  // Its connection is made, and its first call is answered.
  await peer.streams.list({});
  cable.answers.shut();
  const lost = call(peer).then(
    () => 'answered',
    () => 'lost',
  );
  await eventually(async () => assert.ok(await obeyed(), 'not obeyed'), PATIENCE_MS);
  cable.cut();
  cable.answers.open();
  assert.is(await lost, 'lost');
  await repeated(site, cable.address, call);
}

const twice: Fault = {
  fault: 'every message of S2UC comes twice at once',
  promised: 'the second does no harm: it is answered like the first, or refused; no byte is lost; nothing left',
  short: false,
  needs: [],
  async run() {
    await using site = await Site.start();
    const peers = [await site.connect(), await site.connect()];
    const both = (call: (peer: Peer) => Promise<unknown>) => Promise.allSettled(peers.map(call));
    const uid = randomUUID();
    const target = site.application.address;
    const [requests] = await Promise.all([
      both(({ control }) => control.req({ uid, role: 'PROD', numConn: 1, proxy: 'relay' })),
      both(({ control }) => control.hello({ uid, prodListeners: [target] })),
    ]);
    assert.is(requests.filter(({ status }) => status === 'fulfilled').length, 1, 'one REQ of two is granted');
    const [peer] = peers;
    assert.ok(peer);
    await both(({ control }) => control.update({ uid, remoteListeners: [target] }));
    const { listeners } = await peer.streams.get({ uid });
    assert.is((await site.leftovers()).listening.length, 1);
    const entry = toAddress(listeners[0] ?? '');
    const flow = await establish(entry);
    await site.retarget(peer, { uid, entry });
    const bytes = await flow.finish();
    const released = await both(({ control }) => control.release({ uid }));
    assert.ok(released.every(({ status }) => status === 'fulfilled'));
    await site.settles();
    return `one stream of two REQ; 0 of ${megabytes(bytes)} lost; nothing left`;
  },
};

/** A forwarder between a control server and the socket of its data server. */
async function between() {
  const directory = await temporaryDirectory();
  const path = join(directory.path, 'between.sock');
  let cable: Forwarder | undefined;
  return {
    get cable() {
      assert.ok(cable);
      return cable;
    },
    async lay(s2ds: string): Promise<string> {
      cable = await Forwarder.start({ path }, { path: s2ds.replace(/^unix:/, '') });
      return `unix:${path}`;
    },
    async [Symbol.asyncDispose]() {
      await cable?.[Symbol.asyncDispose]();
      await directory.remove();
    },
  };
}

const lostOrders: Fault = {
  fault: 'answers of S2DS to S2CS are lost, once for each order',
  promised: 'S2CS repeats the order by itself, and S2UC sees nothing of it; no byte is lost; nothing left',
  short: true,
  needs: [],
  async run() {
    await using lies = await between();
    await using site = await Site.start({ separate: true, between: (s2ds) => lies.lay(s2ds) });
    const peer = await site.connect();
    const stream = await site.flowing(peer);
    const orders = [
      () => site.setUp(peer),
      () => site.retarget(peer, stream),
      async () => {
        const { uid } = await site.setUp(peer);
        await peer.control.release({ uid });
      },
    ];
    for (const order of orders) {
      lies.cable.losses = 1;
      await order();
    }
    assert.is(lies.cable.lost, orders.length);
    const all = await peer.streams.list({});
    for (const { uid } of all.streams) if (uid !== stream.uid) await peer.control.release({ uid });
    return `${lies.cable.lost} answers lost; ${await site.conclude(peer, stream)}`;
  },
};

const dataServerAway: Fault = {
  fault: 'the network between S2CS and S2DS is gone for a while',
  promised: 'streams go on; S2CS commands them when it is back; no byte is lost; nothing left',
  short: false,
  needs: [],
  async run() {
    await using lies = await between();
    await using site = await Site.start({ separate: true, between: (s2ds) => lies.lay(s2ds) });
    const peer = await site.connect();
    const stream = await site.flowing(peer);
    lies.cable.unplug();
    await site.gatewayUp(peer, false);
    await stream.flow.moves();
    lies.cable.plug();
    await site.gatewayUp(peer);
    return `noticed, and noticed again; ${await site.conclude(peer, stream)}`;
  },
};

/** All of this group. */
export const messages: readonly Fault[] = [late, lostAnswers, twice, lostOrders, dataServerAway];
