import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import { Args, Flags } from '@oclif/core';
import { parseDuration, SciStreamError } from '@scistream/core';
import type { S2ucConfig } from '@scistream/core/config';
import type { ProgressEvent, S2UC, StreamHandle, StreamPlan } from '@scistream/core/client';
import { progressLines, scriptText, unverifiedText, upText } from '../../present/up.js';
import { upResult } from '../../present/results.js';
import { readTicket } from '../../ticket-input.js';
import { StreamCommand } from './stream-command.js';

/** The options of the command line and the stream document. */
type Wanted = Partial<StreamPlan>;

export default class StreamUp extends StreamCommand {
  static override summary = 'create a stream and wait until it is ready';
  static override description =
    'Reserves listeners at both facilities, connects them, and verifies the path between the gateways. On an error or Ctrl-C, both sides are released. Data between the gateways is encrypted unless --encryption none is given.';

  static override examples = [
    '<%= config.bin %> <%= command.id %> tomo',
    '<%= config.bin %> <%= command.id %> --from aps --to alcf --producer 10.0.1.5:5001 --connections 4 --rate 20Gbps --lifetime 8h',
    '<%= config.bin %> <%= command.id %> --inbound --from aps --producer 10.0.1.5:5001',
    '<%= config.bin %> <%= command.id %> --outbound - --to alcf < ticket',
    'eval "$(<%= config.bin %> <%= command.id %> tomo --print env)" && consumer --connect "$STREAM_ADDRESSES"',
  ];

  static override args = {
    name: Args.string({
      description: 'stream document: a name in the configuration, or a YAML or JSON file',
      // Standard input carries the ticket.
      ignoreStdin: true,
    }),
  };

  static override flags = {
    from: Flags.string({
      summary: 'facility of the producer, or its control server',
      helpValue: 'FACILITY|host:port[#sha256:…]',
    }),
    to: Flags.string({
      summary: 'facility of the consumers, or its control server',
      helpValue: 'FACILITY|host:port[#sha256:…]',
    }),
    'from-gateway': Flags.string({
      summary: 'inbound gateway, or a label of eligible gateways; default: any',
      helpValue: 'NAME|LABEL',
      exclusive: ['outbound'],
    }),
    'to-gateway': Flags.string({
      summary: 'outbound gateway, or a label of eligible gateways; default: any',
      helpValue: 'NAME|LABEL',
      exclusive: ['inbound'],
    }),
    producer: Flags.string({
      summary: 'address of the producer, reachable from the inbound gateway',
      helpValue: 'host:port[,…]',
      multiple: true,
      multipleNonGreedy: true,
      delimiter: ',',
    }),
    connections: Flags.integer({
      summary: 'number of listeners; default: one per producer address',
      min: 1,
      helpValue: 'N',
    }),
    rate: Flags.string({ summary: 'rate to reserve for the whole stream, for example 20Gbps' }),
    proxy: Flags.string({ summary: 'proxy; default: the proxy of the gateway' }),
    runtime: Flags.string({ summary: 'runtime; default: the runtime of the gateway' }),
    name: Flags.string({ summary: 'name of the stream' }),
    lifetime: Flags.string({ summary: 'maximum lifetime of the stream, for example 8h' }),
    encryption: Flags.option({
      options: ['tls', 'none'] as const,
      summary: 'encryption between the gateways; default: tls',
    })(),
    transport: Flags.option({ options: ['tcp', 'udp'] as const, summary: 'transport protocol of the applications' })(),
    movable: Flags.boolean({
      summary: 'allow operators to move the stream to another gateway, which changes its listeners',
    }),
    sources: Flags.string({
      summary:
        'networks from which the inbound listeners accept connections, or any; default: as the other gateways report',
      helpValue: 'NETWORK,...|any',
      exclusive: ['outbound'],
    }),
    wait: Flags.string({ summary: 'maximum time until the stream is ready; default: 30s, with --await-hello 200s' }),
    inbound: Flags.boolean({
      summary: 'create only the inbound side and print a ticket for the outbound side; keep the ticket secret',
      exclusive: ['outbound', 'to'],
    }),
    outbound: Flags.string({
      summary: 'create the outbound side of a ticket; - reads the ticket from standard input, invisible to other users',
      helpValue: 'TICKET|-',
      exclusive: ['from', 'producer'],
    }),
    unverified: Flags.boolean({
      summary: 'create the stream even if the path between the gateways fails or cannot be checked',
    }),
    uid: Flags.string({ summary: 'uid of the stream; default: a new one' }),
    print: Flags.option({
      options: ['addresses', 'env'] as const,
      summary:
        'print only what a script needs: the addresses of the consumers, one per line, or assignments of shell variables',
      exclusive: ['json', 'inbound'],
    })(),
    'await-hello': Flags.boolean({
      summary: 'wait for the HELLO of the application controllers instead of sending it',
    }),
  };

  protected override readonly afterInterrupt = 'releasing the stream';

  async run(): Promise<void> {
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
      sources,
      wait,
      uid,
    } = flags;
    const hello = awaitHello ? ('controller' as const) : undefined;
    const verify = flags.unverified ? ('report' as const) : undefined;
    const gateways = { fromGateway: flags['from-gateway'], toGateway: flags['to-gateway'] };
    const where = { from, to, ...gateways, producer };
    const accepts = sources === undefined ? undefined : sources === 'any' ? [] : sources.split(',');
    const what = { sources: accepts, connections, proxy, runtime, name, encryption, transport, movable };
    const { parseRate } = await import('@scistream/core/config');
    const numbers = {
      bitsPerSecond: rate === undefined ? undefined : parseRate(rate),
      lifetimeMs: lifetime === undefined ? undefined : parseDuration(lifetime),
      waitMs: wait === undefined ? undefined : parseDuration(wait),
    };
    const typed: Wanted = defined({ ...where, ...what, ...numbers, uid, hello, verify });
    this.progress.busy(awaitHello ? 'waiting for the HELLO of the applications' : 'creating the stream');
    const onProgress = (event: ProgressEvent): void => progressLines(event).forEach((line) => this.progress.done(line));
    const make = async (client: S2UC, config: S2ucConfig, signal: AbortSignal): Promise<void> => {
      const wanted = { ...(await this.#document(args.name, config, typed)), ...typed };
      const { handle, ticket } = await makeSides(client, wanted, { inbound, outbound }, signal);
      const result = upResult(handle, ticket);
      const warning = unverifiedText(result);
      // Otherwise the text on stdout says so.
      if (warning && (flags.json || flags.quiet || flags.print)) process.stderr.write(`Warning: ${warning}\n`);
      const text = flags.print ? scriptText(result, flags.print) : upText(result);
      await this.handOver(handle, signal, text, result);
    };
    await this.withClient(flags, make, onProgress);
  }

  /** The options of the stream document; its name is the default name of the stream. */
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
    throw new SciStreamError('SCI_USAGE', `The configuration has no stream document ${JSON.stringify(name)}.`, {
      suggestions: [
        names ? `Use one of the configured streams: ${names}` : 'Add it under the key streams of the configuration.',
        `scistream stream up ${name} --from FACILITY --to FACILITY --producer host:port`,
      ],
    });
  }
}

/** Creates both sides, or only the requested side. */
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
  throw new SciStreamError('SCI_USAGE', `The flag --${flag} is missing.`, {
    suggestions: [`Add --${flag} FACILITY or --${flag} host:port, or use a stream document with the key ${flag}.`],
  });
}

/** Removes keys with the value undefined, which would hide values of the stream document. */
const defined = <T extends object>(options: T): Partial<T> =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Partial<T>;
