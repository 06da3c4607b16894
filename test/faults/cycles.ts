/** Thousands of set-ups and releases, and hours of events in minutes. The resources of the daemons must not grow. */
import { randomInt, randomUUID } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import * as assert from 'uvu/assert';
import { eventually, temporaryDirectory } from '@scistream/core/testing';
import type { Peer } from '../support/clients.js';
import type { Fault, Scale } from './fault.js';
import { compiled, PATIENCE_MS, Site, type Stream } from './site.js';
import { descriptors } from './system.js';
import { megabytes, through } from './traffic.js';

const CYCLES = { full: 1000, short: 30 };
const AT_ONCE = 3;
/** Two hours with one event every ten seconds. */
const EVENTS = 720;
/** The records of the last thousand streams and their events stay: about 10 kB each. */
const GROWTH_BYTES = 32e6;

/** A control server with its gateway whose memory use can be measured. */
async function scales() {
  const directory = await temporaryDirectory();
  const file = join(directory.path, 'weight');
  const preload = pathToFileURL(compiled('weigh.js')).href;
  return {
    prefix: ['env', `SCISTREAM_TEST_WEIGHT=${file}`, `NODE_OPTIONS=--import=${preload}`],
    /** Bytes in use after a garbage collection, and open file descriptors. */
    async weigh({ server: { pid } }: Site) {
      await rm(file, { force: true });
      process.kill(pid, 'SIGUSR2');
      let bytes = 0;
      await eventually(async () => void (bytes = Number(await readFile(file, 'utf8'))), PATIENCE_MS);
      return { bytes, descriptors: await descriptors(pid) };
    },
    [Symbol.asyncDispose]: () => directory.remove(),
  };
}

/** The life of one stream: set up, used, released. */
async function cycle(site: Site, peer: Peer): Promise<void> {
  const { uid, entry } = await site.setUp(peer);
  await through(entry);
  await peer.control.release({ uid });
}

async function cycles(site: Site, peer: Peer, count: number, say: Scale['say']): Promise<void> {
  let left = count;
  const worker = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      if (left % 100 === 0) say(`${left} cycles left`);
      await cycle(site, peer);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

const setUpAndRelease: Fault = {
  fault: `${CYCLES.full} set-ups and releases, ${AT_ONCE} at a time`,
  promised: 'memory, file descriptors, ports and processes do not grow; another stream loses no byte',
  short: true,
  needs: [],
  async run({ full, say }) {
    const count = full ? CYCLES.full : CYCLES.short;
    await using on = await scales();
    await using site = await Site.start({ prefix: on.prefix });
    const peer = await site.connect();
    const steady = await site.flowing(peer);
    await cycles(site, peer, Math.ceil(count / 5), say);
    const expected = await site.leftovers();
    const before = await on.weigh(site);
    await cycles(site, peer, count - Math.ceil(count / 5), say);
    await site.settles(expected);
    const after = await on.weigh(site);
    assert.ok(
      after.descriptors <= before.descriptors + AT_ONCE,
      `descriptors: ${before.descriptors}, ${after.descriptors}`,
    );
    assert.ok(
      after.bytes - before.bytes < GROWTH_BYTES,
      `memory: ${megabytes(before.bytes)}, ${megabytes(after.bytes)}`,
    );
    const growth = `${megabytes(before.bytes)} → ${megabytes(after.bytes)}, descriptors ${before.descriptors} → ${after.descriptors}`;
    return `${count} cycles; memory after a fifth of them and at the end: ${growth}; ${await site.conclude(peer, steady)}`;
  },
};

/** Events that may happen at a site. Each returns the streams that exist afterwards. */
type Event = (site: Site, peer: Peer, streams: readonly Stream[]) => Promise<readonly Stream[]>;

const MOST_STREAMS = 8;

const begin: Event = async (site, peer, streams) =>
  streams.length < MOST_STREAMS ? [...streams, await site.setUp(peer)] : streams;

const end: Event = async (_, { control }, streams) => {
  const [oldest, ...others] = streams;
  if (oldest) await control.release({ uid: oldest.uid });
  return others;
};

const retarget: Event = async (site, { control }, streams) => {
  for (const { uid, entry } of streams.slice(0, 1)) {
    await control.update({ uid, remoteListeners: [site.application.address] });
    await through(entry);
  }
  return streams;
};

const look: Event = async (_, peer, streams) => {
  const found = (await peer.streams.list({})).streams.map(({ uid }) => uid);
  for (const { uid } of streams) assert.ok(found.includes(uid), `stream ${uid} is no longer known`);
  return streams;
};

const connectAndGo: Event = async (_, __, streams) => {
  for (const { entry } of streams) await through(entry);
  return streams;
};

/** A client that requests a stream and disappears. */
const abandon: Event = async (site, peer, streams) => {
  const gone = await site.connect();
  const asked = gone.control.req({ uid: randomUUID(), role: 'PROD', numConn: 1, proxy: 'relay' });
  asked.catch(() => undefined);
  await peer.streams.list({});
  gone.cut();
  return streams;
};

const EVERYDAY: readonly Event[] = [begin, begin, end, retarget, look, connectAndGo, abandon];
const soak: Fault = {
  fault: `two hours in a few minutes: ${EVENTS} events in random order`,
  promised: 'memory, file descriptors, ports and processes do not grow; another stream loses no byte',
  short: false,
  needs: [],
  async run({ say }) {
    await using on = await scales();
    await using site = await Site.start({ prefix: on.prefix });
    const peer = await site.connect();
    const steady = await site.flowing(peer);
    const expected = await site.leftovers();
    let streams: readonly Stream[] = [];
    let before = { bytes: Infinity };
    for (let i = 1; i <= EVENTS; i += 1) {
      const event = EVERYDAY[randomInt(EVERYDAY.length)] ?? look;
      streams = await event(site, peer, streams);
      if (i % 100 === 0) say(`${i} events`);
      if (i === EVENTS / 4) before = await on.weigh(site);
    }
    for (const { uid } of streams) await peer.control.release({ uid });
    await site.settles(expected);
    const after = await on.weigh(site);
    assert.ok(after.bytes - before.bytes < GROWTH_BYTES, `memory at the end ${megabytes(after.bytes)}`);
    const growth = `${megabytes(before.bytes)} → ${megabytes(after.bytes)}`;
    return `memory after a quarter and at the end: ${growth}; ${await site.conclude(peer, steady)}`;
  },
};

/** The faults of this group. */
export const loads: readonly Fault[] = [setUpAndRelease, soak];
