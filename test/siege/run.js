/** `npm run test:siege` on a bare clone: installs and builds what is missing, then attacks. See main.ts. */
import { prepareOrExit } from '../setup.js';

prepareOrExit();
await import('../../.build/test/siege/main.js');
