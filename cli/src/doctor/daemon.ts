import { access, constants, readFile, stat } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { dirname } from 'node:path';
import type { Interfaces } from '@oclif/core';
import { messageOf, systemCode, weaknessOf, type ContainerRuntime } from '@scistream/core';
import { type GatewayConfig, type S2csConfig, type S2dsConfig, isLoopback, parseAddress } from '@scistream/core/config';
import { checkDaemonConfig, tryToStart, type FoundPlugin, type Providers } from '@scistream/core/server';
import { loadedPlugins } from '../compose.js';
import { missingProgram, withRuntime } from '../offers.js';
import { tryPlugins } from '../plugin-apart.js';
import { attempt, ok, problem, warning, type Finding } from './finding.js';
import { checkBuffers, checkListen, kernel } from './network.js';

/** Maximum time to connect to a data server, ms. */
const CONNECT_MS = 5_000;
/** File descriptors of a daemon besides its listeners: database, log, client connections. */
const OWN_FILES = 256;

type Gateway = Omit<GatewayConfig, 's2ds' | 'capacity' | 'tls'>;

/** Checks this host for the daemon with this configuration. */
export async function checkDaemon(
  oclif: Interfaces.Config,
  config: S2csConfig | S2dsConfig,
): Promise<readonly Finding[]> {
  const installed = await loadedPlugins(oclif);
  const trials = await tryPlugins(
    installed.filter(({ name }) => config.plugins.length === 0 || config.plugins.includes(name)),
  );
  const plugins = installed.map((plugin): FoundPlugin => {
    const error = trials.get(plugin.name)?.error;
    return error ? { ...plugin, error } : plugin;
  });
  const broken = [...trials].flatMap(([name, { error }]) =>
    error ? [problem('plugin', `${name} is broken: ${error.message}`, ...error.suggestions)] : [],
  );
  const valid = await attempt('configuration', async () => {
    await checkDaemonConfig(config, plugins);
    return ok('configuration', 'The configuration is valid.');
  });
  const [gateway] = 'gateways' in config ? config.gateways : [config];
  const remote = gateway && 's2ds' in gateway && gateway.s2ds !== 'embedded' ? gateway.s2ds : undefined;
  const rest = [
    ...broken,
    ...(await attempt('state', () => checkState(config.state))),
    ...(config.tls ? await attempt('certificate', () => checkCertificate(config.tls?.cert ?? '')) : []),
    ...('gateways' in config ? [checkListen(config), ...(await checkDataServers(config))] : []),
    await checkBuffers(),
  ];
  if (!gateway || remote !== undefined) return [...valid, ...rest];
  const { createProviders } = await import('@scistream/core/server');
  const providers = createProviders(plugins, config);
  const running = await attempt('runtime', async () => {
    const names = providers.resolve(gateway.proxy, gateway.runtime);
    const offer = providers.list('proxy').find(({ id }) => id === names.proxy);
    return await withRuntime(providers, names.runtime, async (runtime) => {
      const missing = offer && !runtime.supports.images ? await missingProgram(offer, config) : undefined;
      const addresses = runtime.place ? [] : await checkAddresses(gateway);
      return [
        ok('runtime', `${names.runtime} is usable.`),
        ...((await runtime.advise?.()) ?? []).map((advice) => ({ check: 'runtime', ...advice })),
        ...(missing
          ? [problem('proxy', missing.what, ...missing.how)]
          : await attempt('proxy', () => checkProxy(providers, names, runtime))),
        ...addresses,
      ];
    });
  });
  return [...valid, ...rest, ...running, await checkEphemeral(gateway), await checkFiles(gateway)];
}

/** Programs in images are not started: that could download them, or use the machines of others. */
async function checkProxy(
  providers: Providers,
  names: { readonly proxy: string; readonly runtime: string },
  { supports }: ContainerRuntime,
): Promise<Finding> {
  if (supports.images) return ok('proxy', `${names.proxy} is usable.`);
  const started = await tryToStart(providers, names);
  return ok('proxy', `${names.proxy} ${started ? 'starts' : 'is usable'}.`);
}

async function checkState(directory: string): Promise<Finding | readonly Finding[]> {
  const { mode } = (await stat(directory).catch(() => undefined)) ?? {};
  const writable = await access(mode === undefined ? await existing(directory) : directory, constants.W_OK).then(
    () => true,
    () => false,
  );
  if (!writable)
    return problem(
      'state',
      `${directory} is not writable.`,
      'Run doctor as the user of the daemon. If you did, give that user access, or set the key state.',
    );
  const weakness = weaknessOf(directory);
  if (weakness) return problem('state', `${directory} is not protected: ${weakness.why}.`, weakness.how);
  if (mode === undefined) return ok('state', `${directory} does not exist yet and can be created.`);
  if ((mode & 0o077) === 0) return ok('state', `Only this user can read and write ${directory}.`);
  return warning(
    'state',
    `${directory} has mode ${(mode & 0o777).toString(8)} instead of 700.`,
    `Restrict it to its user: chmod 700 ${directory}`,
  );
}

/** The directory itself, or its nearest existing ancestor. */
async function existing(directory: string): Promise<string> {
  const there = await stat(directory).then(
    () => true,
    () => false,
  );
  return there || directory === dirname(directory) ? directory : await existing(dirname(directory));
}

/** Finds reasons why clients would reject the certificate of a daemon. */
async function checkCertificate(file: string): Promise<readonly Finding[]> {
  const { flawsOf, parseCertificate } = await import('@scistream/core/pki');
  const flaws = flawsOf(parseCertificate(await readFile(file, 'utf8'), file), { use: 'server' });
  if (flaws.length === 0) return [ok('certificate', `${file} is a valid server certificate.`)];
  return flaws.map((flaw) => ({ check: 'certificate', ...flaw }));
}

/** Checks the data servers that run as daemons. */
const checkDataServers = ({ gateways }: S2csConfig): Promise<readonly Finding[]> =>
  Promise.all(gateways.filter(({ s2ds }) => s2ds !== 'embedded').map(({ s2ds }) => checkSocket(s2ds)));

async function checkSocket(address: string): Promise<Finding> {
  const [, path] = /^unix:(.*)/.exec(address) ?? [];
  const where = path === undefined ? parseAddress(address) : { path };
  const error = await new Promise<unknown>((resolve) => {
    const socket = connect(where, () => resolve(undefined)).once('error', resolve);
    socket.setTimeout(CONNECT_MS, () => resolve(new Error(`no answer within ${CONNECT_MS / 1000} s`)));
    socket.once('connect', () => socket.destroy()).once('timeout', () => socket.destroy());
  });
  if (error === undefined)
    return ok('data server', `${address} accepts connections. Run doctor also with its own configuration.`);
  return problem(
    'data server',
    `${address} does not accept connections: ${messageOf(error)}.`,
    'Start it on its host: s2ds --config s2ds.conf',
  );
}

async function checkAddresses({ wan, lan, ports }: Gateway): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  for (const [key, host] of Object.entries(wan === lan ? { 'wan and lan': wan } : { wan, lan })) {
    const code = await bindError(host, 0);
    if (code !== undefined) {
      findings.push(
        problem(
          key,
          `${host} is not an address of this machine (${code}).`,
          `Set ${key} to an address of this machine: ip -brief address`,
        ),
      );
      continue;
    }
    const only = `${host} is reachable only from this machine.`;
    findings.push(
      isLoopback(host) ? warning(key, only, `Set ${key} to an address that other machines can reach.`) : ok(key, host),
    );
    findings.push(await checkPorts(key, host, ports));
  }
  return findings;
}

async function checkPorts(key: string, host: string, { first, last }: Gateway['ports']): Promise<Finding> {
  const what = `${first === last ? first : `${first}-${last}`} of ${key}`;
  const refused = new Map<number, string>();
  for (let port = first; port <= last; port += 1) {
    const code = await bindError(host, port);
    if (code !== undefined) refused.set(port, code);
  }
  if (refused.size === 0) return ok('ports', `All ports ${what} are free.`);
  const [[port, code] = [first, '']] = refused;
  const some = `${refused.size} of ${last - first + 1} ports are not free, the first is ${port} (${code})`;
  const who = `If no stream uses it, find the process that does: ss -ltnp 'sport = ${port}'`;
  if (refused.size <= last - first) return warning('ports', `${what}: ${some}.`, who);
  return problem('ports', `${what}: ${some}.`, code === 'EACCES' ? 'Use ports above 1023.' : who);
}

/** The error code of listening on a port; undefined on success. */
function bindError(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer().once('error', (error) => resolve(systemCode(error) ?? 'unknown'));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(undefined)));
  });
}

async function checkEphemeral({ ports: { first, last } }: Gateway): Promise<Finding> {
  const [low = 32768, high = 60999] = (await kernel('ip_local_port_range')).split(/\s+/).map(Number);
  const reserved = (await kernel('ip_local_reserved_ports')).split(',').map((part) => part.split('-').map(Number));
  const covered = reserved.some(([from = 0, to = from]) => from <= Math.max(first, low) && to >= Math.min(last, high));
  if (last < low || first > high || covered)
    return ok('port range', 'The range does not overlap the ephemeral ports of the kernel.');
  return warning(
    'port range',
    `The range ${first}-${last} overlaps the ephemeral ports ${low}-${high} of the kernel, so outgoing connections may take its ports.`,
    `Reserve the range: sysctl net.ipv4.ip_local_reserved_ports=${first}-${last}`,
  );
}

/** Compares with the hard limit, because Node.js raises its soft limit to it. */
async function checkFiles({ ports: { first, last } }: Gateway): Promise<Finding> {
  const limits = await readFile('/proc/self/limits', 'utf8').catch(() => '');
  const hard = Number(/^Max open files\s+\S+\s+(\d+)/m.exec(limits)?.[1] ?? Number.POSITIVE_INFINITY);
  const needed = OWN_FILES + 4 * (last - first + 1);
  if (hard >= needed) return ok('open files', `The limit of ${hard} is enough for ${needed} open files.`);
  return problem(
    'open files',
    `The limit of ${hard} is too low for ${needed} open files.`,
    `Set LimitNOFILE=${needed} in the systemd unit.`,
  );
}
