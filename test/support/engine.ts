import type * as engineModule from '../runner/engine.js';

export type { TestEngine } from '../runner/engine.js';

/** The container engine that a test uses. */
export interface EngineInUse extends AsyncDisposable {
  /** Its address as in DOCKER_HOST. */
  readonly host: string;
  /** The image with the proxies and tools of this machine. */
  readonly image: string;
}

/** The test runner is not TypeScript, and this file runs from `.build`. */
export const engines = (await import(
  new URL('../../../test/runner/engine.js', import.meta.url).href
)) as typeof engineModule;

/**
 * The Docker engine of this test run, or a new one if the file runs without the runner. Dispose of it at the end. A test
 * that ends or restarts the engine uses `engines.startEngine()`, which no other file shares. Needs
 * `// needs: docker, root`.
 */
export async function testEngine(): Promise<EngineInUse> {
  const { SCISTREAM_TEST_DOCKER: host, SCISTREAM_TEST_IMAGE: image } = process.env;
  if (host && image) return { host, image, [Symbol.asyncDispose]: () => Promise.resolve() };
  const engine = await engines.startEngine();
  return { host: engine.host, image: engine.image, [Symbol.asyncDispose]: () => engine.stop() };
}
