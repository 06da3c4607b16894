/** `npm run demo` on a bare clone: installs and builds what is missing, then runs the demo. */
import { ensureBuilt, ensureInstalled, provision, searchPath, SetupError } from '../../test/setup.js';

try {
  ensureInstalled();
  ensureBuilt('examples/demo');
  const asked = process.argv.join(' ').toLowerCase();
  provision(['haproxy', 'nginx', 'stunnel'].filter((program) => asked.includes(program)));
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  process.stderr.write(`setup: ${error.message}\n`);
  process.exit(1);
}
process.env.PATH = searchPath;
await import('./dist/main.js');
