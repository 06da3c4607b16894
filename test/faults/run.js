/** `npm run test:faults` on a bare clone: installs and builds what is missing, then makes faults. See main.ts. */
import { ensureBuilt, ensureInstalled, searchPath, SetupError } from '../setup.js';

try {
  ensureInstalled();
  ensureBuilt();
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  process.stderr.write(`setup: ${error.message}\n`);
  process.exit(1);
}
process.env.PATH = searchPath;
await import('../../.build/test/faults/main.js');
