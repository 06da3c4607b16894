import { fileURLToPath } from 'node:url';

/**
 * Absolute path of the directory with the templates of an official proxy, for `createRenderer` of @scistream/core.
 * @param name Name of the proxy, such as `haproxy`. It must be a constant, because it becomes part of the path
 * unchecked.
 */
export function templateDirectory(name: string): string {
  return fileURLToPath(new URL(`../${name}`, import.meta.url));
}
