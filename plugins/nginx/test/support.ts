import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import type { PluginContext } from '@scistream/core';
import { inProxyEnvironment, withSupports, type ProxyEnvironment } from '@scistream/core/testing';
import { NginxContainer, NginxOptions } from '@scistream/plugin-nginx';

type Options = Parameters<typeof NginxOptions.parse>[0];

/** Runs Nginx on its own gateway; fails if a process, a port or a file is left behind. */
export const withNginx = (options: Options, run: (env: ProxyEnvironment) => Promise<void>): Promise<void> =>
  inProxyEnvironment(
    { create: (context) => new NginxContainer(context, NginxOptions.parse(options)), holds: false },
    run,
  );

/** Nginx without inherited sockets and reachable unix sockets, as in a container on another machine. */
export function remoteNginx(context: PluginContext): NginxContainer {
  const runtime = withSupports(context.runtime, { inheritSockets: false, dial: false });
  return new NginxContainer({ ...context, runtime }, NginxOptions.parse({}));
}

/** The only instance, with its directory and the pid of its master. */
export async function onlyInstance(env: ProxyEnvironment): Promise<{ name: string; path: string; pid: number }> {
  const [instance, ...others] = await env.runtime.list({});
  assert.ok(instance?.pid);
  assert.is(others.length, 0);
  return { name: instance.name, path: join(env.directory.path, 'instances', instance.name), pid: instance.pid };
}

/** Pids of the running children of a process. */
export async function childrenOf(pid: number): Promise<readonly number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const stats = await Promise.all(pids.map((name) => readFile(`/proc/${name}/stat`, 'utf8').catch(() => '')));
  // State and parent follow the name in parentheses (proc(5)).
  const found = stats.map((stat) => /^(\d+) .*\) (\S) (\d+) /s.exec(stat)).filter((match) => match !== null);
  return found.flatMap(([, child, state, parent]) => (Number(parent) === pid && state !== 'Z' ? Number(child) : []));
}
