import { Flags } from '@oclif/core';
import type { ConfigKind } from '@scistream/core/config';

/** Flag of the commands that look at any configuration. */
export const kindFlag = Flags.option({
  options: ['s2uc', 's2cs', 's2ds'] as const,
  summary: 'whose configuration; default: what the file looks like, else s2uc',
});

/** The kind somebody asked for, or that of the file. @throws what `readDocument` throws */
export async function chosenKind(kind: ConfigKind | undefined, file: string | undefined): Promise<ConfigKind> {
  if (kind !== undefined || file === undefined) return kind ?? 's2uc';
  const { configKind, readDocument } = await import('@scistream/core/config');
  return configKind((await readDocument(file)).document) ?? 's2uc';
}

/** The kind of a daemon's file; without one, or when it could be a user's, that of a control server. */
export async function daemonKind(file: string | undefined): Promise<'s2cs' | 's2ds'> {
  return (await chosenKind(undefined, file)) === 's2ds' ? 's2ds' : 's2cs';
}
