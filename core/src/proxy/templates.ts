import { createRequire } from 'node:module';
import type nunjucks from 'nunjucks';

/** Renders a template file of a fixed set of directories with a typed view. */
export interface Renderer {
  /** @throws what nunjucks throws: a missing template, a name in it that the view lacks. Both are defects of the proxy. */
  render(template: string, view: object): string;
}

/**
 * Creates a renderer that searches the directories in order; undefined entries are skipped. Nothing is escaped, because
 * configuration files are not HTML, so every value in a view must be a parsed type. An undefined name is an error.
 */
export function createRenderer(directories: readonly (string | undefined)[]): Renderer {
  // Loaded only where something is rendered: every command imports the contracts, and nunjucks takes 25 ms.
  const { Environment, FileSystemLoader } = createRequire(import.meta.url)('nunjucks') as typeof nunjucks;
  const environment = new Environment(new FileSystemLoader(directories.filter((path) => path !== undefined)), {
    autoescape: false,
    throwOnUndefined: true,
    trimBlocks: true,
    lstripBlocks: true,
  });
  return { render: (template, view) => environment.render(template, view) };
}
