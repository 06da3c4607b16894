import { Command } from '@oclif/core';
import { completions } from '../completion.js';

/** Called by the scripts of `scistream completion`: prints what the last word can become, one word per line. */
export default class Complete extends Command {
  static override hidden = true;
  static override strict = false;
  static override summary = 'complete a command line';

  async run(): Promise<void> {
    const found = await completions(this.argv.slice(this.argv[0] === '--' ? 1 : 0), this.config);
    if (found.length > 0) this.log(found.join('\n'));
  }
}
