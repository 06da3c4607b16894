import { join } from 'node:path';
import { instanceCachingFactory, type DependencyContainer } from 'tsyringe';
import type { S2csConfig } from '../config/index.js';
import { formatAddress, isLoopback } from '../contracts/address.js';
import type { Authenticator } from '../contracts/authenticator.js';
import { SciStreamError } from '../contracts/errors.js';
import type { Logger } from '../contracts/logger.js';
import type { Policy } from '../contracts/policy.js';
import { LocalGateway } from '../gateway/local-gateway.js';
import { ownerId } from '../gateway/server-id.js';
import { AuthenticatorChain, noneProvider, tokenProvider } from '../identity/authenticators.js';
import { certificateProvider } from '../identity/certificate.js';
import { mustNameApart } from '../identity/issuers.js';
import { oidcProvider } from '../identity/oidc.js';
import { PluginHost } from '../plugins/host.js';
import { Providers, type BuiltIn, type FoundPlugin } from '../plugins/index.js';
import { AuditedPolicy, AuditLog } from '../policy/audit.js';
import { AuditedAuthenticator } from '../policy/audited-authenticator.js';
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
import type { OpenAuthenticator, Prepared } from './parts/settings.js';
import { TOKENS } from './parts/tokens.js';
import { StreamController } from './streams/controller.js';

/** What a control server is made of: its configuration and what the process around it found. */
export interface ServerParts {
  readonly config: S2csConfig;
  readonly logger: Logger;
  /** Installed plugins, found without running any of their code. */
  readonly plugins: readonly FoundPlugin[];
}

/** What needs no plugin. */
export const BUILT_INS: readonly BuiltIn[] = [
  {
    provider: relayProvider,
    summary: 'buffer-and-forward subprocesses of our own, TCP and UDP, nothing to install',
    aliases: [{ name: 'S2DS' }],
  },
  { provider: processRuntimeProvider, summary: 'detached local processes' },
  { provider: noneProvider, summary: 'everybody is the same anonymous caller' },
  { provider: tokenProvider, summary: 'static bearer tokens, stored as hashes' },
  { provider: oidcProvider, summary: 'tokens of an OpenID Connect issuer, checked by signature or by introspection' },
  { provider: certificateProvider, summary: 'client certificates of a CA' },
];

/** Everything that can be used here: what is built in and what plugins provide. Runs no plugin code. */
export function createProviders(
  plugins: readonly FoundPlugin[],
  config: Pick<S2csConfig, 'proxies' | 'runtimes' | 'plugins'>,
): Providers {
  return new Providers({ builtIns: BUILT_INS, plugins, config });
}

/**
 * Registers a whole control server on a container; `ControlServer` is what to resolve. For composition roots
 * only: one per process, on a child container of its own. Anything may be replaced by registering its token afterwards.
 */
export function registerServer(container: DependencyContainer, { config, logger, plugins }: ServerParts): void {
  const { facility, gateways, state, listen, tls, minTls, insecure } = config;
  const audit = config.audit && new AuditLog(config.audit);
  // One object for all who ask, so that a new configuration can change what is in it.
  const limits = { ...config.limits };
  // Of all policies that follow one another: what is under way goes on when a new one comes.
  const names = instanceCachingFactory((c) => new NameLookups(c.resolve(TOKENS.Resolver)));
  const policy = instanceCachingFactory((c) => new PolicyInForce(policyOf(config, c, names(c), audit)));
  container.register(TOKENS.Logger, { useValue: logger });
  container.register(TOKENS.Limits, { useValue: limits });
  container.register(TOKENS.Settings, { useValue: { facility, listen, tls, minTls, insecure, state, limits } });
  container.register(TOKENS.Providers, { useValue: createProviders(plugins, config) });
  container.register(TOKENS.StreamStore, { useValue: new LevelStreamStore(state) });
  container.register(TOKENS.Resolver, { useValue: systemResolver });
  container.register(TOKENS.Policy, { useFactory: policy });
  container.register(GatewayPool, {
    useFactory: instanceCachingFactory((c) => {
      let id: Promise<string> | undefined;
      const links = gateways.map((gateway) => {
        const { name, s2ds, tls: link } = gateway;
        const log = c.resolve(TOKENS.Logger).child({ gateway: name });
        const carrier =
          s2ds === 'embedded'
            ? new LocalGateway(gateway, c.resolve(TOKENS.Providers), log, state)
            : new RemoteGateway(name, s2ds, () => (id ??= ownerId(state)), link);
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
 * Owners and admins only, and the rules of the file if there is one. Without rules, only a control server that nobody else
 * can call forwards into the gateway itself and its surroundings.
 */
export function decisionsOf(
  { policy, encryption, listen }: Pick<S2csConfig, 'policy' | 'encryption' | 'listen'>,
  placing: Placing,
  names = new NameLookups(),
): Policy {
  if (policy !== undefined) return new RulesPolicy(policy, placing, names);
  return new OwnerPolicy(encryption, isLoopback(listen.host) ? undefined : names);
}

/** The decisions of this control server; recorded if the configuration says so. */
function policyOf(config: S2csConfig, c: DependencyContainer, names: NameLookups, audit: AuditLog | undefined): Policy {
  const placing: Placing = async ({ gateway, proxy, runtime }) => {
    const defaults = await c.resolve(GatewayPool).describe(gateway);
    return c.resolve(TOKENS.Providers).resolve(proxy || defaults.proxy, runtime || defaults.runtime);
  };
  const decisions = decisionsOf(config, placing, names);
  return audit ? new AuditedPolicy(decisions, audit) : decisions;
}

/** Reads all that calls depend on. @throws what is wrong with it; then nothing is left open. */
async function prepare(
  config: S2csConfig,
  c: DependencyContainer,
  names: NameLookups,
): Promise<Omit<Prepared, 'commit'> & { readonly policy: Policy }> {
  const audit = config.audit && new AuditLog(config.audit);
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

/** With contexts of its own for the plugins it may come from. */
async function openAuthenticator(
  config: S2csConfig,
  c: DependencyContainer,
  audit: AuditLog | undefined,
): Promise<OpenAuthenticator> {
  const log = c.resolve(TOKENS.Logger);
  const host = new PluginHost(log, config.state);
  const close = async (): Promise<void> => {
    // A refusal that came after the policy had closed it may have opened it once more.
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
 * @throws SCI_CONFIG_INVALID when other machines could use the control server and `auth` does not say who may, relies on
 * certificates that nobody is asked for, or could give two callers one name
 */
export function requireAuth({
  auth,
  listen,
  tls,
  insecure,
}: Pick<S2csConfig, 'auth' | 'listen' | 'tls' | 'insecure'>): void {
  if (auth.some(({ use }) => use === 'certificate') && (insecure || !tls?.clientCa)) {
    throw new SciStreamError('SCI_CONFIG_INVALID', 'auth: use: certificate needs tls.clientCa.', {
      suggestions: ['Set tls: { cert: FILE, key: FILE, clientCa: FILE }; scistream cert init makes them.'],
    });
  }
  mustNameApart(auth);
  if (auth.length > 0 || isLoopback(listen.host)) return;
  throw new SciStreamError(
    'SCI_CONFIG_INVALID',
    `listen: other machines can reach ${formatAddress(listen)}, but auth does not say who may use it.`,
    {
      suggestions: [
        'Set auth, for example auth: [{ use: token, tokens: [...] }]',
        'Let anybody in on purpose: auth: [{ use: none }]',
      ],
    },
  );
}

/** Those the configuration names, in its order; without any, everybody, but only on a loopback address. */
async function authenticators(config: S2csConfig, providers: Providers, host: PluginHost): Promise<Authenticator> {
  requireAuth(config);
  const wanted = config.auth.length > 0 ? config.auth : [{ use: 'none' }];
  const links = await Promise.all(
    wanted.map(async ({ use, ...options }, i) => {
      const ready = await providers.authenticator(use, options, `auth.${i}`);
      return ready.create(await host.context(join('auth', use)));
    }),
  );
  const [only] = links;
  return links.length === 1 && only ? only : new AuthenticatorChain(links);
}
