import type { Command } from '@oclif/core';
import PluginInspect from './plugin/inspect.js';
import PluginInstall from './plugin/install.js';
import PluginLs from './plugin/ls.js';
import PluginUninstall from './plugin/uninstall.js';

/** Every command, by its id (`:` between the words). Sorted; one line per command. */
export const COMMANDS: Record<string, Command.Class> = {
  'plugin:inspect': PluginInspect,
  'plugin:install': PluginInstall,
  'plugin:ls': PluginLs,
  'plugin:uninstall': PluginUninstall,
};
