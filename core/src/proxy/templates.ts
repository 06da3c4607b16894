import { createRequire } from 'node:module';
import type nunjucks from 'nunjucks';

/** Renders Nunjucks templates from a fixed set of directories. */
export interface Renderer {
  /**
   * Renders a template file with the fields of a view.
   * @throws the error of Nunjucks if the template is missing or uses an undefined name; both are defects of the proxy
   */
  render(template: string, view: object): string;
}

/**
 * Creates a renderer that searches a template in each directory in turn. It escapes nothing, because configuration
 * files are not HTML: every value of a view must be parsed first. An undefined name is an error, not an empty text.
 */
export function createRenderer(directories: readonly string[]): Renderer {
  // Loaded on first use: every command imports this module, and loading Nunjucks takes 25 ms.
  const { Environment, FileSystemLoader } = createRequire(import.meta.url)('nunjucks') as typeof nunjucks;
  const environment = new Environment(new FileSystemLoader([...directories]), {
    autoescape: false,
    throwOnUndefined: true,
    trimBlocks: true,
    lstripBlocks: true,
  });
  return { render: (template, view) => environment.render(template, view) };
}
