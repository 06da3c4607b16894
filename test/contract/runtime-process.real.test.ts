/** The runtime of local processes keeps the contract of a runtime. */
import { processFixture, runtimeContract } from '@scistream/core/testing';
import { suite } from 'uvu';

const s = suite('runtime contract of process');

const SERVER =
  "require('node:net').createServer((c) => c.end('hello')).listen('x.sock'); process.on('SIGTERM', () => process.exit());";

runtimeContract({
  name: 'process',
  test: (name, run) => void s(name, run),
  fixture: processFixture,
  program: { image: 'none:1', executable: 'sh', server: { executable: process.execPath, args: ['-e', SERVER] } },
});

s.run();
