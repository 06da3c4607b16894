/** Directories of the user, as the XDG Base Directory Specification defines them: a relative path counts as unset. */
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';

const base = (value: string | undefined, ...usual: string[]): string =>
  value !== undefined && isAbsolute(value) ? value : join(homedir(), ...usual);

/** Where programs of the user keep state: `$XDG_STATE_HOME/scistream` or `~/.local/state/scistream`. */
export const stateHome = (env: NodeJS.ProcessEnv): string =>
  join(base(env['XDG_STATE_HOME'], '.local', 'state'), 'scistream');

/** Where the user's configuration is: `$SCISTREAM_CONFIG_DIR`, `$XDG_CONFIG_HOME/scistream` or `~/.config/scistream`. */
export const configHome = (env: NodeJS.ProcessEnv): string =>
  env['SCISTREAM_CONFIG_DIR'] || join(base(env['XDG_CONFIG_HOME'], '.config'), 'scistream');
