import { reported, type TestFunction } from './report.js';
import { commandCases } from './runtime-commands.js';
import { RuntimeEnvironment, type TestProgram } from './runtime-environment.js';
import type { RuntimeFixture } from './runtime-fixture.js';
import { instanceCases } from './runtime-instances.js';

export { RUNTIME_SCRIPTS } from './runtime-environment.js';
export type { TestProgram } from './runtime-environment.js';

/** What {@link runtimeContract} needs to know. */
export interface RuntimeContract {
  /** Put before the name of each test. */
  readonly name: string;
  readonly test: TestFunction;
  readonly fixture: RuntimeFixture;
  readonly program: TestProgram;
}

/**
 * Registers the tests that every runtime must pass, with shell scripts as programs. What is demanded follows `supports`.
 * Each test has a runtime of its own, must end within two minutes, and fails when something of it is left at its end.
 */
export function runtimeContract({ name, test, fixture, program }: RuntimeContract): void {
  for (const [title, run] of Object.entries({ ...instanceCases, ...commandCases })) {
    test(`${name}: ${title}`, () =>
      reported({ proxy: '(the runtime itself)', runtime: fixture.id }, title, () =>
        RuntimeEnvironment.in(fixture, program, run),
      ));
  }
}
