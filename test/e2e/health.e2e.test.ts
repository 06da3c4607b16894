// needs: python3-grpc
// suite: full
/** Health as real checkers query it: gRPC's own implementation, and HTTP/2 on the socket of a data server. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Daemon, GatewayDaemon } from '../support/daemon.js';

const s = suite('health, with a gRPC client');

/** Prints the answers to Check, for the whole server and for an unknown service, and the first of Watch, in hex. */
const CHECKER = `
import grpc, sys
credentials = grpc.ssl_channel_credentials(root_certificates=open(sys.argv[2], 'rb').read())
channel = grpc.secure_channel(sys.argv[1], credentials)
raw = lambda data: data
check = channel.unary_unary('/grpc.health.v1.Health/Check', raw, raw)
watch = channel.unary_stream('/grpc.health.v1.Health/Watch', raw, raw)
print(check(b'', timeout=60).hex())
try:
    check(b'\\x0a\\x02no', timeout=60)
except grpc.RpcError as error:
    print(error.code().name)
print(next(watch(b'', timeout=60)).hex())
`;

s('grpcio sees that the control server serves, without credentials', async () => {
  await using server = await Daemon.start();
  const args = ['-c', CHECKER, server.address, server.certificate];
  const python = spawn('/usr/bin/python3', args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const exit = once(python, 'exit');
  assert.is(await text(python.stdout), '0801\nNOT_FOUND\n0801\n');
  assert.equal(await exit, [0, null]);
});

s('a data server reports its health on its socket, to callers other than its control server', async () => {
  await using gateway = await GatewayDaemon.start('dtn1');
  const path = gateway.address.replace(/^unix:/, '');
  const session = connectHttp2('http://s2ds', { createConnection: () => connect(path) });
  const stream = session.request({ ':path': '/readyz' });
  const [headers] = (await once(stream, 'response')) as [Record<string, unknown>];
  assert.equal([headers[':status'], await text(stream)], [200, '{"status":"ready"}\n']);
  session.destroy();
});

s.run();
