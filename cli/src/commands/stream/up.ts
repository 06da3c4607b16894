import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import { Args, Flags } from '@oclif/core';
import { parseDuration, parseRate, SciStreamError } from '@scistream/core';
import type { S2ucConfig } from '@scistream/core/config';
import type { ProgressEvent, S2UC, StreamHandle, StreamPlan } from '@scistream/core/client';
import { progressLines, upText } from '../../present/up.js';
import { upResult } from '../../present/results.js';
import { readTicket } from '../../ticket-input.js';
import { MADE_INTERRUPTED, StreamCommand } from './stream-command.js';

/** What the command line and the stream document say together. */
type Wanted = Partial<StreamPlan>;

export default class StreamUp extends StreamCommand {
  static override summary = 'make a stream and wait until it is ready';
  static override description =
    'Reserves listeners at both facilities, connects them, and proves the way between the gateways. On any error, and on Ctrl-C, both sides are released. The data between the gateways is encrypted unless --encryption none is given.';

  static override examples = [
    '<%= config.bin %> <%= command.id %> tomo',
    '<%= config.bin %> <%= command.id %> --from aps --to alcf --producer 10.0.1.5:5001 --connections 4 --rate 20Gbps --lifetime 8h',
    '<%= config.bin %> <%= command.id %> --inbound --from aps --producer 10.0.1.5:5001',
    '<%= config.bin %> <%= command.id %> --outbound - --to alcf < ticket',
  ];

  static override args = {
    name: Args.string({
      description: 'stream document: its name in the configuration, or a YAML or JSON file',
      // What comes there is a ticket.
      ignoreStdin: true,
    }),
  };

  static override flags = {
    from: Flags.string({
      summary: 'facility where data is produced, or its control server',
      helpValue: 'FACILITY|host:port[#sha256:…]',
    }),
    to: Flags.string({
      summary: 'facility where consumers connect, or its control server',
      helpValue: 'FACILITY|host:port[#sha256:…]',
    }),
    'from-gateway': Flags.string({
      summary: 'gateway there, or a label of those to choose from; default any',
      helpValue: 'NAME|LABEL',
      exclusive: ['outbound'],
    }),
    'to-gateway': Flags.string({
      summary: 'the same where consumers connect',
      helpValue: 'NAME|LABEL',
      exclusive: ['inbound'],
    }),
    producer: Flags.string({
      summary: 'where the producer listens, as the inbound gateway reaches it',
      helpValue: 'host:port[,…]',
      multiple: true,
      multipleNonGreedy: true,
      delimiter: ',',
    }),
    connections: Flags.integer({
      summary: 'how many listeners; default one per producer address',
      min: 1,
      helpValue: 'N',
    }),
    rate: Flags.string({ summary: 'wanted rate of the whole stream, for example 20Gbps' }),
    proxy: Flags.string({ summary: "what forwards; default the gateway's" }),
    runtime: Flags.string({ summary: "where it runs; default the gateway's" }),
    name: Flags.string({ summary: 'name to find the stream by' }),
    lifetime: Flags.string({ summary: 'how long the stream may exist, for example 8h' }),
    encryption: Flags.option({
      options: ['tls', 'none'] as const,
      summary: 'of the data between the gateways; default tls',
    })(),
    transport: Flags.option({ options: ['tcp', 'udp'] as const, summary: 'what the applications speak' })(),
    movable: Flags.boolean({
      summary: 'its listeners may change: an operator may move it to another gateway',
    }),
    wait: Flags.string({ summary: 'how long the stream may take to become ready; default 30s' }),
    inbound: Flags.boolean({
      summary: 'make the inbound side only and print a ticket for the other one, a secret like a password',
      exclusive: ['outbound', 'to'],
    }),
    outbound: Flags.string({
      summary: 'make the outbound side of a ticket; - reads the ticket from standard input, where nobody else sees it',
      helpValue: 'TICKET|-',
      exclusive: ['from', 'producer'],
    }),
    uid: Flags.string({ summary: 'use this uid instead of a new one' }),
    'await-hello': Flags.boolean({ summary: 'let application controllers say HELLO instead of doing it' }),
  };

  protected override readonly interruption = MADE_INTERRUPTED;

  async run(): Promise<object> {
    const { args, flags } = await this.parse(StreamUp);
    const { inbound, 'await-hello': awaitHello } = flags;
    const ask = (): void => this.progress.note('Paste the ticket and press Enter.');
    const outbound = flags.outbound === undefined ? undefined : await readTicket(flags.outbound, ask);
    const {
      from,
      to,
      producer,
      connections,
      rate,
      proxy,
      runtime,
      name,
      lifetime,
      encryption,
      transport,
      movable,
      wait,
      uid,
    } = flags;
    const hello = awaitHello ? ('controller' as const) : undefined;
    const gateways = { fromGateway: flags['from-gateway'], toGateway: flags['to-gateway'] };
    const where = { from, to, ...gateways, producer };
    const what = { connections, proxy, runtime, name, encryption, transport, movable };
    const numbers = {
      bitsPerSecond: rate === undefined ? undefined : parseRate(rate),
      lifetimeMs: lifetime === undefined ? undefined : parseDuration(lifetime),
      waitMs: wait === undefined ? undefined : parseDuration(wait),
    };
    const typed: Wanted = defined({ ...where, ...what, ...numbers, uid, hello });
    this.progress.busy(awaitHello ? 'waiting for HELLO of the applications' : 'making the stream');
    const onProgress = (event: ProgressEvent): void => progressLines(event).forEach((line) => this.progress.done(line));
    const make = async (client: S2UC, config: S2ucConfig, signal: AbortSignal): Promise<object> => {
      const wanted = { ...(await this.#document(args.name, config, typed)), ...typed };
      const { handle, ticket } = await makeSides(client, wanted, { inbound, outbound }, signal);
      const result = upResult(handle, ticket);
      this.log(upText(result));
      return result;
    };
    return await this.withClient(flags, make, onProgress);
  }

  /** What the stream document says; its name is the default of the stream's. */
  async #document(name: string | undefined, { streams }: S2ucConfig, typed: Wanted): Promise<Wanted> {
    if (name === undefined) return {};
    const known = Object.hasOwn(streams, name) ? streams[name] : undefined;
    if (known) return { name, ...defined(known) };
    if (/\.(ya?ml|json)$/.test(name) || existsSync(name)) {
      const { loadStream } = await import('@scistream/core/config');
      return { name: basename(name).replace(/\.\w+$/, ''), ...defined(await loadStream(name)) };
    }
    if (typed.from ?? typed.to) return { name };
    const names = Object.keys(streams).join(', ');
    throw new SciStreamError('SCI_USAGE', `There is no stream document ${JSON.stringify(name)}.`, {
      suggestions: [
        names ? `The configuration has: ${names}` : 'Add it to the key streams of the configuration.',
        `scistream stream up ${name} --from FACILITY --to FACILITY --producer host:port`,
      ],
    });
  }
}

/** Both sides, or the one that is asked for. */
async function makeSides(
  client: S2UC,
  wanted: Wanted,
  { inbound, outbound }: { readonly inbound: boolean; readonly outbound: string | undefined },
  signal: AbortSignal,
): Promise<{ handle: StreamHandle; ticket?: string }> {
  if (outbound !== undefined) {
    const { from: _from, fromGateway: _gateway, producer: _producer, ...options } = wanted;
    return { handle: await client.outbound(outbound, { ...options, to: required(wanted.to, 'to') }, signal) };
  }
  const from = required(wanted.from, 'from');
  if (inbound) return await client.inbound({ ...wanted, from }, signal);
  return { handle: await client.up({ ...wanted, from, to: required(wanted.to, 'to') }, signal) };
}

function required<T>(value: T | undefined, flag: string): T {
  if (value !== undefined) return value;
  throw new SciStreamError('SCI_USAGE', `The stream has no --${flag}.`, {
    suggestions: [`Add --${flag} FACILITY or --${flag} host:port, or name a stream document that has it.`],
  });
}

/** Without the keys that are there but undefined, which would hide what a weaker source says. */
const defined = <T extends object>(options: T): Partial<T> =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Partial<T>;
