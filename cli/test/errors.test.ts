import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Home } from './support/cli.js';

const s = suite<{ home: Home }>('errors and output of commands');

s.before.each(async (context) => {
  context.home = await Home.create();
});
s.after.each(({ home }) => home.remove());

s('an error is one sentence with its code, then suggestions, on stderr', async ({ home }) => {
  const { exitCode, stdout, stderr } = await home.run(['s2cs', '--check', '--ports', '9-1']);
  assert.is(exitCode, 2);
  assert.is(stdout, '');
  assert.is(
    stderr,
    'Error: Configuration of s2cs: gateways.0.ports: "9-1" is not a port range: it is reversed. [SCI_PORT_RANGE_INVALID]\nTry: Write 1-9.\n',
  );
});

s('with --json an error is one document on stdout, and stderr stays empty', async ({ home }) => {
  const { exitCode, stdout, stderr } = await home.run(['s2cs', '--check', '--ports', '9-1', '--json']);
  assert.is(exitCode, 2);
  assert.is(stderr, '');
  const { error } = JSON.parse(stdout) as { error: Record<string, unknown> };
  assert.equal(Object.keys(error), ['code', 'message', 'suggestions', 'ref']);
  assert.is(error.code, 'SCI_PORT_RANGE_INVALID');
});

const misused: readonly [what: string, args: string[], text: RegExp, suggestion: string][] = [
  ['an unknown flag', ['config', 'show', '--colour'], /--colour/, 'scistream config show --help'],
  ['a flag without its value', ['config', 'show', '--kind'], /--kind/, 'scistream config show --help'],
  ['a missing argument', ['plugin', 'inspect'], /plugin/, 'scistream plugin inspect --help'],
  ['one where a flag may be repeated', ['stream', 'down'], /1 required arg: ref/, 'scistream stream down --help'],
  ['a missing flag', ['policy', 'check'], /^Missing required flag as/, 'scistream policy check --help'],
  ['an unknown command', ['confg', 'show'], /"confg show"/, 'scistream config show'],
  ['an unknown command of a topic', ['stream', 'bogus'], /"stream bogus"/, 'scistream stream --help'],
  ['a mistyped command of a topic', ['stream', 'statsu'], /"stream statsu"/, 'scistream stream status'],
];
for (const [what, args, text, suggestion] of misused) {
  s(`${what} is a usage error with a suggestion`, async ({ home }) => {
    const { exitCode, code, message, suggestions } = await home.failure(...args);
    assert.equal([exitCode, code], [2, 'SCI_USAGE']);
    assert.match(message, text);
    assert.not.match(message, /\n|The following|Note:/);
    assert.ok(suggestions.includes(suggestion), suggestions.join());
  });
}

/** The exit code of a command whose stdout is closed. */
async function exitUnread(home: Home, args: readonly string[]): Promise<unknown> {
  const child = home.start('run.js', args);
  child.stdout?.destroy();
  const [exitCode] = (await once(child, 'close')) as [number | null];
  return exitCode;
}

s('a closed stdout is an error of its own, and an earlier error keeps its exit code', async ({ home }) => {
  for (const args of [['proxies'], ['stream', 'ls', '--json'], ['stream', 'up', '--help'], []]) {
    assert.is(await exitUnread(home, args), 74, args.join(' '));
  }
  assert.is(await exitUnread(home, ['stream', 'status', '--json']), 2);
});

s('many streams on one command line cause no warnings of Node.js', async ({ home }) => {
  await writeFile(join(home.path, 's2uc.conf'), 'facilities: { aps: { s2cs: "127.0.0.1:1", insecure: true } }');
  const refs = Array.from({ length: 12 }, (_, i) => `tomo${i}`);
  const { exitCode, stderr } = await home.run(['stream', 'down', ...refs, '--config', 's2uc.conf']);
  assert.is(exitCode, 7);
  assert.match(stderr, /^Error: tomo0: /);
  assert.not.match(stderr, 'Warning');
});

s('stack traces are printed only with --verbose', async ({ home }) => {
  const args = ['s2cs', '--check', '--config', 'absent.conf'];
  assert.not.match((await home.run(args)).stderr, '    at ');
  const { exitCode, stderr } = await home.run([...args, '--verbose']);
  assert.is(exitCode, 2);
  assert.match(stderr, /\[SCI_CONFIG_NOT_FOUND\]/);
  assert.match(stderr, /    at .*\nCaused by: .*ENOENT/s);
});

s('an unexpected error is SCI_BUG with exit code 70', async ({ home }) => {
  const broken = 'globalThis.structuredClone = () => { throw new TypeError("no such luck"); };';
  const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(broken)}` };
  const { exitCode, stderr } = await home.run(['s2cs', '--check'], env);
  assert.is(exitCode, 70);
  assert.match(stderr, /^Error: .*no such luck.*\[SCI_BUG\]\nTry: /);
});

s('an error outside a command is SCI_BUG too', async ({ home }) => {
  const broken = `const wait = () => {
    if (process.listenerCount("uncaughtException") > 0) throw new TypeError("out of the blue");
    setImmediate(wait);
  };
  wait();`;
  const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(broken)}` };
  const { exitCode, stderr } = await home.run(['proxies'], env);
  assert.is(exitCode, 70);
  assert.match(stderr, /out of the blue.*\[SCI_BUG\]/);
});

s('no colour and no progress without a terminal', async ({ home }) => {
  const { stdout, stderr } = await home.run(['proxies']);
  assert.match(stdout, /^relay +built-in +/m);
  assert.not.match(stdout, '\u001b');
  assert.is(stderr, '');
});

s('version and help succeed, and every command documents its common flags', async ({ home }) => {
  assert.match((await home.run(['--version'])).stdout, /^@scistream\/cli\/\d/);
  for (const args of [['config', 'show'], ['plugin', 'install'], ['s2cs'], ['proxies']]) {
    const { exitCode, stdout } = await home.run([...args, '--help']);
    assert.is(exitCode, 0);
    for (const part of ['--config', '--json', '--quiet', '--verbose', 'EXAMPLES']) assert.match(stdout, part);
  }
});

s('proxies and runtimes list the built-in ones', async ({ home }) => {
  const ids = async (command: string): Promise<(readonly [string, boolean])[]> =>
    ((await home.json(command)) as { id: string; usable: boolean }[]).map(({ id, usable }) => [id, usable]);
  // HAProxy may be missing on a machine that runs only the fast tests; offers.real.test checks it.
  const [relay, haproxy] = await ids('proxies');
  assert.equal([relay, haproxy?.[0]], [['relay', true], 'haproxy']);
  assert.equal((await ids('runtimes')).slice(0, 1), [['process', true]]);
});

s('a command accepts the --wait that it advises when a server does not answer in time', async ({ home }) => {
  const silent = createServer().listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const { port } = silent.address() as AddressInfo;
  const address = `127.0.0.1:${port}`;
  try {
    const slow = { facilities: { aps: { s2cs: address, insecure: true } } };
    await writeFile(join(home.path, 'slow.yaml'), JSON.stringify(slow), { mode: 0o600 });
    const begun = performance.now();
    for (const command of ['gateway ls', 'stream ls', 's2uc release some-uid-0001']) {
      const args = [...command.split(' '), '--s2cs', address, '--insecure', '--wait', '500ms'];
      const failure = await home.failure(...args);
      assert.is(failure.code, 'SCI_DEADLINE', `${command}: ${failure.message}`);
      assert.match(failure.suggestions.join(), '--wait');
    }
    const { stdout } = await home.run(['doctor', '--config', 'slow.yaml', '--wait', '500ms']);
    assert.match(stdout, /problem +aps: .*500 ms/);
    assert.ok(performance.now() - begun < 40_000, 'all four took less than the default of 10 s each');
  } finally {
    silent.close();
  }
});

s.run();
