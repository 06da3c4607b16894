import { createRequire } from 'node:module';
import type nunjucks from 'nunjucks';

/** Renders a template file of a fixed set of directories with a typed view. */
export interface Renderer {
  /** @throws what nunjucks throws: a missing template, a name in it that the view lacks. Both are defects of the proxy. */
  render(template: string, view: object): string;
}

/**
 * A renderer that looks for a template in each directory in turn. No HTML escaping (configuration files are not HTML),
 * so every value in a view must have been parsed into a type first; an undefined name is an error, not an empty string.
 */
export function createRenderer(directories: readonly string[]): Renderer {
  // Loaded only where something is rendered: every command imports the contracts, and nunjucks takes 25 ms.
  const { Environment, FileSystemLoader } = createRequire(import.meta.url)('nunjucks') as typeof nunjucks;
  const environment = new Environment(new FileSystemLoader([...directories]), {
    autoescape: false,
    throwOnUndefined: true,
    trimBlocks: true,
    lstripBlocks: true,
  });
  return { render: (template, view) => environment.render(template, view) };
}
