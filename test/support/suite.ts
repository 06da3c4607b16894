import { ConnectError } from '@connectrpc/connect';
import { suite as plainSuite } from 'uvu';

/** A suite of uvu for tests that call a control server. */
export interface Suite {
  (title: string, test: () => Promise<void>): void;
  /** Runs the tests. Call it once, at the end of the file. */
  run(): void;
}

/** uvu 0.5 loses its report if an error has `details` that are not text, as every ConnectError has. Replaces such errors. */
export function suite(name: string): Suite {
  const inner = plainSuite(name);
  const add = (title: string, test: () => Promise<void>): void =>
    inner(title, () =>
      test().catch((error: unknown) => {
        throw error instanceof ConnectError ? readable(error) : error;
      }),
    );
  return Object.assign(add, { run: () => inner.run() });
}

function readable(error: ConnectError): Error {
  const plain = new Error(`${error.message} (${error.metadata.get('scistream-code') ?? 'no code of ours'})`);
  if (error.stack !== undefined) plain.stack = error.stack;
  return plain;
}
