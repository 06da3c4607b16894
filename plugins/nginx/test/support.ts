import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import type { PluginContext, S2DSRequest } from '@scistream/core';
import { inProxyEnvironment, type ProxyEnvironment, type StreamShape } from '@scistream/core/testing';
import { NginxContainer, NginxOptions } from '@scistream/plugin-nginx';

type Options = Parameters<typeof NginxOptions.parse>[0];

/** Runs Nginx on a gateway of its own; fails when a process, a port or a file is left. */
export const withNginx = (options: Options, run: (env: ProxyEnvironment) => Promise<void>): Promise<void> =>
  inProxyEnvironment(
    { create: (context) => new NginxContainer(context, NginxOptions.parse(options)), holds: false },
    run,
  );

/** Nginx where neither sockets are inherited nor unix sockets reached, as in a container of another machine. */
export function remoteNginx(context: PluginContext): NginxContainer {
  const supports = { ...context.runtime.supports, inheritSockets: false, dial: false };
  Object.defineProperty(context.runtime, 'supports', { value: supports });
  return new NginxContainer(context, NginxOptions.parse({}));
}

/** Starts a stream of one listener as a side of an encrypted one or whatever `extra` says. */
export async function startWith(
  env: ProxyEnvironment,
  extra: Partial<S2DSRequest>,
  shape: StreamShape = {},
): Promise<S2DSRequest> {
  const request = { ...(await env.reserve(shape)), ...extra };
  await env.s2ds.start(request);
  return request;
}

/** The only instance there is, with its directory and the pid of its master. */
export async function onlyInstance(env: ProxyEnvironment): Promise<{ name: string; path: string; pid: number }> {
  const [instance, ...others] = await env.runtime.list({});
  assert.ok(instance?.pid);
  assert.is(others.length, 0);
  return { name: instance.name, path: join(env.directory.path, 'instances', instance.name), pid: instance.pid };
}

/** Pids of the living children of a process. */
export async function childrenOf(pid: number): Promise<readonly number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const stats = await Promise.all(pids.map((name) => readFile(`/proc/${name}/stat`, 'utf8').catch(() => '')));
  // State and parent follow the name in parentheses (proc(5)).
  const found = stats.map((stat) => /^(\d+) .*\) (\S) (\d+) /s.exec(stat)).filter((match) => match !== null);
  return found.flatMap(([, child, state, parent]) => (Number(parent) === pid && state !== 'Z' ? Number(child) : []));
}
