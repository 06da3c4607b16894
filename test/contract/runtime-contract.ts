/** The tests of every runtime. One small file per runtime, as for the cells of the matrix. */
import { runtimeContract, type RuntimeFixture } from '@scistream/core/testing';
import { suite } from 'uvu';
import { closeEngine, IMAGE } from './engines.js';

const SERVER =
  "require('node:net').createServer((c) => c.end('hello')).listen('x.sock'); process.on('SIGTERM', () => process.exit());";

/** Registers and runs the tests of one runtime. @param node Program that runs JavaScript there */
export function runtimeTests(fixture: RuntimeFixture, node = 'node'): void {
  const s = suite(`runtime contract of ${fixture.id}`);
  s.after(closeEngine);
  runtimeContract({
    name: fixture.id,
    test: (name, run) => void s(name, run),
    fixture,
    program: { image: IMAGE, executable: 'sh', server: { executable: node, args: ['-e', SERVER] } },
  });
  s.run();
}
