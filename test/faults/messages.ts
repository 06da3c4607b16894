/** Messages between S2UC, S2CS and S2DS that are delayed, lost or duplicated, and networks that fail for a while. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { parseAddress } from '@scistream/core/internal';
import { eventually, exchange, temporaryDirectory } from '@scistream/core/testing';
import type { Peer } from '../support/clients.js';
import { toAddress } from '../support/server.js';
import type { Fault } from './fault.js';
import { Forwarder } from './forwarder.js';
import { PATIENCE_MS, Site } from './site.js';
import { establish, megabytes } from './traffic.js';

const LATE_MS = 300;

/** A forwarder in front of the control server of a site. */
async function cableTo(site: Site): Promise<Forwarder> {
  return await Forwarder.start({ host: '127.0.0.1', port: 0 }, parseAddress(site.server.address));
}

/** Retries a call until it is answered, as a user client does after a broken connection. */
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
  fault: 'messages between S2UC and S2CS are delayed',
  promised: 'every call is answered eventually; no byte is lost; nothing left',
  short: false,
  needs: [],
  async run() {
    await using site = await Site.start();
    await using cable = await cableTo(site);
    cable.delayMs = LATE_MS;
    const peer = await site.connect(cable.address);
    const stream = await site.flowing(peer);
    return `each delayed by ${LATE_MS} ms; ${await site.conclude(peer, stream)}`;
  },
};

const lostAnswers: Fault = {
  fault: 'answers of S2CS are lost, and S2UC retries UPDATE and RELEASE',
  promised: 'a repeated message is harmless; no byte is lost; nothing left',
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

/** The call arrives and is executed, its answer is lost, and the client retries. */
async function loseAnswer(
  site: Site,
  cable: Forwarder,
  call: (peer: Peer) => Promise<unknown>,
  obeyed: () => Promise<boolean>,
): Promise<void> {
  const peer = await site.connect(cable.address);
  // Establish the connection first.
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
  fault: 'every message of S2UC arrives twice at the same time',
  promised: 'the second is answered like the first or rejected; no byte is lost; nothing left',
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
    return `one stream for two REQs; 0 of ${megabytes(bytes)} lost; nothing left`;
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
  fault: 'answers of S2DS to S2CS are lost, once for each command',
  promised: 'S2CS retries the command, and S2UC sees no error; no byte is lost; nothing left',
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
  fault: 'the network between S2CS and S2DS fails for a while',
  promised: 'streams continue; S2CS controls them again when the network is back; no byte is lost; nothing left',
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
    return `failure and return detected; ${await site.conclude(peer, stream)}`;
  },
};

/** The faults of this group. */
export const messages: readonly Fault[] = [late, lostAnswers, twice, lostOrders, dataServerAway];
