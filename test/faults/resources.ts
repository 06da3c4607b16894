/** Full or read-only disks, too few file descriptors, and a network that fails. */
import { createHash, randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { formatAddress } from '@scistream/core';
import { eventually, temporaryDirectory } from '@scistream/core/testing';
import type { Peer } from '../support/clients.js';
import { island } from '../support/namespaces.js';
import type { Fault } from './fault.js';
import { PATIENCE_MS, Site, TOKEN } from './site.js';
import { descriptorLimit, descriptors, limitDescriptors, lockable, smallDisk } from './system.js';
import { megabytes } from './traffic.js';

const SHA256 = createHash('sha256').update(TOKEN).digest('hex');

/** The error code of a failed call, or `answered`. */
async function codeOf(call: Promise<unknown>): Promise<string> {
  return await call.then(
    () => 'answered',
    (error: unknown) => {
      const { metadata } = error as { metadata?: Headers };
      return metadata?.get('scistream-code') ?? String(error);
    },
  );
}

/** Requests streams until one is rejected, and returns the code. The last page of a file always has room for some. */
async function codeOfRefusal(peer: Peer): Promise<string> {
  for (let i = 0; i < 10; i += 1) {
    const code = await codeOf(request(peer));
    if (code !== 'answered') return code;
  }
  return 'never refused';
}

const request = ({ control }: Peer): Promise<unknown> => {
  const uid = randomUUID();
  return Promise.all([control.req({ uid, role: 'PROD', numConn: 1, proxy: 'relay' }), control.hello({ uid })]);
};

const fullDisk: Fault = {
  fault: 'the disk of the state directory is full',
  promised:
    'new streams are rejected with the reason; no byte is lost; with free space everything works again, and confirmed changes survive a kill -9',
  short: true,
  needs: ['root'],
  async run() {
    await using disk = await smallDisk('8m');
    await using site = await Site.start({ state: disk.path });
    const peer = await site.connect();
    const stream = await site.flowing(peer);
    await disk.fill();
    assert.is(await codeOfRefusal(peer), 'SCI_STATE_WRITE');
    await stream.flow.moves();
    await disk.free();
    const kept = await site.setUp(peer);
    await site.retarget(peer, stream);
    await site.server.kill();
    await site.server.again();
    const after = await site.connect();
    assert.is(
      await codeOf(after.streams.get({ uid: kept.uid })),
      'answered',
      'a stream that was set up when there was space again is not found after a kill -9',
    );
    assert.is((await after.streams.get({ uid: stream.uid })).targets[0], `127.0.0.1:${site.b.address.port}`);
    const { streams } = await after.streams.list({});
    for (const { uid } of streams) if (uid !== stream.uid) await after.control.release({ uid });
    return `rejected with SCI_STATE_WRITE; ${await site.conclude(after, stream)}`;
  },
};

const releaseOnFullDisk: Fault = {
  fault: 'a stream is released while the disk of the state directory is full',
  promised: 'it is released, and none of its processes runs; with free space its state is released',
  short: true,
  needs: ['root'],
  async run() {
    await using disk = await smallDisk('8m');
    await using site = await Site.start({ state: disk.path });
    const peer = await site.connect();
    const { uid, entry, flow } = await site.flowing(peer);
    const bytes = await flow.finish();
    await disk.fill();
    assert.is(await codeOfRefusal(peer), 'SCI_STATE_WRITE');
    const code = await codeOf(peer.control.release({ uid }));
    const listening = (await site.leftovers()).listening.includes(formatAddress(entry));
    await disk.free();
    await eventually(async () => void (await peer.control.release({ uid })), PATIENCE_MS);
    for (const other of (await peer.streams.list({})).streams) await peer.control.release({ uid: other.uid });
    await site.settles();
    assert.is(code, 'answered', 'RELEASE fails');
    assert.not(listening, 'its proxy still listened');
    return `RELEASE: ${code}; 0 of ${megabytes(bytes)} lost; nothing left`;
  },
};

const readOnly: Fault = {
  fault: 'the state directory is read-only when S2CS restarts after a kill -9',
  promised:
    'S2CS does not start and disturbs no stream; when it can write, it starts and recovers them; no byte is lost',
  short: false,
  needs: ['root'],
  async run() {
    await using cabinet = await lockable();
    await using site = await Site.start({ prefix: cabinet.prefix, state: cabinet.path });
    const stream = await site.flowing(await site.connect());
    await site.server.kill();
    await cabinet.lock();
    const started = await site.server.again().then(
      () => 'started',
      () => 'refused',
    );
    await stream.flow.moves();
    await cabinet.unlock();
    assert.is(started, 'refused');
    await site.server.again();
    return `did not start; ${await site.conclude(await site.connect(), stream)}`;
  },
};

const noDescriptors: Fault = {
  fault: 'S2CS with its gateway has no file descriptors left',
  promised:
    'new streams are rejected with a code; no byte is lost; with more descriptors everything works again; nothing left',
  short: true,
  needs: [],
  async run() {
    await using site = await Site.start();
    const peer = await site.connect();
    const stream = await site.flowing(peer);
    const { pid } = site.server;
    const before = await descriptorLimit(pid);
    await limitDescriptors(pid, await descriptors(pid));
    const code = await codeOf(request(peer));
    await stream.flow.moves();
    assert.match(code, /^SCI_/);
    await limitDescriptors(pid, before);
    const { uid } = await site.setUp(peer);
    await peer.control.release({ uid });
    return `rejected with ${code}; ${await site.conclude(peer, stream)}`;
  },
};

const clientAway: Fault = {
  fault: 'the network between S2UC and S2CS fails while a REQ waits',
  promised: 'the REQ keeps waiting and is answered when the network is back; no byte is lost; nothing left',
  short: true,
  needs: ['root', 'ip', 'netns'],
  async run() {
    await using there = await island();
    // On an address that others reach, callers must authenticate, and loopback targets need a rule.
    const directory = await temporaryDirectory();
    const policy = join(directory.path, 'policy.yaml');
    const targets = { networks: ['127.0.0.0/8'] };
    await writeFile(
      policy,
      JSON.stringify({ rules: [{ who: { issuers: ['token'] }, encryption: ['none'], targets }] }),
    );
    const config = {
      listen: `${there.far}:5000`,
      auth: [{ use: 'token', tokens: [{ subject: 'user', sha256: SHA256 }] }],
      policy,
    };
    await using site = await Site.start({ separate: true, prefix: there.prefix, config });
    await directory.remove();
    const peer = await site.connect();
    const stream = await site.flowing(peer);
    const uid = randomUUID();
    const asked = peer.control.req({ uid, role: 'PROD', numConn: 1, proxy: 'relay' });
    await site.reaches(peer, uid, 'waiting');
    await there.unplug();
    const greeted = peer.control.hello({ uid });
    await stream.flow.moves();
    await stream.flow.moves();
    await there.plug();
    await greeted;
    assert.is((await asked).listeners.length, 1);
    await peer.control.release({ uid });
    return `answered afterwards; ${await site.conclude(peer, stream)}`;
  },
};

/** The faults of this group. */
export const resources: readonly Fault[] = [fullDisk, releaseOnFullDisk, readOnly, noDescriptors, clientAway];
