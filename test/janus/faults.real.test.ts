// needs: docker, root
// suite: full
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { LABELS, SciStreamError, type ContainerRef, type ContainerSpec, type ErrorCode } from '@scistream/core';
import { eventually } from '@scistream/core/testing';
import type { JanusRuntime } from '@scistream/plugin-janus';
import { makeCertificate } from './certificate.js';
import { withSite, type JanusSite } from './support.js';

const s = suite('faults');
const test = withSite(s, s);

/** What a life of an instance asks of Janus, from its profile to its end. */
const STEPS = [
  /^POST \/profiles/,
  /^POST \/create/,
  /^PUT \/start/,
  /^POST \/exec/,
  /^PUT \/stop/,
  /^GET \/active$/,
  /^DELETE \/active/,
  /^DELETE \/profiles/,
];

async function begin(runtime: JanusRuntime, spec: ContainerSpec): Promise<ContainerRef> {
  const ref = await runtime.create(spec);
  await runtime.start(ref, spec);
  return ref;
}

async function end(runtime: JanusRuntime, ref: ContainerRef): Promise<void> {
  await runtime.stop(ref, 2_000);
  await runtime.remove(ref);
}

async function expectFailure(code: ErrorCode, words: RegExp, work: Promise<unknown>): Promise<void> {
  const error = await work.then(
    () => new Error('it did not fail'),
    (error: unknown) => error,
  );
  assert.ok(SciStreamError.is(error), String(error));
  assert.is(error.code, code, error.message);
  assert.match(error.message, words);
  assert.not.match(JSON.stringify(error), 'a password');
}

async function livesThrough(site: JanusSite, what: 500 | 503 | 'reset' | 'lost', times: number): Promise<void> {
  const runtime = site.runtime();
  for (const on of STEPS) site.emulator.fault({ on, times, what });
  const spec = site.spec();
  const ref = await begin(runtime, spec);
  assert.is(site.emulator.controller.sessions.size, 1);
  await eventually(async () => assert.match(await runtime.logs(ref, 5), 'it runs'));
  assert.is((await runtime.inspect(ref)).status, 'running');
  await end(runtime, ref);
}

test('two failures of Janus in every step are lived through', (site) => livesThrough(site, 500, 2));
test('connections that break in every step are lived through', (site) => livesThrough(site, 'reset', 1));
test('an answer lost in every step changes nothing: one session, none left', (site) => livesThrough(site, 'lost', 1));

test('a command whose answer is lost has run once', async (site) => {
  const runtime = site.runtime();
  const ref = await runtime.create(site.spec());
  site.emulator.fault({ on: /^POST \/exec/, times: 2, what: 'lost' });
  const ran = await runtime.exec(ref, ['sh', '-c', 'echo once >> count; cat count'], 5_000);
  assert.equal(ran, { exitCode: 0, stdout: 'once\n', stderr: '' });
  await end(runtime, ref);
});

test('a lasting failure, refusal or nonsense in a step of create is a clear error, and nothing stays', async (site) => {
  const runtime = site.runtime({ retries: 1 });
  const cases = [
    [401, 'SCI_RUNTIME_UNREACHABLE', /does not accept the credentials \(401\)/],
    [404, 'SCI_RUNTIME_FAILED', /404|no session/],
    [500, 'SCI_RUNTIME_FAILED', /500 \(Made up for a test\)|cannot be used/],
    ['garbage', 'SCI_RUNTIME_FAILED', /not JSON: "<html>Bad gateway/],
    ['shape', 'SCI_RUNTIME_FAILED', /surprise.*not what it should be/],
  ] as const;
  for (const [what, code, words] of cases) {
    for (const on of [/^POST \/create/, /^PUT \/start/, /^POST \/exec/]) {
      const heal = site.emulator.fault({ on, what });
      await expectFailure(code, words, runtime.create(site.spec()));
      heal();
      await site.expectNothingLeft();
    }
  }
});

test('an instance that could not be cleared away is replaced by its owner later', async (site) => {
  const runtime = site.runtime({ retries: 0 });
  const spec = site.spec();
  const heal = site.emulator.fault({ on: /^(POST \/create|DELETE)/, what: 401 });
  await expectFailure('SCI_RUNTIME_UNREACHABLE', /credentials/, runtime.create(spec));
  heal();
  const stranger = { ...spec, labels: { ...spec.labels, [LABELS.owner]: 'somebody else' } };
  await expectFailure('SCI_CONTAINER_CONFLICT', /exists in Janus already/, runtime.create(stranger));
  await end(runtime, await begin(runtime, spec));
});

test('silence is waited out, and an error when it lasts', async (site) => {
  const runtime = site.runtime({ timeout: 1_500 });
  site.emulator.fault({ on: /^PUT \/start/, times: 2, what: 'silence' });
  const ref = await begin(runtime, site.spec());
  const impatient = site.runtime({ timeout: 200, retries: 2 });
  const heal = site.emulator.fault({ on: /./, what: 'silence' });
  await expectFailure('SCI_RUNTIME_UNREACHABLE', /no answer in 200 ms/, impatient.create(site.spec()));
  heal();
  await end(runtime, ref);
});

for (const what of [401, 404, 500, 'garbage', 'shape', 'silence', 'reset'] as const) {
  test(`a program is not taken for dead while Janus answers with ${what}, and its end is seen afterwards`, async (site) => {
    const runtime = site.runtime({ timeout: 1_500, retries: 1 });
    const ref = await begin(runtime, site.spec());
    let over = false;
    const exited = runtime.exited(ref, new AbortController().signal).then((state) => {
      over = true;
      return state;
    });
    const heal = site.emulator.fault({ on: /./, what });
    const before = site.emulator.seen.length;
    await eventually(() => assert.ok(site.emulator.seen.length > before + 3), 15_000);
    assert.is(over, false);
    heal();
    assert.is((await runtime.inspect(ref)).status, 'running');
    await runtime.stop(ref, 2_000);
    assert.is((await exited).status, 'exited');
    await runtime.remove(ref);
  });
}

test('an image that is not registered, or not there, is named', async (site) => {
  const runtime = site.runtime();
  await expectFailure('SCI_IMAGE_NOT_FOUND', /"unknown:1"/, runtime.create(site.spec({ image: 'unknown:1' })));
  const image = 'only-registered:1';
  await expectFailure('SCI_IMAGE_NOT_FOUND', /"only-registered:1"/, runtime.create(site.spec({ image })));
});

test('a session that is MIXED is a failure with its reason, though Janus says 200', async (site) => {
  const runtime = site.runtime();
  site.emulator.controller.faults.startFails = 'no space left on device';
  const words = /MIXED.*no space left on device/;
  await expectFailure('SCI_RUNTIME_FAILED', words, runtime.create(site.spec()));
});

test('a container that ends at once is a failure with its last words', async (site) => {
  const runtime = site.runtime();
  site.emulator.controller.faults.exitAtOnce = true;
  await expectFailure('SCI_RUNTIME_FAILED', /last words: cannot go on/, runtime.create(site.spec()));
});

test('only a controller that proves who it is gets anything at all', async (site) => {
  const file = join(site.directory.path, 'other.crt');
  await writeFile(file, (await makeCertificate()).cert);
  const untrusted = /certificate is not trusted/;
  await expectFailure('SCI_RUNTIME_UNREACHABLE', untrusted, site.runtime({ ca: file }).ping());
  await expectFailure('SCI_RUNTIME_UNREACHABLE', untrusted, site.runtime({ ca: undefined }).ping());
  const wrong = { ca: undefined, fingerprint: `sha256:${'0'.repeat(64)}` };
  await expectFailure('SCI_RUNTIME_UNREACHABLE', /it shows sha256:[0-9a-f]{64}, not the/, site.runtime(wrong).ping());
  const missing = site.runtime({ ca: join(site.directory.path, 'missing') });
  await expectFailure('SCI_RUNTIME_UNREACHABLE', /CA file .*missing cannot be read \(ENOENT\)/, missing.ping());
  assert.equal(site.emulator.seen, []);
  await site.runtime({ ca: undefined, fingerprint: site.fingerprint }).ping();
});

test('credentials come from a file or the environment, a token or a password, read for each request', async (site) => {
  const tokenFile = join(site.directory.path, 'token');
  const runtime = site.runtime({ auth: { tokenFile }, user: 'alice', group: 'g' });
  await expectFailure('SCI_RUNTIME_UNREACHABLE', /the file .*token cannot be read/, runtime.ping());
  await writeFile(tokenFile, 'wrong');
  await expectFailure('SCI_RUNTIME_UNREACHABLE', /credentials \(401\)/, runtime.ping());
  await writeFile(tokenFile, `${site.emulator.token()}\n`);
  await runtime.ping();
  process.env.SCISTREAM_TEST_JANUS = 'a password';
  await site.runtime({ auth: { user: 'admin', passwordEnv: 'SCISTREAM_TEST_JANUS' } }).ping();
  delete process.env.SCISTREAM_TEST_JANUS;
  const none = site.runtime({ auth: undefined });
  await expectFailure('SCI_RUNTIME_UNREACHABLE', /credentials \(401\)/, none.ping());
});

s.run();
