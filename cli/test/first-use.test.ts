// suite: full
/** The first steps of a user and an operator: a token, a facility, and a call that works. */
import { createHash } from 'node:crypto';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { freeRange } from '@scistream/core/testing';
import { Home, nextLine } from './support/cli.js';
import { Running } from './support/running.js';

const s = suite<{ home: Home }>('first use');

s.before.each(async (context) => {
  context.home = await Home.create();
});
s.after.each(({ home }) => home.remove());

/** Makes a command ask its user. */
const TERMINAL = {
  NODE_OPTIONS:
    '--import data:text/javascript,process.stdin.isTTY=process.stderr.isTTY=true;process.stderr.getWindowSize=()=>[200,50]',
};

interface Made {
  readonly token?: string;
  readonly file?: string;
  readonly entry: { readonly subject: string; readonly sha256: string };
}
const newToken = async (home: Home, ...flags: readonly string[]): Promise<Made> =>
  (await home.json('token', 'new', ...flags)) as Made;
const hashOf = (token: string): string => createHash('sha256').update(token).digest('hex');

/** Starts a control server that accepts these entries. */
async function startServer(home: Home, entries: readonly object[]) {
  const { first } = await freeRange(3);
  const listen = `127.0.0.1:${first}`;
  const config = {
    facility: 'aps',
    listen,
    state: join(home.path, 'state-s2cs'),
    auth: [{ use: 'token', tokens: entries }],
    gateways: [{ ports: `${first + 1}-${first + 2}` }],
  };
  await writeFile(join(home.path, 's2cs.conf'), JSON.stringify(config), { mode: 0o600 });
  const daemon = new Running(home.start('s2cs.js', ['--config', 's2cs.conf', '--json']));
  const { fingerprint } = JSON.parse(await nextLine(daemon.child)) as { fingerprint: string };
  return { listen, fingerprint, daemon };
}

s('token new prints a token once, and its entry is accepted by a control server', async ({ home }) => {
  const { token = '', entry } = await newToken(home, '--subject', 'alice', '--group', 'beamline-7', '--admin');
  assert.equal(entry, { subject: 'alice', sha256: hashOf(token), groups: ['beamline-7'], admin: true });
  assert.ok(Buffer.from(token, 'base64url').length >= 32);
  assert.is.not((await newToken(home, '--subject', 'alice')).token, token);
  const { listen, fingerprint, daemon } = await startServer(home, [entry]);
  await using _daemon = daemon;
  await writeFile(join(home.path, 'alice.token'), token, { mode: 0o600 });
  const facilities = { aps: { s2cs: listen, fingerprint, token: { file: 'alice.token' } } };
  await writeFile(join(home.path, 'scistream.config.yaml'), JSON.stringify({ facilities }), { mode: 0o600 });
  const who = (await home.json('whoami', 'aps')) as { subject: string; admin: boolean; groups: readonly string[] };
  assert.equal([who.subject, who.admin, who.groups], ['alice', true, ['beamline-7']]);
});

s('token new --file writes a private file and never replaces one', async ({ home }) => {
  const made = await newToken(home, '--subject', 'alice', '--file', 'alice.token');
  assert.equal([made.token, made.file], [undefined, 'alice.token']);
  const path = join(home.path, 'alice.token');
  assert.is((await stat(path)).mode & 0o777, 0o600);
  assert.is(hashOf(await readFile(path, 'utf8')), made.entry.sha256);
  const { code, exitCode } = await home.failure('token', 'new', '--subject', 'bob', '--file', 'alice.token');
  assert.equal([code, exitCode], ['SCI_USAGE', 2]);
  assert.is(hashOf(await readFile(path, 'utf8')), made.entry.sha256);
  assert.is((await home.failure('token', 'new', '--subject', 'a\nb')).code, 'SCI_USAGE');
});

s('a placeholder in the place of a hash is refused, and the error names the command that helps', async ({ home }) => {
  await home.json('config', 'init', '--kind', 's2cs');
  const { code, message } = await home.failure('config', 'check', 's2cs.conf');
  assert.is(code, 'SCI_PLUGIN_OPTIONS_INVALID');
  assert.match(message, 'scistream token new');
});

interface Added {
  readonly name: string;
  readonly fingerprint?: string;
  readonly file: string;
}

s('facility add stores a confirmed certificate beside what the file has, and calls work', async ({ home }) => {
  const { token = '', entry } = await newToken(home, '--subject', 'alice');
  const { listen, fingerprint, daemon } = await startServer(home, [entry]);
  await using _daemon = daemon;
  await writeFile(join(home.path, 'alice.token'), token, { mode: 0o600 });
  const file = join(home.path, 'config', 'scistream.config.yaml');
  const add = ['facility', 'add', listen, '--name', 'aps', '--token-file', 'alice.token'];
  const unconfirmed = await home.failure(...add);
  assert.is(unconfirmed.code, 'SCI_TLS_UNTRUSTED');
  assert.ok(
    unconfirmed.suggestions.some((text) => text.includes(fingerprint)),
    unconfirmed.suggestions.join(),
  );
  const wrong = `sha256:${'ab'.repeat(32)}`;
  assert.is((await home.failure(...add, '--fingerprint', wrong)).code, 'SCI_TLS_UNTRUSTED');
  assert.is(await stat(file).catch(() => undefined), undefined, 'nothing is written');
  const added = (await home.json(...add, '--fingerprint', fingerprint)) as Added;
  assert.equal([added.name, added.fingerprint, added.file], ['aps', fingerprint, file]);
  assert.is((await stat(file)).mode & 0o777, 0o600);
  assert.is(((await home.json('whoami', 'aps')) as { subject: string }).subject, 'alice');
  await writeFile(file, `# my facilities\n${await readFile(file, 'utf8')}streams: { tomo: { from: aps } }\n`);
  await home.json('facility', 'add', listen, '--name', 'alcf', '--fingerprint', fingerprint);
  const text = await readFile(file, 'utf8');
  for (const kept of ['# my facilities', 'tomo', 'aps:', 'alcf:']) assert.match(text, kept);
  assert.is(((await home.json('whoami', 'aps')) as { subject: string }).subject, 'alice');
  const again = ['facility', 'add', listen, '--name', 'aps', '--fingerprint', fingerprint];
  assert.is((await home.failure(...again)).code, 'SCI_USAGE');
  await home.json(...again, '--replace');
  assert.is((await home.failure('whoami', 'aps')).code, 'SCI_UNAUTHENTICATED', 'the new entry has no token');
});

s('facility add asks at a terminal, and only yes adds the facility', async ({ home }) => {
  const { listen, fingerprint, daemon } = await startServer(home, [(await newToken(home, '--subject', 'alice')).entry]);
  await using _daemon = daemon;
  const answer = (reply: string) =>
    home.in(['sh', '-c', `echo ${reply} | "$0" "$@"`]).run(['facility', 'add', listen, '--name', 'aps'], TERMINAL);
  const refused = await answer('n');
  assert.match(refused.stdout, fingerprint, refused.stderr);
  assert.match(refused.stderr, 'SCI_TLS_UNTRUSTED');
  const file = join(home.path, 'config', 'scistream.config.yaml');
  assert.is(await stat(file).catch(() => undefined), undefined);
  const accepted = await answer('y');
  assert.match(accepted.stdout, 'Added aps');
  assert.match(await readFile(file, 'utf8'), fingerprint);
});

s.run();
