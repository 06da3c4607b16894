/** `npm run bench` on a bare clone: installs and builds what is missing, then measures. See main.ts for the flags. */
import { prepareOrExit } from '../setup.js';

prepareOrExit();
await import('../../.build/test/bench/main.js');
