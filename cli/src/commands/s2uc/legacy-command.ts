import { isIP } from 'node:net';
import { resolve } from 'node:path';
import { Flags } from '@oclif/core';
import { parsePort, SciStreamError, type Address } from '@scistream/core';
import type { StreamHandle } from '@scistream/core/client';
import { MADE_INTERRUPTED, StreamCommand } from '../stream/stream-command.js';

/** Where the token of `--access-token` is put, so that it stands in no object that could be logged. */
const TOKEN_VARIABLE = 'SCISTREAM_ACCESS_TOKEN';

/** Flags of the older client that every one of its commands has; underscores work as well as dashes. */
export const legacyFlags = {
  'server-cert': Flags.string({ aliases: ['server_cert'], summary: 'PEM file of the CA to trust', helpValue: 'FILE' }),
  'access-token': Flags.string({
    aliases: ['access_token'],
    summary: `token; better in the variable ${TOKEN_VARIABLE} or a --token-file, for others on this machine can read this`,
    hidden: true,
  }),
};

/** Flags of the older client for making one side. */
export const sideFlags = {
  ...legacyFlags,
  s2cs: Flags.string({ summary: 'control server', helpValue: 'host:port[#sha256:…]', default: 'localhost:5000' }),
  'num-conn': Flags.integer({ aliases: ['num_conn'], summary: 'how many listeners', default: 5, min: 1 }),
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

/** What the commands of the older client print with `--json`. */
export interface SideResult {
  readonly uid: string;
  /** Control server, host:port. */
  readonly s2cs: string;
  readonly listeners: readonly string[];
  /** In force, one per listener. */
  readonly targets: readonly string[];
  /** Of an encrypted inbound side; a secret. */
  readonly ticket?: string;
}

/** The commands of the older client, one side at a time, on top of the same library as `stream`. */
export abstract class LegacyCommand extends StreamCommand {
  protected override readonly interruption = MADE_INTERRUPTED;

  /** Translates the old trust flags into those of {@link StreamCommand}. */
  protected trusting<T extends LegacyTrust & { readonly ca?: string | undefined }>(flags: T) {
    const token = flags['access-token'];
    if (token !== undefined) {
      // Others on this machine could read it among the arguments.
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

/** `--remote_ip` and `--receiver_ports` together. @throws SCI_ADDRESS_INVALID */
export function producersOf(ip: string, ports: readonly string[]): readonly Address[] {
  return ports.map((text) => {
    const port = parsePort(text.trim());
    if (isIP(ip) !== 0 && port !== undefined) return { host: ip, port };
    throw new SciStreamError(
      'SCI_ADDRESS_INVALID',
      `${JSON.stringify(ip)} with port ${JSON.stringify(text)} is not an address.`,
      {
        suggestions: ['Give an IP address and ports, for example --remote-ip 10.0.1.5 --receiver-ports 5001,5002'],
      },
    );
  });
}
