import { setMaxListeners } from 'node:events';
import { resolve } from 'node:path';
import { Flags } from '@oclif/core';
import { parseDuration, silentLogger, SciStreamError, type Logger } from '@scistream/core';
import type { S2ucConfig } from '@scistream/core/config';
import type { ProgressEvent, S2UC, TrustSettings } from '@scistream/core/client';
import { BaseCommand, type CommonFlags } from '../../base-command.js';

/** Exit codes that shells expect after a signal. */
const EXIT_CODES = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 };
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** The interruption message of commands that create streams. */
export const MADE_INTERRUPTED = 'Interrupted; the partial stream was released.';

const TRUST = 'HOST:PORT SERVER';

/** Deadline of calls, and trust settings for control servers given as host:port. */
interface ClientFlags extends CommonFlags {
  readonly wait?: string | undefined;
  readonly ca?: string | undefined;
  readonly fingerprint?: string | undefined;
  readonly insecure?: boolean | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  readonly 'token-file'?: string | undefined;
  /** Name of an environment variable; set only by legacy commands. */
  readonly 'token-env'?: string | undefined;
}

/** Flag for commands that look up a stream: control servers besides those of the configuration and the journal. */
export const serverFlag = {
  s2cs: Flags.string({
    summary: 'also query this control server; may be repeated',
    helpValue: 'host:port[#sha256:…]',
    multiple: true,
    multipleNonGreedy: true,
  }),
};

/** Base class of the commands that talk to control servers. */
export abstract class StreamCommand extends BaseCommand {
  static override baseFlags = {
    ...BaseCommand.baseFlags,
    wait: Flags.string({
      summary: 'maximum time for an answer of a control server; default: 10s',
      helpGroup: 'GLOBAL',
    }),
    ca: Flags.string({
      summary: 'PEM file of the CA to trust',
      helpValue: 'FILE',
      helpGroup: TRUST,
      env: 'SCISTREAM_CA',
    }),
    fingerprint: Flags.string({
      summary: 'trust only the certificate with this SHA-256 fingerprint',
      helpValue: 'sha256:…',
      helpGroup: TRUST,
    }),
    insecure: Flags.boolean({ summary: 'use plain text without TLS', helpGroup: TRUST }),
    cert: Flags.string({ summary: 'client certificate (PEM); requires --key', helpValue: 'FILE', helpGroup: TRUST }),
    key: Flags.string({ summary: 'key of the client certificate (PEM)', helpValue: 'FILE', helpGroup: TRUST }),
    'token-file': Flags.string({
      summary: 'file with the access token',
      helpValue: 'FILE',
      helpGroup: TRUST,
      env: 'SCISTREAM_TOKEN_FILE',
    }),
  };

  /** The error message after an interruption; undefined: the command ends without an error. */
  protected readonly interruption: string | undefined = 'Interrupted.';
  #interrupted: number | undefined;

  /**
   * Runs `work` with a client that knows the configured facilities, then closes the client. Ctrl-C aborts the signal;
   * the command then fails with the error of `work` and exit code 130.
   */
  protected async withClient<T>(
    flags: ClientFlags,
    work: (client: S2UC, config: S2ucConfig, signal: AbortSignal) => Promise<T>,
    onProgress?: (event: ProgressEvent) => void,
  ): Promise<T> {
    const [{ S2UC }, { config }] = await Promise.all([
      import('@scistream/core/client'),
      this.loadConfig('s2uc', { config: flags.config }),
    ]);
    const interrupt = new AbortController();
    // One signal serves requests for many streams.
    setMaxListeners(0, interrupt.signal);
    const onInterrupt = (name: keyof typeof EXIT_CODES): void => {
      if (this.#interrupted !== undefined) process.exit(EXIT_CODES[name]);
      this.#interrupted = EXIT_CODES[name];
      this.progress.note('Interrupted, cleaning up. Press Ctrl-C again to exit immediately.');
      interrupt.abort(new SciStreamError('SCI_CLIENT_GONE', this.interruption ?? 'Interrupted.'));
    };
    for (const name of SIGNALS) process.on(name, onInterrupt);
    const options = {
      log: this.#logger(flags['verbose'] === true),
      trust: trustOf(flags),
      deadlineMs: flags.wait === undefined ? undefined : parseDuration(flags.wait),
      ...(onProgress && { onProgress }),
    };
    const client = new S2UC(config, options);
    try {
      return await work(client, config, interrupt.signal);
    } finally {
      for (const name of SIGNALS) process.off(name, onInterrupt);
      client.close();
    }
  }

  protected override async catch(error: Error): Promise<void> {
    if (this.#interrupted === undefined || this.interruption !== undefined) await super.catch(error);
    if (this.#interrupted !== undefined) process.exitCode = this.#interrupted;
  }

  /** Prints warnings and errors as notes; with `--verbose` also info and debug messages. */
  #logger(verbose: boolean): Logger {
    const line = (fields: object, message: string): string => `${message} ${JSON.stringify(fields)}`;
    const note = (fields: object, message: string): void => this.progress.note(line(fields, message));
    const warn = (fields: object, message: string): void => this.progress.warn(`Warning: ${line(fields, message)}`);
    return { ...silentLogger, warn, error: warn, ...(verbose && { debug: note, info: note }) };
  }
}

function trustOf({
  ca,
  fingerprint,
  insecure,
  cert,
  key,
  'token-file': file,
  'token-env': env,
}: ClientFlags): TrustSettings {
  const token = file ? { file: resolve(file) } : env ? { env } : undefined;
  const own = { cert: cert && resolve(cert), key: key && resolve(key) };
  return { ca: ca && resolve(ca), fingerprint, insecure, token, ...own };
}
