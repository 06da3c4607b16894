import { fileURLToPath } from 'node:url';

/**
 * Absolute path of the folder that holds the templates of one official proxy, for `createRenderer` of @scistream/core.
 * @param name Name of the proxy, a constant of the caller such as `haproxy`: it becomes part of the path unchecked.
 */
export function templateDirectory(name: string): string {
  return fileURLToPath(new URL(`../${name}`, import.meta.url));
}
