import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SciStreamError } from '@scistream/core';
import { loadConfig, type ConfigKind, type LoadedConfig } from '@scistream/core/config';
import { temporaryDirectory } from '@scistream/core/testing';

/** Writes a configuration file and loads it as `kind`; rejects like loadConfig. */
export async function load<Kind extends ConfigKind>(
  kind: Kind,
  content: string,
  more: Parameters<typeof loadConfig>[1] = {},
): Promise<LoadedConfig<Kind>> {
  await using directory = await temporaryDirectory();
  const file = join(directory.path, 'some.conf');
  await writeFile(file, content);
  return await loadConfig(kind, { file, env: {}, ...more });
}

/** The SciStreamError of rejected work; throws if the work succeeds or fails with another error. */
export async function failure(work: Promise<unknown>): Promise<SciStreamError> {
  const error: unknown = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!SciStreamError.is(error)) throw new Error(`expected a SciStreamError, got ${String(error)}`);
  return error;
}
