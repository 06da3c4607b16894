import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { InstanceFiles } from '../contracts/container-runtime.js';

const MAIN = 'worker.js';
const IMPORT = /\bfrom '\.\/([\w-]+\.js)'|\bimport\('\.\/([\w-]+\.js)'\)/g;

let files: InstanceFiles | undefined;

/** Path of the worker on this machine. */
export const WORKER = fileURLToPath(new URL(`./${MAIN}`, import.meta.url));

/**
 * The worker as files of an instance, for runtimes whose programs cannot read this machine's: `node worker.js` runs it in
 * a directory that holds nothing else. It imports its siblings only, so these are all it needs. Read once.
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
