import { reported, type TestFunction } from './report.js';
import { commandCases } from './runtime-commands.js';
import { RuntimeEnvironment, type TestProgram } from './runtime-environment.js';
import type { RuntimeFixture } from './runtime-fixture.js';
import { instanceCases } from './runtime-instances.js';

export { RUNTIME_SCRIPTS } from './runtime-environment.js';
export type { TestProgram } from './runtime-environment.js';

/** Parameters of {@link runtimeContract}. */
export interface RuntimeContract {
  /** Prefix of the test names. */
  readonly name: string;
  readonly test: TestFunction;
  readonly fixture: RuntimeFixture;
  readonly program: TestProgram;
}

/**
 * Registers the tests that every runtime must pass, with shell scripts as programs. The cases depend on `supports`.
 * Each test has its own runtime, a limit of two minutes, and fails if it leaves something behind.
 */
export function runtimeContract({ name, test, fixture, program }: RuntimeContract): void {
  for (const [title, run] of Object.entries({ ...instanceCases, ...commandCases })) {
    test(`${name}: ${title}`, () =>
      reported({ proxy: '(the runtime itself)', runtime: fixture.id }, title, () =>
        RuntimeEnvironment.in(fixture, program, run),
      ));
  }
}
