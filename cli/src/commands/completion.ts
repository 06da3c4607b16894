import { Args } from '@oclif/core';
import { BaseCommand } from '../base-command.js';

/** Each script asks `scistream complete` for the word at the cursor, and completes file names where that knows nothing. */
const SCRIPTS = {
  bash: `_scistream() {
  mapfile -t COMPREPLY < <(scistream complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _scistream scistream
`,
  zsh: `#compdef scistream
_scistream() {
  local -a found
  found=("\${(@f)$(scistream complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -n "$found" ]]; then compadd -- "\${found[@]}"; else _files; fi
}
compdef _scistream scistream
`,
  fish: `function __scistream_complete
  set -l words (commandline -opc)
  set -l current (commandline -ct)
  set -l found (scistream complete -- $words[2..-1] "$current" 2>/dev/null)
  if test (count $found) -gt 0
    printf '%s\\n' $found
  else
    __fish_complete_path "$current"
  end
end
complete -c scistream -f -a '(__scistream_complete)'
`,
} as const;

const isShell = (text: string): text is keyof typeof SCRIPTS => Object.hasOwn(SCRIPTS, text);

export default class Completion extends BaseCommand {
  static override enableJsonFlag = false;
  static override summary = 'print a script that completes commands in your shell';
  static override description =
    'Completes commands, flags, and the names of your facilities, streams, proxies and runtimes.';
  static override args = {
    shell: Args.string({ description: 'your shell', options: Object.keys(SCRIPTS), required: true }),
  };
  static override examples = [
    '# in ~/.bashrc:\nsource <(<%= config.bin %> <%= command.id %> bash)',
    '# in ~/.zshrc, after compinit:\nsource <(<%= config.bin %> <%= command.id %> zsh)',
    '<%= config.bin %> <%= command.id %> fish > ~/.config/fish/completions/scistream.fish',
  ];

  async run(): Promise<void> {
    const { args } = await this.parse(Completion);
    if (isShell(args.shell)) await this.print(SCRIPTS[args.shell].trimEnd(), undefined);
  }
}
