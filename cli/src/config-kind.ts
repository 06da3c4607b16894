import { Flags } from '@oclif/core';
import type { ConfigKind } from '@scistream/core/config';

/** Flag of the commands that accept any kind of configuration. */
export const kindFlag = Flags.option({
  options: ['s2uc', 's2cs', 's2ds'] as const,
  summary: 'kind of configuration; default: detected from the file, else s2uc',
});

/** The given kind, or the kind of the file. @throws the errors of `readDocument` */
export async function chosenKind(kind: ConfigKind | undefined, file: string | undefined): Promise<ConfigKind> {
  if (kind !== undefined || file === undefined) return kind ?? 's2uc';
  const { configKind, readDocument } = await import('@scistream/core/config');
  return configKind((await readDocument(file)).document) ?? 's2uc';
}

/** The daemon kind of a file; `s2cs` without a file or when the kind is unclear. */
export async function daemonKind(file: string | undefined): Promise<'s2cs' | 's2ds'> {
  return (await chosenKind(undefined, file)) === 's2ds' ? 's2ds' : 's2cs';
}
