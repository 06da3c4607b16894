// suite: full
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { scistream, startFacilities, type Facilities } from './support/facilities.js';

const s = suite<{ facilities: Facilities }>('doctor with running facilities');

s.before(async (context) => {
  context.facilities = await startFacilities();
});
s.after(({ facilities }) => facilities.stop());

s('reachable, trusted facilities are ok, and their clocks are compared', async ({ facilities }) => {
  const { code, stdout } = await scistream(facilities, 'doctor');
  assert.is(code, 0, stdout);
  for (const name of ['aps', 'alcf']) {
    assert.match(stdout, new RegExp(`^ok +${name}: \\S+ answers: ${name}, version .*, relay in process\\.$`, 'm'));
    assert.match(stdout, new RegExp(`^ok +${name}: The clocks agree\\.$`, 'm'));
  }
});

s('an unexpected certificate is a problem', async ({ facilities }) => {
  const config = JSON.parse(await readFile(facilities.config, 'utf8')) as { facilities: { aps: object } };
  const file = join(facilities.dir, 'wrong.yaml');
  const fingerprint = `sha256:${'ab'.repeat(32)}`;
  const aps = { ...config.facilities.aps, fingerprint };
  await writeFile(file, JSON.stringify({ facilities: { ...config.facilities, aps } }));
  const { code, stdout } = await scistream({ ...facilities, config: file }, 'doctor');
  assert.is(code, 1);
  assert.match(stdout, /^problem +aps: /m);
  assert.match(stdout, /^ok +alcf: /m);
});

interface Report {
  readonly findings: readonly { readonly check: string; readonly level: string; readonly message: string }[];
}

s(
  'a control server on a port of its gateway, dead data servers and small TCP buffers are found',
  async ({ facilities }) => {
    const dead = ['unix:/nowhere/s2ds.sock', 'unix:/nowhere/other.sock'].map((s2ds, i) => ({ name: `dtn${i}`, s2ds }));
    const file = join(facilities.dir, 's2cs-flawed.conf');
    const document = { facility: 'aps', listen: '127.0.0.1:5150', state: join(facilities.dir, 'state-flawed') };
    await writeFile(file, JSON.stringify({ ...document, gateways: [{ ports: '5100-5200' }, ...dead] }), {
      mode: 0o600,
    });
    const { code, stdout } = await scistream({ ...facilities, config: file }, 'doctor', '--json');
    assert.is(code, 1, stdout);
    const { findings } = JSON.parse(stdout) as Report;
    const of = (check: string) => findings.filter((finding) => finding.check === check);
    assert.match(
      of('listen')
        .map(({ level, message }) => `${level} ${message}`)
        .join(),
      /^problem 127\.0\.0\.1:5150 .*5100-5200/,
    );
    assert.equal(
      of('data server').map(({ level }) => level),
      ['problem', 'problem'],
    );
    const [receive] = (await readFile('/proc/sys/net/ipv4/tcp_rmem', 'utf8')).trim().split(/\s+/).slice(2).map(Number);
    const [send] = (await readFile('/proc/sys/net/ipv4/tcp_wmem', 'utf8')).trim().split(/\s+/).slice(2).map(Number);
    const enough = Math.min(receive ?? 0, send ?? 0) >= 62_500_000;
    assert.equal(
      of('buffers').map(({ level }) => level),
      [enough ? 'ok' : 'warning'],
    );
  },
);

s.run();
