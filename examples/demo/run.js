/** `npm run demo` on a bare clone: installs and builds what is missing, then runs the demo itself. */
import { ensureBuilt, ensureInstalled, provision, SetupError } from '../../test/setup.js';

try {
  ensureInstalled();
  ensureBuilt('examples/demo');
  if (process.argv.some((word) => word.includes('haproxy'))) provision(['haproxy']);
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  process.stderr.write(`setup: ${error.message}\n`);
  process.exit(1);
}
await import('./dist/main.js');
