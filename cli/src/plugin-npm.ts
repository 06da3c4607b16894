import { commands } from '@oclif/plugin-plugins';

/**
 * Runs `plugins:install` or `plugins:uninstall` of @oclif/plugin-plugins in a separate process, because it prints npm
 * output on stdout. Usage: node plugin-npm.js install|uninstall WHAT ROOT, where ROOT is the folder of the CLI.
 */
const [verb, what = '', root = ''] = process.argv.slice(2);
const command = verb === 'install' ? commands['plugins:install'] : commands['plugins:uninstall'];

try {
  await command.run([what], { root });
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
