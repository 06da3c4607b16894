/**
 * Settings of the user's npm that say how to reach a registry. All other `npm_config_…`
 * variables would change what is installed, or where: `npx`, `npm run` and environment modules set them.
 */
const KEPT =
  /^npm_config_(registry|@.*:registry|\/\/.*|_auth.*|(https?_|no)?proxy|ca|cafile|cert|key|strict_ssl|userconfig|globalconfig|cache|local_address|maxsockets|fetch_.*|offline|prefer_o(ff|n)line|before|min_release_age)$/i;

/**
 * Settings that the plugin folder needs, whatever an npmrc file of the user or the host says. Variables have precedence
 * over these files.
 */
const FORCED = {
  // The code of a package runs only when a command loads it as a plugin, never while npm handles it.
  ignore_scripts: 'true',
  // Installs into the plugin folder, and changes it.
  global: 'false',
  location: 'project',
  dry_run: 'false',
  save: 'true',
  package_lock: 'true',
  package_lock_only: 'false',
  // Installs all dependencies, with the link to the core of the host.
  include: 'optional\n\npeer',
  install_links: 'false',
  install_strategy: 'hoisted',
  legacy_peer_deps: 'false',
  force: 'false',
  workspaces: 'false',
  // The output is parsed.
  json: 'false',
  // An unreachable registry must not stop the command for minutes.
  fetch_retries: '1',
  fetch_retry_mintimeout: '1000',
} as const;

/** The environment of npm for the plugin folder. */
export function npmEnvironment(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const kept = Object.entries(env).filter(([name]) => !/^npm_/i.test(name) || KEPT.test(name));
  const forced = Object.entries(FORCED).map(([name, value]) => [`npm_config_${name}`, value]);
  return Object.fromEntries([...kept, ...forced]) as NodeJS.ProcessEnv;
}
