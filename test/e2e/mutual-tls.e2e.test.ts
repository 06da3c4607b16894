// suite: full
/** Real daemons that authenticate each other, and their users, with certificates of `scistream cert init`. */
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import * as assert from 'uvu/assert';
import { SciStreamError } from '@scistream/core';
import { ControlClient, resolveEndpoint } from '@scistream/core/client';
import { eventually, exchange, named, tcpServer, temporaryDirectory } from '@scistream/core/testing';
import { connectPeer } from '../support/clients.js';
import { Daemon, GatewayDaemon } from '../support/daemon.js';
import { NOTHING } from '../support/leftovers.js';
import { toAddress } from '../support/server.js';
import { knock } from '../support/silence.js';
import { suite } from '../support/suite.js';

const s = suite('mutual TLS between daemons');

const CLI = fileURLToPath(new URL('../../../cli/bin/run.js', import.meta.url));
const PATIENCE_MS = 120_000;
const LIMITS = { deadlineMs: 60_000 };

/** Makes the certificates in a directory, as an operator does. */
async function certificates(dir: string, ...clients: readonly string[]) {
  const flags = clients.flatMap((name) => ['--client', name]);
  await promisify(execFile)(process.execPath, [CLI, 'cert', 'init', '127.0.0.1', '--dir', dir, ...flags]);
  const pair = (name: string) => ({ cert: join(dir, `${name}.crt`), key: join(dir, `${name}.key`) });
  return { ca: join(dir, 'ca.crt'), server: pair('server'), pair };
}

s('users, control server and data server trust each other and nobody else', async () => {
  await using directory = await temporaryDirectory();
  const users = await certificates(join(directory.path, 'users'), 'alice');
  const inside = await certificates(join(directory.path, 'inside'), 's2cs');
  const strange = await certificates(join(directory.path, 'strange'), 's2cs', 'alice');
  const gateway = { name: 'dtn1' };
  await using s2ds = await GatewayDaemon.start(gateway.name, 8, undefined, { ...inside.server, clientCa: inside.ca });
  const link = { ca: inside.ca, ...inside.pair('s2cs') };
  const start = (tls: object): Promise<Daemon> =>
    Daemon.start({
      config: {
        tls: { ...users.server, clientCa: users.ca, requireClientCertificate: true },
        auth: [{ use: 'certificate' }],
        gateways: [{ name: gateway.name, s2ds: s2ds.address, tls, wan: '127.0.0.2', lan: '127.0.0.3' }],
      },
    });
  const clientOf = (daemon: Daemon, { ca }: { ca: string } = users, pair = users.pair('alice')): ControlClient =>
    new ControlClient(resolveEndpoint(daemon.address, {}, { ca, ...pair }));
  const gatewayIs = (client: ControlClient, expected: RegExp): Promise<void> =>
    eventually(async () => {
      const { gateways } = await client.describe(LIMITS);
      assert.match(gateways[0]?.error?.code ?? 'up', expected);
    }, PATIENCE_MS);
  {
    await using wrong = await start({ ...link, ...strange.pair('s2cs') });
    const client = clientOf(wrong);
    await gatewayIs(client, /^SCI_S2DS_UNREACHABLE$/);
    client.close();
    assert.is(await wrong.stop(), 0, 'it ran until it was stopped');
  }
  const strangers = [undefined, strange.pair('s2cs'), users.pair('alice'), inside.server];
  for (const files of strangers) {
    assert.equal(await knock(toAddress(s2ds.address), files), { bytes: 0, ended: true });
  }
  await using s2cs = await start(link);
  const client = clientOf(s2cs);
  await gatewayIs(client, /^up$/);
  await using target = await tcpServer(named('a'));
  const uid = randomUUID();
  const role = 'PROD';
  const [{ listeners }] = await Promise.all([
    client.req({ uid, role, numConn: 1, rate: 1 }, LIMITS),
    client.hello({ uid, role }, LIMITS),
  ]);
  await client.update(uid, role, [`${target.address.host}:${target.address.port}`], LIMITS);
  assert.is(await exchange(toAddress(listeners[0] ?? ''), 'x'), 'ax');
  const stranger = clientOf(s2cs, users, strange.pair('alice'));
  const refusal: unknown = await stranger.get(uid, LIMITS).catch((thrown: unknown) => thrown);
  assert.is(SciStreamError.is(refusal) && refusal.code, 'SCI_CERTIFICATE_UNTRUSTED', String(refusal));
  stranger.close();
  await client.release(uid, LIMITS);
  client.close();
  assert.equal(await s2ds.leftovers(), NOTHING);
});

s('every restart is reported after the data server was killed, and after it was stopped', async () => {
  const count = 12;
  await using directory = await temporaryDirectory();
  const inside = await certificates(join(directory.path, 'inside'), 's2cs');
  await using s2ds = await GatewayDaemon.start('dtn1', count, undefined, { ...inside.server, clientCa: inside.ca });
  const tls = { ca: inside.ca, ...inside.pair('s2cs') };
  const gateway = { name: 'dtn1', s2ds: s2ds.address, tls, wan: '127.0.0.2', lan: '127.0.0.3' };
  await using s2cs = await Daemon.start({ config: { gateways: [gateway] } });
  const peer = await connectPeer(s2cs.peerOptions);
  const { control, streams } = peer;
  const uids = Array.from({ length: count }, () => randomUUID());
  for (const uid of uids) {
    await Promise.all([control.req({ uid, role: 'PROD', numConn: 1 }), control.hello({ uid, role: 'PROD' })]);
  }
  const endings = [() => s2ds.kill(), () => s2ds.stop()];
  for (const [round, end] of endings.entries()) {
    await end();
    // The last process releases the streams when the test ends.
    await s2ds.again({ keep: round + 1 < endings.length });
    const { processes } = await s2ds.leftovers();
    assert.is(processes.length, count, 'the proxies ran while the data server did not');
    for (const pid of processes) process.kill(pid, 'SIGKILL');
    await eventually(async () => {
      const heard = await Promise.all(
        uids.map(
          async (uid) => (await streams.events({ uid })).events.filter(({ what }) => what === 'restarted').length,
        ),
      );
      assert.equal(heard, Array<number>(count).fill(round + 1));
    }, PATIENCE_MS);
  }
  peer.cut();
});

s.run();
