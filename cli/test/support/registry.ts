import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { spawn } from 'node:child_process';
import { resultOf, type Home } from './cli.js';

/** An npm registry on loopback with the packages that a test offers. */
export class Registry {
  /** Names that were requested, except for the check whether the registry answers. */
  readonly requests: string[] = [];
  readonly #packages = new Map<string, Buffer>();

  private constructor(
    private readonly home: Home,
    private readonly server: Server,
  ) {}

  static async start(home: Home): Promise<Registry> {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const registry = new Registry(home, server);
    server.on('request', ({ url = '' }, response) => {
      const content = registry.#answer(decodeURIComponent(url.split('?')[0] ?? ''));
      response.writeHead(content === undefined ? 404 : 200).end(content ?? '{}');
    });
    return registry;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/`;
  }

  /** @param folder A package of version 1.0.0, relative to the home. */
  async offer(folder: string): Promise<void> {
    const { name } = JSON.parse(await readFile(join(this.home.path, folder, 'package.json'), 'utf8')) as {
      name: string;
    };
    const { exitCode, stderr } = await resultOf(
      spawn('npm', ['pack', folder, '--ignore-scripts'], { cwd: this.home.path }),
    );
    if (exitCode !== 0) throw new Error(stderr);
    this.#packages.set(name, await readFile(join(this.home.path, `${name}-1.0.0.tgz`)));
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, 'close');
  }

  #answer(path: string): string | Buffer | undefined {
    if (path === '/-/ping') return '{}';
    const [, name = '', file] = path.split('/');
    this.requests.push(path);
    const tarball = this.#packages.get(name);
    if (!tarball || file !== undefined) return tarball;
    const dist = { tarball: `${this.url}${name}/${name}-1.0.0.tgz` };
    return JSON.stringify({
      name,
      'dist-tags': { latest: '1.0.0' },
      versions: { '1.0.0': { name, version: '1.0.0', dist } },
    });
  }
}
