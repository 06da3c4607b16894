import { chown, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join, resolve } from 'node:path';
import type { ContainerRef, InstanceFiles } from '@scistream/core';
import type { User } from './container-config.js';
import { failed } from './errors.js';

const NAME = /^[\w-]+$/;
const FILE = /^[\w.-]+$/;
const isRoot = (): boolean => process.getuid?.() === 0;

/** Throws unless a name is one that a container, a directory and a file may have. */
export function checkName({ name }: ContainerRef, files: InstanceFiles = {}): void {
  if (!NAME.test(name)) throw failed(`"${name}" is no name of an instance`);
  const wrong = Object.keys(files).find((file) => !FILE.test(file) || file === '.' || file === '..');
  if (wrong !== undefined) throw failed(`"${wrong}" is no name of a file`);
}

/** The directories (0700) of instances on this machine, each owned by the user its program runs as. */
export class InstanceDirectories {
  readonly #root: string;

  constructor(root: string) {
    this.#root = resolve(root);
  }

  path({ name }: ContainerRef): string {
    return join(this.#root, name);
  }

  /** Makes it where it does not exist yet. */
  async make(ref: ContainerRef, { uid, gid }: User): Promise<void> {
    try {
      await mkdir(this.path(ref), { recursive: true, mode: 0o700 });
      if (isRoot()) await chown(this.path(ref), uid, gid);
    } catch (error) {
      throw failed(`Cannot make the directory of ${ref.name}`, error);
    }
  }

  /** Writes files (0600), each as a whole: who reads one sees the old content or the new one. */
  async write(ref: ContainerRef, files: InstanceFiles): Promise<void> {
    const { uid, gid } = await stat(this.path(ref)).catch((error: unknown) => {
      throw failed(`Cannot find the directory of ${ref.name}`, error);
    });
    await Promise.all(
      Object.entries(files).map(([name, content]) =>
        replace(join(this.path(ref), name), content, { uid, gid }).catch((error: unknown) => {
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

  /** Connects to a unix socket in it, however long its path is: sun_path holds 107 bytes (unix(7)). */
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

/**
 * The directory belongs to the program, which may have been broken into: were the file opened and not made, a link of
 * that name would lead a daemon that is root anywhere.
 */
async function replace(path: string, content: string, { uid, gid }: User): Promise<void> {
  const temporary = `${path}.tmp`;
  await rm(temporary, { force: true });
  const file = await open(temporary, 'wx', 0o600);
  try {
    if (isRoot()) await file.chown(uid, gid);
    await file.writeFile(content);
    // Or a power loss after the renaming may leave an empty file.
    await file.sync();
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  } finally {
    await file.close();
  }
  await rename(temporary, path);
}
