import { isIP } from 'node:net';
import { resolve } from 'node:path';
import { Flags } from '@oclif/core';
import { SciStreamError, type Address } from '@scistream/core';
import type { StreamHandle } from '@scistream/core/client';
import { MADE_INTERRUPTED, StreamCommand } from '../stream/stream-command.js';

/** The variable that takes the token of `--access-token`, so that no object in a log contains it. */
const TOKEN_VARIABLE = 'SCISTREAM_ACCESS_TOKEN';

/** Flags of all legacy commands; underscores work as well as dashes. */
export const legacyFlags = {
  'server-cert': Flags.string({ aliases: ['server_cert'], summary: 'PEM file of the CA to trust', helpValue: 'FILE' }),
  'access-token': Flags.string({
    aliases: ['access_token'],
    summary: `access token, visible to other users of this machine; prefer ${TOKEN_VARIABLE} or --token-file`,
    hidden: true,
  }),
};

/** Flags of the legacy commands that create one side. */
export const sideFlags = {
  ...legacyFlags,
  s2cs: Flags.string({ summary: 'control server', helpValue: 'host:port[#sha256:…]', default: 'localhost:5000' }),
  'num-conn': Flags.integer({ aliases: ['num_conn'], summary: 'number of listeners', default: 5, min: 1 }),
  rate: Flags.integer({
    summary: 'accepted for existing scripts; ignored',
    default: 10_000,
    min: 0,
  }),
};

interface LegacyTrust {
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
  protected override readonly interruption = MADE_INTERRUPTED;

  /** Translates the legacy trust flags to those of {@link StreamCommand}. */
  protected trusting<T extends LegacyTrust & { readonly ca?: string | undefined }>(flags: T) {
    const token = flags['access-token'];
    if (token !== undefined) {
      // Hide the token from other users of this machine, who can read the process title.
      process.title = `${(this.id ?? '').replaceAll(':', ' ')} --access-token …`;
      process.env[TOKEN_VARIABLE] = token;
    }
    const env = process.env[TOKEN_VARIABLE] ? TOKEN_VARIABLE : undefined;
    const ca = flags['server-cert'];
    return { ...flags, ...(ca && { ca: resolve(ca) }), ...(env && { 'token-env': env }) };
  }

  /** Prints one side and returns it. */
  protected report({ uid, initial }: StreamHandle, ticket?: string): SideResult {
    const { s2cs = '', listeners = [], targets = [] } = initial.from ?? initial.to ?? {};
    const secret = ticket === undefined ? [] : [`ticket: ${ticket}`];
    this.log([`uid: ${uid}`, ...listeners.map((listener) => `listeners: ${listener}`), ...secret].join('\n'));
    return { uid, s2cs, listeners, targets, ...(ticket !== undefined && { ticket }) };
  }
}

/** Combines `--remote_ip` and `--receiver_ports`. @throws SCI_ADDRESS_INVALID */
export async function producersOf(ip: string, ports: readonly string[]): Promise<readonly Address[]> {
  const { parsePort } = await import('@scistream/core/config');
  return ports.map((text) => {
    const port = parsePort(text.trim());
    if (isIP(ip) !== 0 && port !== undefined) return { host: ip, port };
    throw new SciStreamError(
      'SCI_ADDRESS_INVALID',
      `${JSON.stringify(ip)} with port ${JSON.stringify(text)} is not a valid address.`,
      {
        suggestions: ['Give an IP address and ports: --remote-ip 10.0.1.5 --receiver-ports 5001,5002'],
      },
    );
  });
}
