import { chown, open, rm, stat } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join, resolve } from 'node:path';
import { makeDirectory, writeAtomically, type ContainerRef, type InstanceFiles } from '@scistream/core';
import type { User } from './container-config.js';
import { failed } from './errors.js';

const NAME = /^[\w-]+$/;
const FILE = /^[\w.-]+$/;
const isRoot = (): boolean => process.getuid?.() === 0;

/** Validates the names of an instance and its files. @throws SCI_RUNTIME_FAILED */
export function checkName({ name }: ContainerRef, files: InstanceFiles = {}): void {
  if (!NAME.test(name)) throw failed(`"${name}" is not a valid instance name`);
  const wrong = Object.keys(files).find((file) => !FILE.test(file) || file === '.' || file === '..');
  if (wrong !== undefined) throw failed(`"${wrong}" is not a valid file name`);
}

/** Local directories (0700) of instances, each owned by the user of its program. */
export class InstanceDirectories {
  readonly #root: string;

  constructor(root: string) {
    this.#root = resolve(root);
  }

  path({ name }: ContainerRef): string {
    return join(this.#root, name);
  }

  /** Creates the directory if it does not exist. */
  async make(ref: ContainerRef, { uid, gid }: User): Promise<void> {
    try {
      await makeDirectory(this.path(ref), uid);
      if (isRoot()) await chown(this.path(ref), uid, gid);
    } catch (error) {
      throw failed(`Cannot create the directory of ${ref.name}`, error);
    }
  }

  /** Writes files (0600), each atomically. */
  async write(ref: ContainerRef, files: InstanceFiles): Promise<void> {
    const { uid, gid } = await stat(this.path(ref)).catch((error: unknown) => {
      throw failed(`Cannot find the directory of ${ref.name}`, error);
    });
    const access = isRoot() ? { owner: { uid, gid } } : {};
    await Promise.all(
      Object.entries(files).map(([name, content]) =>
        writeAtomically(join(this.path(ref), name), content, access).catch((error: unknown) => {
          throw failed(`Cannot write ${name} of ${ref.name}`, error);
        }),
      ),
    );
  }

  async remove(ref: ContainerRef): Promise<void> {
    await rm(this.path(ref), { recursive: true, force: true }).catch((error: unknown) => {
      throw failed(`Cannot remove the directory of ${ref.name}`, error);
    });
  }

  /** Connects to a unix socket in the directory, even if its path exceeds the 107 bytes of sun_path (unix(7)). */
  async dial(ref: ContainerRef, socketName: string): Promise<Socket> {
    const directory = await open(this.path(ref), 'r');
    try {
      return await new Promise((settle, reject) => {
        const socket = connect(`/proc/self/fd/${directory.fd}/${socketName}`);
        socket.once('connect', () => settle(socket)).once('error', reject);
      });
    } finally {
      await directory.close();
    }
  }
}
