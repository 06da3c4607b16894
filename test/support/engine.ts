import type * as engineModule from '../runner/engine.js';

export type { TestEngine } from '../runner/engine.js';

/** What tests in containers need to know of the engine they use. */
export interface EngineInUse extends AsyncDisposable {
  /** As DOCKER_HOST has it. */
  readonly host: string;
  /** The image with the proxies and tools of this machine. */
  readonly image: string;
}

/** The runner of tests is no TypeScript, and this file runs from `.build`. */
export const engines = (await import(
  new URL('../../../test/runner/engine.js', import.meta.url).href
)) as typeof engineModule;

/**
 * The Docker engine of this test run, or one for this file alone where it runs by itself: dispose of it at the end. A
 * test that ends or restarts the engine uses `engines.startEngine()` instead, for an engine that nobody else has.
 * Needs `// needs: docker, root`.
 */
export async function testEngine(): Promise<EngineInUse> {
  const { SCISTREAM_TEST_DOCKER: host, SCISTREAM_TEST_IMAGE: image } = process.env;
  if (host && image) return { host, image, [Symbol.asyncDispose]: () => Promise.resolve() };
  const engine = await engines.startEngine();
  return { host: engine.host, image: engine.image, [Symbol.asyncDispose]: () => engine.stop() };
}
