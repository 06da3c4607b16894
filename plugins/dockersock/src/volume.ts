import { pack } from 'tar-stream';
import type { InstanceFiles } from '@scistream/core';
import { FOLDER, type User } from './container-config.js';

/** Directory below the instance directory for files that replace existing ones. */
export const NEXT = '.next';

/** A tar archive of the instance directory, or of a directory below it, for the engine to extract into a volume. */
export async function archive(files: InstanceFiles, { uid, gid }: User, below?: string): Promise<Buffer> {
  const tar = pack();
  const owner = { uid, gid };
  tar.entry({ name: `${FOLDER}/`, type: 'directory', mode: 0o700, ...owner });
  const folder = below === undefined ? FOLDER : `${FOLDER}/${below}`;
  if (below !== undefined) tar.entry({ name: `${folder}/`, type: 'directory', mode: 0o700, ...owner });
  for (const [name, content] of Object.entries(files))
    tar.entry({ name: `${folder}/${name}`, mode: 0o600, ...owner }, content);
  tar.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of tar) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
