import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { InstanceFiles } from '../contracts/container-runtime.js';

const MAIN = 'worker.js';
const IMPORT = /\bfrom '\.\/([\w-]+\.js)'|\bimport\('\.\/([\w-]+\.js)'\)/g;

let files: InstanceFiles | undefined;

/** Path of the worker program on this machine. */
export const WORKER = fileURLToPath(new URL(`./${MAIN}`, import.meta.url));

/**
 * Returns the worker program as files of an instance, for runtimes whose programs do not see the files of this machine.
 * `node worker.js` runs it there. The worker imports only Node.js modules and its siblings. The files are read once.
 */
export function programFiles(): InstanceFiles {
  files ??= { 'package.json': '{"type":"module"}\n', ...collect(MAIN, {}) };
  return files;
}

function collect(name: string, found: Record<string, string>): InstanceFiles {
  if (found[name] !== undefined) return found;
  const text = readFileSync(new URL(`./${name}`, import.meta.url), 'utf8');
  found[name] = text;
  for (const [, fixed, dynamic] of text.matchAll(IMPORT)) collect(fixed ?? dynamic ?? '', found);
  return found;
}
