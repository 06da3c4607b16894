import { join } from 'node:path';
import { instanceCachingFactory, type DependencyContainer, type InjectionToken } from 'tsyringe';
import type { S2csConfig } from '../config/index.js';
import { formatAddress, isLoopback } from '../contracts/address.js';
import type { Authenticator } from '../contracts/authenticator.js';
import type { Daemon } from '../contracts/daemon.js';
import { SciStreamError } from '../contracts/errors.js';
import type { Logger } from '../contracts/logger.js';
import type { Network } from '../contracts/network.js';
import type { Policy } from '../contracts/policy.js';
import { proxyName } from '../contracts/stream.js';
import { LocalGateway } from '../gateway/local-gateway.js';
import { serverId } from '../gateway/server-id.js';
import { AuthenticatorChain, noneProvider, tokenProvider } from '../identity/authenticators.js';
import { certificateProvider } from '../identity/certificate.js';
import { mustNameApart } from '../identity/issuers.js';
import { oidcProvider } from '../identity/oidc.js';
import { PluginHost } from '../plugins/host.js';
import { findPlugins, Providers, type BuiltIn, type FoundPlugin, type PluginSource } from '../plugins/index.js';
import { AuditLog } from '../policy/audit.js';
import { AuditedAuthenticator } from '../policy/audited-authenticator.js';
import { AuditedPolicy } from '../policy/audited-policy.js';
import { NameLookups, systemResolver } from '../policy/name-lookups.js';
import { OwnerPolicy } from '../policy/owner-policy.js';
import { RulesPolicy, type Placing } from '../policy/rules-policy.js';
import { relayProvider } from '../relay/relay-container.js';
import { processRuntimeProvider } from '../runtime/process-runtime.js';
import { LevelStreamStore } from '../store/level-stream-store.js';
import { ControlServer } from './control-server.js';
import { GatewayLink } from './gateways/link.js';
import { GatewayPool } from './gateways/pool.js';
import { RemoteGateway } from './gateways/remote-gateway.js';
import { PolicyInForce } from './in-force.js';
import { OwnAddresses } from './parts/own-addresses.js';
import type { OpenAuthenticator, Prepared } from './parts/settings.js';
import { TOKENS } from './parts/tokens.js';
import { StreamController } from './streams/controller.js';

/** What a control server is composed of. */
export interface ServerParts {
  readonly config: S2csConfig;
  readonly logger: Logger;
  /** Installed plugins. None of their code has run. */
  readonly plugins: readonly FoundPlugin[];
}

/** The providers that need no plugin. */
export const BUILT_INS: readonly BuiltIn[] = [
  {
    provider: relayProvider,
    summary: 'built-in buffer-and-forward proxy for TCP and UDP; nothing to install',
    aliases: [{ name: 'S2DS' }],
  },
  { provider: processRuntimeProvider, summary: 'detached local processes' },
  { provider: noneProvider, summary: 'no authentication: all callers are one anonymous identity' },
  { provider: tokenProvider, summary: 'static bearer tokens, stored as hashes' },
  { provider: oidcProvider, summary: 'tokens of an OpenID Connect issuer, verified by signature or by introspection' },
  { provider: certificateProvider, summary: 'client certificates signed by a CA' },
];

/** Reads the manifests of installed plugins, as `findPlugins` does. The ids of the built-in providers are taken. */
export function listPlugins(sources: readonly PluginSource[]): Promise<readonly FoundPlugin[]> {
  return findPlugins(
    sources,
    BUILT_INS.map(({ provider }) => provider),
  );
}

/** All available providers, built in and from plugins. Runs no plugin code. */
export function createProviders(
  plugins: readonly FoundPlugin[],
  config: Pick<S2csConfig, 'proxies' | 'runtimes' | 'plugins'>,
): Providers {
  return new Providers({ builtIns: BUILT_INS, plugins, config });
}

/** The control server, as {@link registerServer} registers it. */
export const CONTROL_SERVER: InjectionToken<Daemon<S2csConfig>> = ControlServer;

/**
 * Registers a whole control server on a container. Resolve `CONTROL_SERVER` from it. For composition roots only: one per
 * process, on its own child container. Register a token afterwards to replace what it stands for.
 */
export function registerServer(container: DependencyContainer, { config, logger, plugins }: ServerParts): void {
  const { facility, gateways, state, listen, tls, minTls, insecure, metrics } = config;
  const audit = config.audit && new AuditLog(config.audit, logger);
  const wan = gateways.map((gateway) => gateway.wan);
  // One shared object, so that a new configuration can change its values.
  const limits = { ...config.limits };
  // Shared by the policies that replace each other, so that lookups in progress continue.
  const names = instanceCachingFactory((c) => new NameLookups(c.resolve(TOKENS.Resolver)));
  const policy = instanceCachingFactory((c) => new PolicyInForce(policyOf(config, c, names(c), audit)));
  container.register(TOKENS.Logger, { useValue: logger });
  container.register(TOKENS.Limits, { useValue: limits });
  container.register(TOKENS.Settings, {
    useValue: { facility, listen, tls, wan, minTls, insecure, state, metrics, limits },
  });
  container.register(TOKENS.Providers, { useValue: createProviders(plugins, config) });
  container.register(TOKENS.StreamStore, { useValue: new LevelStreamStore(state, limits) });
  container.register(TOKENS.Resolver, { useValue: systemResolver });
  container.register(TOKENS.Policy, { useFactory: policy });
  container.register(TOKENS.OwnAddresses, {
    useFactory: instanceCachingFactory((c) => new OwnAddresses(config, () => c.resolve(GatewayPool).descriptions)),
  });
  container.register(GatewayPool, {
    useFactory: instanceCachingFactory((c) => {
      let id: Promise<string> | undefined;
      const links = gateways.map((gateway) => {
        const { name, s2ds, tls: link } = gateway;
        const log = c.resolve(TOKENS.Logger).child({ gateway: name });
        const carrier =
          s2ds === 'embedded'
            ? new LocalGateway(gateway, c.resolve(TOKENS.Providers), log, state)
            : new RemoteGateway(name, s2ds, () => (id ??= serverId(state)), link);
        return new GatewayLink(gateway, carrier, log);
      });
      return new GatewayPool(links, state);
    }),
  });
  container.register(TOKENS.Authenticator, {
    useFactory: (c) => () => openAuthenticator(config, c, audit),
  });
  container.register(TOKENS.Prepare, {
    useFactory: (c) => async (next) => {
      const prepared = await prepare(next, c, names(c));
      const commit = (): void => {
        policy(c).replace(prepared.policy);
        Object.assign(limits, next.limits);
      };
      return { ...prepared, commit };
    },
  });
  container.registerSingleton(StreamController);
  container.registerSingleton(ControlServer);
}

/**
 * The policy of a configuration: the rules of the policy file, or owners and admins only. Without rules, only a control
 * server that listens on a loopback address allows targets on the gateway itself and in its local networks.
 * @param own Addresses that only a rule for exactly one of them allows
 */
export function decisionsOf(
  { policy, encryption, listen }: Pick<S2csConfig, 'policy' | 'encryption' | 'listen'>,
  placing: Placing,
  own: OwnAddresses,
  names = new NameLookups(),
): Policy {
  const networks = (): readonly Network[] => own.networks();
  if (policy !== undefined) return new RulesPolicy(policy, placing, names, networks);
  return new OwnerPolicy(encryption, isLoopback(listen.host) ? undefined : { names, own: networks });
}

/** The policy of this control server, with an audit log if the configuration has one. */
function policyOf(config: S2csConfig, c: DependencyContainer, names: NameLookups, audit: AuditLog | undefined): Policy {
  const placing: Placing = async ({ gateway, proxy, runtime, spec }) => {
    const defaults = await c.resolve(GatewayPool).describe(gateway);
    const name = proxyName({ proxy, transport: spec.transport }, defaults.proxy);
    return c.resolve(TOKENS.Providers).resolve(name, defaults.runtime, runtime);
  };
  const decisions = decisionsOf(config, placing, c.resolve(TOKENS.OwnAddresses), names);
  return audit ? new AuditedPolicy(decisions, audit) : decisions;
}

/** Reads and checks a new configuration. @throws What is wrong with it; nothing stays open then */
async function prepare(
  config: S2csConfig,
  c: DependencyContainer,
  names: NameLookups,
): Promise<Omit<Prepared, 'commit'> & { readonly policy: Policy }> {
  const audit = config.audit && new AuditLog(config.audit, c.resolve(TOKENS.Logger));
  const policy = policyOf(config, c, names, audit);
  try {
    await policy.load?.();
    const authenticator = await openAuthenticator(config, c, audit);
    const discard = async (): Promise<void> => {
      policy.close?.();
      await authenticator.close();
    };
    return { policy, authenticator, discard };
  } catch (error) {
    policy.close?.();
    throw error;
  }
}

/** Opens the authenticator, with its own contexts for plugins. */
async function openAuthenticator(
  config: S2csConfig,
  c: DependencyContainer,
  audit: AuditLog | undefined,
): Promise<OpenAuthenticator> {
  const log = c.resolve(TOKENS.Logger);
  const host = new PluginHost(log, config.state);
  const close = async (): Promise<void> => {
    // A rejection after the policy has closed the log may have opened it again.
    audit?.close();
    await host.close();
  };
  try {
    const found = await authenticators(config, c.resolve(TOKENS.Providers), host);
    return { authenticator: audit ? new AuditedAuthenticator(found, audit, log) : found, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/**
 * Checks `auth`.
 * @throws SCI_CONFIG_INVALID if other machines can reach a control server without `auth`, if `auth` needs client certificates
 * that `tls` does not request, or if two callers could get the same identity
 */
export function requireAuth({
  auth,
  listen,
  tls,
  insecure,
}: Pick<S2csConfig, 'auth' | 'listen' | 'tls' | 'insecure'>): void {
  if (auth.some(({ use }) => use === 'certificate') && (insecure || !tls?.clientCa)) {
    throw new SciStreamError('SCI_CONFIG_INVALID', 'auth: use: certificate needs tls.clientCa.', {
      suggestions: ['Set tls: { cert: FILE, key: FILE, clientCa: FILE }. Create the files: scistream cert init'],
    });
  }
  mustNameApart(auth);
  if (auth.length > 0 || isLoopback(listen.host)) return;
  throw new SciStreamError(
    'SCI_CONFIG_INVALID',
    `listen: other machines can reach ${formatAddress(listen)}, but auth is not set.`,
    {
      suggestions: [
        'Set auth, for example auth: [{ use: token, tokens: [...] }]',
        'Turn authentication off on purpose: auth: [{ use: none }]',
      ],
    },
  );
}

/** The authenticators of the configuration, in its order. Without any, all callers are accepted, on loopback addresses only. */
async function authenticators(config: S2csConfig, providers: Providers, host: PluginHost): Promise<Authenticator> {
  requireAuth(config);
  const wanted = config.auth.length > 0 ? config.auth : [{ use: 'none' }];
  const links = await Promise.all(
    wanted.map(async ({ use, ...options }, i) => {
      const ready = await providers.authenticator(use, options, `auth.${i}`);
      return ready.create(await host.context(join('auth', use)));
    }),
  );
  return new AuthenticatorChain(links);
}
