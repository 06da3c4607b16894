import { Command, Flags } from '@oclif/core';
import type { ConfigKind, LoadedConfig } from '@scistream/core/config';
import { forTerminal, jsonText, printJson, reportError, writeOut } from './output.js';
import { createProgress, type Progress } from './progress.js';

/** The part of the parsed flags that the base command uses. */
export interface CommonFlags {
  readonly config?: string | undefined;
  readonly [flag: string]: unknown;
}

/**
 * Base class of every command: the common flags, configuration loading, output and error reporting. A command returns
 * its result from `run` (printed with `--json`) and prints the human form with `this.log`, which is silent with
 * `--json`. Heavy modules are imported inside `run`, so that `--help` and `--version` start fast.
 */
export abstract class BaseCommand extends Command {
  static override enableJsonFlag = true;

  static override baseFlags = {
    config: Flags.string({
      summary: 'use this configuration file instead of searching for one',
      helpValue: 'F',
      env: 'SCISTREAM_CONFIG',
      helpGroup: 'GLOBAL',
    }),
    json: Flags.boolean({ summary: 'print the result as JSON', helpGroup: 'GLOBAL' }),
    quiet: Flags.boolean({ summary: 'hide progress, hints and warnings', helpGroup: 'GLOBAL' }),
    verbose: Flags.boolean({ summary: 'print debug messages and stack traces', helpGroup: 'GLOBAL' }),
  };

  #progress: Progress | undefined;

  /** Progress on stderr; silent with `--quiet` and when stderr is not a terminal. */
  protected get progress(): Progress {
    return (this.#progress ??= createProgress(this.argv.includes('--quiet')));
  }

  /**
   * Loads the configuration of a kind from `--config`, or from the default locations.
   * @param flags All flags of the command; a flag that names a configuration key overrides that key.
   * @throws the errors of `loadConfig` of @scistream/core/config
   */
  protected async loadConfig<Kind extends ConfigKind>(kind: Kind, flags: CommonFlags): Promise<LoadedConfig<Kind>> {
    const { loadConfig } = await import('@scistream/core/config');
    return await loadConfig(kind, { file: flags.config, overrides: scalars(flags) });
  }

  /** Prints text on stdout; silent with `--json`. */
  override log(message = ''): void {
    super.log(forTerminal(message));
  }

  protected override logJson(document: unknown): void {
    printJson(document);
  }

  /**
   * Prints a result, and returns when it is written. For results that must not be lost; other commands return theirs.
   * @param document The form for `--json`, on one line if not `pretty`.
   * @throws SCI_OUTPUT_WRITE
   */
  protected async print(text: string, document: unknown, pretty = true): Promise<void> {
    await writeOut(this.jsonEnabled() ? jsonText(document, pretty) : `${forTerminal(text)}\n`);
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
