import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Config } from '@oclif/core';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Daemon } from '../../test/support/daemon.js';
import { Home, REPOSITORY } from './support/cli.js';

/** The commands that users of the older client type. docs/reference/protocol.md compares both clients. */
const s = suite<{ home: Home }>('commands of the older client');

s.before.each(async (context) => {
  context.home = await Home.create();
});
s.after.each(({ home }) => home.remove());

const COMMANDS = ['inbound-request', 'outbound-request', 'release'];
/** Options whose default applies when the command runs, so that it depends on the other options. */
const COMPUTED = { server_cert: 'server.crt', remote_ip: 'localhost', receiver_ports: '5074,5075,5076,37000,47000' };

interface Row {
  readonly command: string;
  readonly option: string;
  readonly fallback: string;
  readonly older: string;
}

async function documented(): Promise<readonly Row[]> {
  const text = await readFile(join(REPOSITORY, 'docs', 'reference', 'protocol.md'), 'utf8');
  const rows = [...text.matchAll(/^\| `([a-z-]+)` \| `--(\w+)` \|(.*?)\|(.*?)\|/gm)];
  const plain = (cell = ''): string => cell.replaceAll('`', '').trim();
  return rows.map(([, command = '', option = '', fallback, older]) => {
    return { command, option, fallback: plain(fallback), older: plain(older) };
  });
}

s('the table lists every option, with its default', async () => {
  const config = await Config.load(join(REPOSITORY, 'cli'));
  const rows = await documented();
  for (const name of COMMANDS) {
    const flags = config.findCommand(`s2uc:${name}`, { must: true }).flags;
    const common = config.findCommand('stream:ls', { must: true }).flags;
    const own = Object.values(flags).filter(
      (flag) => !(flag.name in common && flag.name !== 's2cs') && flag.name !== 'access-token',
    );
    const listed = rows.filter(({ command }) => command === name);
    const names = own.map((flag) => flag.name.replaceAll('-', '_')).sort();
    assert.equal(listed.map(({ option }) => option).sort(), names, name);
    for (const { option, fallback } of listed) {
      const flag = own.find((one) => one.name === option.replaceAll('_', '-'));
      const value = flag && 'default' in flag ? (flag.default as string | number | readonly string[]) : undefined;
      if (value !== undefined) assert.is([value].flat().join(), fallback, `${name} --${option}`);
      else if (option in COMPUTED) {
        assert.is(COMPUTED[option as keyof typeof COMPUTED], fallback);
        assert.match(flag?.summary ?? '', fallback);
      }
    }
  }
});

s('defaults that the older client has are the same here', async () => {
  for (const { command, option, fallback, older } of await documented()) {
    if (older === '–' || fallback === 'none') continue;
    assert.is(fallback, older, `${command} --${option}`);
  }
});

const VALUES: Readonly<Record<string, string>> = {
  s2cs: '127.0.0.1:1',
  num_conn: '2',
  rate: '5',
  remote_ip: '127.0.0.1',
};

s('every option is accepted with underscores and with dashes', async ({ home }) => {
  await writeFile(join(home.path, 'own.crt'), '');
  for (const command of COMMANDS) {
    const options = (await documented()).filter(
      (row) => row.command === command && (row.older !== '–' || row.option === 's2cs'),
    );
    for (const separator of ['_', '-']) {
      const flags = options.flatMap(({ option }) => {
        const value =
          VALUES[option] ?? (option === 'server_cert' ? 'own.crt' : option === 'receiver_ports' ? '9,10' : 'x');
        return [`--${option.replaceAll('_', separator)}`, value];
      });
      const args = command === 'inbound-request' ? [] : ['some-uid-0001'];
      const failure = await home.failure('s2uc', command, ...args, ...flags);
      assert.is(failure.code, 'SCI_S2CS_UNREACHABLE', `${command}: ${failure.message}`);
    }
  }
});

s('inbound-request needs no option, and outbound-request needs the listeners of the inbound side', async ({ home }) => {
  const inbound = await home.failure('s2uc', 'inbound-request', '--s2cs', '127.0.0.1:1');
  assert.is(inbound.code, 'SCI_S2CS_UNREACHABLE', inbound.message);
  const outbound = ['s2uc', 'outbound-request', 'some-uid-0001', '--s2cs', '127.0.0.1:1'];
  assert.is((await home.failure(...outbound)).code, 'SCI_TARGETS_INVALID');
  assert.is((await home.failure(...outbound, '--remote_ip', '127.0.0.1')).code, 'SCI_S2CS_UNREACHABLE');
});

s('server.crt in the working directory is trusted by default', async ({ home }) => {
  await using daemon = await Daemon.start();
  const release = ['s2uc', 'release', 'some-uid-0001', '--s2cs', daemon.address];
  assert.is((await home.failure(...release)).code, 'SCI_TLS_UNTRUSTED');
  await copyFile(daemon.certificate, join(home.path, 'server.crt'));
  assert.is((await home.failure(...release)).code, 'SCI_STREAM_NOT_FOUND');
});

s.run();
