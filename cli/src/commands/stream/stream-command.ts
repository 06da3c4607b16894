import { setMaxListeners } from 'node:events';
import { resolve } from 'node:path';
import { Flags } from '@oclif/core';
import { parseDuration, silentLogger, SciStreamError, type Logger } from '@scistream/core';
import { toSciStreamError } from '@scistream/core/terminal';
import type { S2ucConfig } from '@scistream/core/config';
import type { ProgressEvent, S2UC, StreamHandle, TrustSettings } from '@scistream/core/client';
import { BaseCommand, type CommonFlags } from '../../base-command.js';
import { jsonText } from '../../output.js';

/** Exit codes that shells expect after a signal. */
const EXIT_CODES = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 };
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

const RELEASED = 'The stream was released.';

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

/** Flags for commands that act on one stream. */
export const streamFlags = {
  ...serverFlag,
  owner: Flags.string({ summary: 'only streams of this owner; for admins', helpValue: 'ISSUER:SUBJECT' }),
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

  /** Whether an interruption is an error. Otherwise the command ends silently. */
  protected readonly interruptionIsError: boolean = true;
  /** What the command still does after an interruption; undefined: nothing that takes time. */
  protected readonly afterInterrupt: string | undefined;
  #interrupted: number | undefined;
  /** The stream that the command makes. */
  #uid: string | undefined;
  /** Whether the result of the command has been printed, so that the stream stays. */
  #handedOver = false;

  /**
   * Runs `work` with a client that knows the configured facilities, then closes the client. SIGINT, SIGTERM and SIGHUP
   * abort the signal. The exit code is then 128 and the number of the signal, whatever the result of `work`.
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
      if (this.#interrupted !== undefined || this.#handedOver) {
        if (this.#uid !== undefined) process.stderr.write(`The stream may remain. Release it: ${downOf(this.#uid)}\n`);
        process.exit(EXIT_CODES[name]);
      }
      this.#interrupted = EXIT_CODES[name];
      const { afterInterrupt } = this;
      if (afterInterrupt) this.progress.note(`Interrupted, ${afterInterrupt}. Press Ctrl-C again to exit immediately.`);
      interrupt.abort(new SciStreamError('SCI_CLIENT_GONE', 'Interrupted.'));
    };
    for (const name of SIGNALS) process.on(name, onInterrupt);
    const options = {
      log: this.#logger(flags['verbose'] === true),
      trust: trustOf(flags),
      override: trustOf(this.#typed(flags)),
      deadlineMs: flags.wait === undefined ? undefined : parseDuration(flags.wait),
      onProgress: (event: ProgressEvent) => {
        if (event.kind === 'uid') this.#uid = event.uid;
        onProgress?.(event);
      },
    };
    const client = new S2UC(config, options);
    try {
      return await work(client, config, interrupt.signal);
    } catch (error) {
      // The library throws the unchanged reason only if nothing remains.
      if (error !== interrupt.signal.reason || this.#uid === undefined) throw error;
      throw new SciStreamError('SCI_CLIENT_GONE', 'Interrupted. Nothing of the stream remains.');
    } finally {
      for (const name of SIGNALS) process.off(name, onInterrupt);
      client.close();
    }
  }

  /**
   * Prints the result of a command that made a stream. Releases the stream if the command was interrupted or the output
   * cannot be written, because nobody else knows its listeners or its ticket.
   * @throws SCI_OUTPUT_WRITE, the reason of `signal`
   */
  protected async handOver(handle: StreamHandle, signal: AbortSignal, text: string, document: unknown): Promise<void> {
    try {
      signal.throwIfAborted();
      await this.print(text, document);
      this.#handedOver = true;
    } catch (cause) {
      const { code, message, suggestions } = toSciStreamError(cause);
      const left = await handle.down().then(
        () => undefined,
        (error: unknown) => `Not released: ${toSciStreamError(error).message} Retry with: ${downOf(handle.uid)}`,
      );
      const text = left === undefined ? `${message} ${RELEASED}` : message;
      throw new SciStreamError(code, text, { cause, suggestions: [...suggestions, ...(left ? [left] : [])] });
    }
  }

  protected override async catch(error: Error): Promise<void> {
    if (this.#interrupted === undefined || this.interruptionIsError) await super.catch(error);
  }

  protected override async finally(error: Error | undefined): Promise<void> {
    await super.finally(error);
    if (this.#interrupted !== undefined) process.exitCode = this.#interrupted;
  }

  /** The trust flags on the command line. A flag that an environment variable sets is only a default. */
  #typed(flags: ClientFlags): ClientFlags {
    const isTyped = (name: string): boolean =>
      this.argv.some((word) => word === `--${name}` || word.startsWith(`--${name}=`));
    return Object.fromEntries(Object.entries(flags).filter(([name]) => isTyped(name)));
  }

  /** Prints warnings and errors as notes; with `--verbose` also info and debug messages. */
  #logger(verbose: boolean): Logger {
    const line = (fields: object, message: string): string => `${message} ${jsonText(fields, false).trimEnd()}`;
    const note = (fields: object, message: string): void => this.progress.note(line(fields, message));
    const warn = (fields: object, message: string): void => this.progress.warn(`Warning: ${line(fields, message)}`);
    return { ...silentLogger, warn, error: warn, ...(verbose && { debug: note, info: note }) };
  }
}

const downOf = (uid: string): string => `scistream stream down ${uid}`;

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
