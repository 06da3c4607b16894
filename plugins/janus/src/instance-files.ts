import { createHash } from 'node:crypto';
import type { ExecResult, InstanceFiles } from '@scistream/core';
import { checkName, encode, PART, parts } from './environment.js';
import * as scripts from './scripts.js';

/** Runs a script in the container of an instance. */
type RunScript = (script: string, args: readonly string[]) => Promise<ExecResult>;

/**
 * Replaces files in containers, each atomically. Only changed files are sent, because every user on the node can
 * briefly read the arguments of a command. Keys never change during the life of a stream.
 */
export class FileWriter {
  /** SHA-256 of the files in the containers, by instance and file name. */
  readonly #hashes = new Map<string, Map<string, string>>();

  /** Records that the instance has exactly these files. */
  know(instance: string, files: InstanceFiles): void {
    this.#hashes.set(instance, new Map(Object.entries(files).map(([name, text]) => [name, hash(text)])));
  }

  forget(instance: string): void {
    this.#hashes.delete(instance);
  }

  async put(instance: string, files: InstanceFiles, run: RunScript): Promise<void> {
    const names = Object.keys(files).map(checkName);
    const known = this.#hashes.get(instance) ?? (await askHashes(names, run));
    this.#hashes.set(instance, known);
    const changed = Object.entries(files).filter(([name, content]) => known.get(name) !== hash(content));
    // After a failure in the middle, the state of these files is unknown.
    for (const [name] of changed) known.delete(name);
    await write(changed, run);
    for (const [name, content] of changed) known.set(name, hash(content));
  }
}

async function write(files: readonly (readonly [string, string])[], run: RunScript): Promise<void> {
  let batch: string[] = [];
  for (const [name, content] of files) {
    const base64 = encode(content);
    if (base64.length > PART) {
      await writeLarge(name, base64, run);
      continue;
    }
    if (batch.join('').length + base64.length > PART) await run(scripts.PUT, batch.splice(0));
    batch = [...batch, name, base64];
  }
  if (batch.length > 0) await run(scripts.PUT, batch);
}

async function writeLarge(name: string, base64: string, run: RunScript): Promise<void> {
  const gathered = `.b64-${name}`;
  await run(scripts.CLEAR, [gathered]);
  for (const part of parts(base64)) await run(scripts.APPEND, [gathered, part]);
  await run(scripts.PUT_GATHERED, [gathered, name]);
}

async function askHashes(names: readonly string[], run: RunScript): Promise<Map<string, string>> {
  const { stdout } = await run(scripts.HASH, names);
  const lines = [...stdout.matchAll(/^([0-9a-f]{64}) [ *](.+)$/gm)];
  return new Map(lines.map(([, sum = '', name = '']) => [name, sum]));
}

const hash = (text: string): string => createHash('sha256').update(text).digest('hex');
