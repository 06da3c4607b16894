import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { Flags } from '@oclif/core';
import { formatAddress, SciStreamError, type Address } from '@scistream/core';
import type { StreamHandle } from '@scistream/core/client';
import { StreamCommand } from '../stream/stream-command.js';

/** The variable that takes the token of `--access-token`, so that no object in a log contains it. */
const TOKEN_VARIABLE = 'SCISTREAM_ACCESS_TOKEN';

/** The certificate file that the older client trusts by default, in the working directory. */
const SERVER_CERT = 'server.crt';
/** The ports of the producer that the older client uses by default. */
const RECEIVER_PORTS = ['5074', '5075', '5076', '37000', '47000'];

/** Flags of all legacy commands; underscores work as well as dashes. */
export const legacyFlags = {
  'server-cert': Flags.string({
    aliases: ['server_cert'],
    summary: `PEM file of the CA to trust; default: your file ${SERVER_CERT}, if it exists`,
    helpValue: 'FILE',
  }),
  scope: Flags.string({ summary: 'accepted for existing scripts; ignored', hidden: true }),
  'access-token': Flags.string({
    aliases: ['access_token'],
    summary: `access token, visible to other users of this machine; prefer ${TOKEN_VARIABLE} or --token-file`,
    hidden: true,
  }),
};

/** Flags of the legacy commands that create one side. */
export const sideFlags = {
  ...legacyFlags,
  'num-conn': Flags.integer({ aliases: ['num_conn'], summary: 'number of listeners', default: 5, min: 1 }),
  rate: Flags.integer({
    summary: 'accepted for existing scripts; ignored',
    default: 10_000,
    min: 0,
  }),
  'remote-ip': Flags.string({
    aliases: ['remote_ip'],
    summary: 'host of the producer, or of the inbound gateway; default: localhost',
  }),
  'receiver-ports': Flags.string({
    aliases: ['receiver_ports'],
    summary: `ports on that host; default: ${RECEIVER_PORTS.join()}`,
    multiple: true,
    multipleNonGreedy: true,
    delimiter: ',',
  }),
};

interface LegacyTrust {
  readonly s2cs: string | readonly string[];
  readonly ca?: string | undefined;
  readonly fingerprint?: string | undefined;
  readonly insecure?: boolean | undefined;
  readonly 'server-cert'?: string | undefined;
  readonly 'access-token'?: string | undefined;
}

/** The JSON output of the legacy commands. */
export interface SideResult {
  readonly uid: string;
  /** Control server, host:port. */
  readonly s2cs: string;
  readonly listeners: readonly string[];
  /** Current targets, one per listener. */
  readonly targets: readonly string[];
  /** Ticket of an encrypted inbound side; a secret. */
  readonly ticket?: string;
}

/** Base class of the legacy commands: one side at a time, with the same library as `stream`. */
export abstract class LegacyCommand extends StreamCommand {
  protected override readonly afterInterrupt = 'releasing the stream';

  /** Translates the legacy trust flags to those of {@link StreamCommand}. */
  protected trusting<T extends LegacyTrust>(flags: T) {
    const token = flags['access-token'];
    if (token !== undefined) {
      // Hide the token from other users of this machine, who can read the process title.
      process.title = `${(this.id ?? '').replaceAll(':', ' ')} --access-token …`;
      process.env[TOKEN_VARIABLE] = token;
    }
    const env = process.env[TOKEN_VARIABLE] ? TOKEN_VARIABLE : undefined;
    const ca = flags['server-cert'] ?? flags.ca ?? defaultCertificate(flags);
    return { ...flags, ...(ca && { ca: resolve(ca) }), ...(env && { 'token-env': env }) };
  }

  /** Prints one side. @throws as {@link StreamCommand.handOver} */
  protected async report(handle: StreamHandle, signal: AbortSignal, ticket?: string): Promise<void> {
    const { uid, initial } = handle;
    const { s2cs = '', listeners = [], targets = [] } = initial.from ?? initial.to ?? {};
    const secret = ticket === undefined ? [] : [`ticket: ${ticket}`];
    const text = [`uid: ${uid}`, ...listeners.map((listener) => `listeners: ${listener}`), ...secret].join('\n');
    const result: SideResult = { uid, s2cs, listeners, targets, ...(ticket !== undefined && { ticket }) };
    await this.handOver(handle, signal, text, result);
  }
}

/** The default of `--server_cert`, if no other trust is given. A file of another user is not trusted. */
function defaultCertificate({ fingerprint, insecure }: LegacyTrust): string | undefined {
  if (fingerprint !== undefined || insecure) return undefined;
  const found = statSync(SERVER_CERT, { throwIfNoEntry: false });
  return found && (found.uid === 0 || found.uid === process.getuid?.()) ? SERVER_CERT : undefined;
}

interface Producers {
  readonly 'remote-ip'?: string | undefined;
  readonly 'receiver-ports'?: readonly string[] | undefined;
}

/** Combines `--remote_ip` and `--receiver_ports`, with the defaults of the older client. @throws SCI_ADDRESS_INVALID */
export async function producersOf(flags: Producers): Promise<readonly Address[]> {
  const { parseAddress, parsePort } = await import('@scistream/core/config');
  const { 'remote-ip': host = 'localhost', 'receiver-ports': ports = RECEIVER_PORTS } = flags;
  return ports.map((text) => {
    const port = parsePort(text.trim());
    if (port !== undefined) return parseAddress(formatAddress({ host, port }), 'Producer');
    throw new SciStreamError('SCI_ADDRESS_INVALID', `${JSON.stringify(text)} is not a valid port.`, {
      suggestions: ['Give ports: --receiver-ports 5001,5002'],
    });
  });
}
