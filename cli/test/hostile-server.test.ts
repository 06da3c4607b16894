// suite: full
/** Whatever a control server answers, no output of a command contains raw control or formatting characters. */
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer, type Http2Server } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { create, ScalarType, type DescMessage, type MessageShape } from '@bufbuild/protobuf';
import { Code, ConnectError, type ConnectRouter } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { v1 } from '@scistream/core/wire';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Home } from './support/cli.js';

/** A forged line, an escape sequence, its C1 form, a delete, a right-to-left override and a line separator. */
const EVIL = 'x\nok  forged: line\r\u001b[2J\u009b31m\u007f\u202e\u2028y';
const RAW = /(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u;
const UID = 'aaaaaaaa-0000-4000-8000-000000000000';

/** A message whose texts are all {@link EVIL}, except for the given fields. */
function evil<Desc extends DescMessage>(desc: Desc, given: Readonly<Record<string, unknown>> = {}): MessageShape<Desc> {
  const message = create(desc);
  for (const field of desc.fields) {
    const inner = field.fieldKind === 'message' || field.fieldKind === 'list' ? field.message : undefined;
    const scalar = field.fieldKind === 'scalar' || field.fieldKind === 'list' ? field.scalar : undefined;
    const one = inner ? evil(inner, given) : scalar === ScalarType.STRING ? EVIL : undefined;
    const value = given[field.localName] ?? (field.fieldKind === 'list' && one !== undefined ? [one] : one);
    if (value !== undefined) Reflect.set(message, field.localName, value);
  }
  return message;
}

function routes(router: ConnectRouter): void {
  const stream = evil(v1.StreamSchema, { uid: UID });
  const fail = (): never => {
    const error = new ConnectError(EVIL, Code.PermissionDenied, { 'scistream-code': 'SCI_FORBIDDEN' });
    error.details.push({ desc: v1.ErrorInfoSchema, value: evil(v1.ErrorInfoSchema, { code: 'SCI_FORBIDDEN' }) });
    throw error;
  };
  router.service(v1.Streams, {
    describeServer: () => evil(v1.ServerDescriptionSchema),
    whoAmI: () => evil(v1.CallerSchema),
    list: () => evil(v1.StreamListSchema, { uid: UID }),
    get: () => stream,
    events: () => evil(v1.EventListSchema),
    drainGateway: fail,
    async *followEvents() {
      yield evil(v1.FollowedEventSchema);
    },
    async *watch() {
      yield stream;
      yield evil(v1.StreamSchema, { uid: UID, state: 'released' });
    },
  });
}

const s = suite<{ home: Home; server: Http2Server }>('output for a hostile control server');

s.before(async (context) => {
  context.home = await Home.create();
  context.server = createServer(connectNodeAdapter({ routes })).listen(0, '127.0.0.1');
  await once(context.server, 'listening');
  const { port } = context.server.address() as AddressInfo;
  const facilities = `facilities: { aps: { s2cs: "127.0.0.1:${port}", insecure: true } }\n`;
  await writeFile(join(context.home.path, 's2uc.yaml'), facilities, { mode: 0o600 });
});
s.after(async ({ home, server }) => {
  server.close();
  await home.remove();
});

const COMMANDS: readonly (readonly string[])[] = [
  ['stream', 'events', UID],
  ['stream', 'events', UID, '--follow'],
  ['stream', 'events', '--follow', '--all'],
  ['stream', 'ls', '-o', 'wide'],
  ['stream', 'status', UID],
  ['stream', 'ls'],
  ['stream', 'watch', UID],
  ['gateway', 'ls'],
  ['gateway', 'drain', 'dtn1', '--s2cs', 'aps', '--verbose'],
  ['whoami', 'aps'],
  ['doctor'],
];
s('no output of a command contains raw characters of a server', async ({ home }) => {
  for (const args of COMMANDS) {
    for (const more of [[], ['--json']]) {
      const { stdout, stderr } = await home.run([...args, '--config', 's2uc.yaml', ...more]);
      const all = stdout + stderr;
      assert.ok(all.includes('forged'), `${args.join(' ')} shows the answer: ${all}`);
      assert.not.match(all, RAW, args.join(' '));
      assert.not.match(all, /^ok {2}forged/m, `${args.join(' ')}: a forged line`);
    }
  }
});

s.run();
