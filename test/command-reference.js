/** The text of docs/reference/commands.md: what every command answers to `--help`. Needs a build of the CLI. */
import { join } from 'node:path';
import { CommandHelp, Config } from '@oclif/core';
import { root } from './setup.js';

const WIDTH = 110;

export async function commandsPage() {
  const config = await Config.load({ root: join(root, 'cli') });
  const commands = config.commands
    .filter(({ hidden }) => !hidden)
    .map((command) => ({ ...command, id: command.id.replaceAll(':', config.topicSeparator) }))
    .sort((a, b) => (a.id < b.id ? -1 : 1));
  const sections = commands.map((command) => {
    const help = new CommandHelp(command, config, { maxWidth: WIDTH, stripAnsi: true }).generate();
    return `## ${config.bin} ${command.id}\n\n\`\`\`text\n${help.trimEnd()}\n\`\`\`\n`;
  });
  return [
    '<!-- Written by `npm run docs` from the commands themselves. -->\n# Commands\n',
    'What every command answers to `--help`. The programs `s2cs`, `s2ds` and `s2uc` are short for `scistream s2cs` and so on.\n',
    sections.join('\n'),
  ].join('\n');
}
