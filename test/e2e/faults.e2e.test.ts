// needs: root, ip, netns, haproxy
// suite: full
/** The short selection of the fault suite (`npm run test:faults`): every promise in it must be kept. */
import { suite } from 'uvu';
import { FAULTS } from '../faults/all.js';

const s = suite('faults');

for (const fault of FAULTS.filter(({ short }) => short)) {
  s(fault.fault, async () => {
    await fault.run({ full: false, say: () => undefined });
  });
}

s.run();
