/** `npm run test:faults` on a bare clone: installs and builds what is missing, then injects faults. See main.ts. */
import { prepareOrExit } from '../setup.js';

prepareOrExit();
await import('../../.build/test/faults/main.js');
