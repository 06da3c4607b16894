import { Command, Flags } from '@oclif/core';
import type { ConfigKind, LoadedConfig } from '@scistream/core/config';
import { printJson, reportError } from './output.js';
import { createProgress, type Progress } from './progress.js';

/** What `this.parse` returns in `flags`, as far as the base command is concerned. */
export interface CommonFlags {
  readonly config?: string | undefined;
  readonly [flag: string]: unknown;
}

/**
 * Base of every command: the four common flags, configuration on demand, output and errors as experience.md says. A
 * command returns its result from `run` (printed with `--json`) and prints the human form with `this.log`, which is
 * silent with `--json`. Everything heavy is imported inside `run`, so that help and version are there at once.
 */
export abstract class BaseCommand extends Command {
  static override enableJsonFlag = true;

  static override baseFlags = {
    config: Flags.string({
      summary: 'configuration file to use, and no other',
      helpValue: 'F',
      env: 'SCISTREAM_CONFIG',
      helpGroup: 'GLOBAL',
    }),
    quiet: Flags.boolean({ summary: 'no progress, hints and warnings', helpGroup: 'GLOBAL' }),
    verbose: Flags.boolean({ summary: 'say more; stack traces of errors', helpGroup: 'GLOBAL' }),
  };

  #progress: Progress | undefined;

  /** Progress on stderr, silent with `--quiet` and where stderr is no terminal. */
  protected get progress(): Progress {
    return (this.#progress ??= createProgress(this.argv.includes('--quiet')));
  }

  /**
   * Loads the configuration of a kind from `--config`, or from where it is found without.
   * @param flags All flags of the command: those that stand for a key of the configuration override it.
   * @throws what `loadConfig` of @scistream/core/config throws
   */
  protected async loadConfig<Kind extends ConfigKind>(kind: Kind, flags: CommonFlags): Promise<LoadedConfig<Kind>> {
    const { loadConfig } = await import('@scistream/core/config');
    return await loadConfig(kind, { file: flags.config, overrides: scalars(flags) });
  }

  protected override logJson(document: unknown): void {
    printJson(document);
  }

  protected override async catch(error: Error): Promise<void> {
    this.#progress?.idle();
    if ('code' in error && error.code === 'EEXIT') throw error;
    const verbose = this.argv.includes('--verbose');
    reportError(error, { json: this.jsonEnabled(), verbose, command: (this.id ?? '').replaceAll(':', ' ') });
  }

  protected override async finally(_error: Error | undefined): Promise<void> {
    this.#progress?.idle();
  }
}

function scalars(flags: Readonly<Record<string, unknown>>): Record<string, string | boolean> {
  const pairs = Object.entries(flags).flatMap(([key, value]) =>
    typeof value === 'string' || typeof value === 'boolean' ? [[key, value] as const] : [],
  );
  return Object.fromEntries(pairs);
}
