import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import satisfies from 'semver/functions/satisfies.js';
import { z } from 'zod';
import { messageOf, quote, SciStreamError, systemCode } from '../contracts/errors.js';
import { PLUGIN_API_VERSION, type PluginManifest } from '../contracts/plugin.js';
import { VERSION } from '../contracts/version.js';

const ID = /^[a-z0-9][a-z0-9-]{0,30}$/;

const manifestSchema = z.strictObject({
  apiVersion: z.int().min(1),
  provides: z
    .array(
      z.strictObject({
        kind: z.enum(['proxy', 'runtime', 'authenticator']),
        id: z.string().regex(ID, 'must be lower-case letters, digits and "-"'),
        summary: z.string().min(1).max(200),
        aliases: z
          .array(z.strictObject({ name: z.string().min(1).max(60), runtime: z.string().regex(ID).optional() }))
          .optional(),
        program: z
          .strictObject({ name: z.string().regex(/^[\w.+-]{1,60}$/), install: z.string().min(1).max(200) })
          .optional(),
        runsIn: z.enum(['runtime', 'host']).optional(),
        example: z.record(z.string(), z.unknown()).optional(),
      }),
    )
    .min(1),
});

const packageSchema = z.object({
  name: z.string().min(1),
  version: z.string().min(1),
  scistream: z.unknown().optional(),
  peerDependencies: z.record(z.string(), z.string()).optional(),
});

/** A plugin as described by its package.json. */
export interface PluginPackage {
  readonly name: string;
  readonly version: string;
  /** Its folder, absolute. */
  readonly root: string;
  readonly manifest: PluginManifest;
}

/**
 * Reads and checks the manifest of a plugin without running its code.
 * @param root Folder with its package.json
 * @throws SCI_PLUGIN_NOT_FOUND, SCI_PLUGIN_NO_MANIFEST, SCI_PLUGIN_MANIFEST_INVALID (with the path of the field),
 * SCI_PLUGIN_API_UNSUPPORTED, SCI_PLUGIN_CORE_MISMATCH
 */
export async function readPlugin(root: string): Promise<PluginPackage> {
  const { name, version, scistream, peerDependencies } = await readPackage(root);
  if (scistream === undefined) {
    throw new SciStreamError('SCI_PLUGIN_NO_MANIFEST', `${name} has no "scistream" key in its package.json.`, {
      suggestions: ['Give the package of a SciStream plugin.'],
    });
  }
  const manifest = parseManifest(name, scistream);
  const range = peerDependencies?.['@scistream/core'];
  // A pre-release of SciStream counts as the release.
  if (range !== undefined && !satisfies(VERSION.replace(/-.*$/, ''), range)) {
    throw new SciStreamError(
      'SCI_PLUGIN_CORE_MISMATCH',
      `${name} needs @scistream/core ${range}, but this is ${VERSION}.`,
      {
        suggestions: [`Install a version of ${name} for this SciStream, or a version of SciStream in that range.`],
      },
    );
  }
  return { name, version, root, manifest };
}

async function readPackage(root: string): Promise<z.output<typeof packageSchema>> {
  const file = join(root, 'package.json');
  try {
    return packageSchema.parse(JSON.parse(await readFile(file, 'utf8')));
  } catch (error) {
    const reason = systemCode(error) === 'ENOENT' ? 'does not exist' : `is not usable: ${messageOf(error)}`;
    throw new SciStreamError('SCI_PLUGIN_NOT_FOUND', `${file} ${reason}.`, {
      cause: error,
      suggestions: ['scistream plugin ls'],
    });
  }
}

function parseManifest(name: string, value: unknown): PluginManifest {
  const result = manifestSchema.safeParse(value);
  const wanted: unknown = typeof value === 'object' && value !== null ? Reflect.get(value, 'apiVersion') : undefined;
  if (Number.isInteger(wanted) && wanted !== PLUGIN_API_VERSION) throw unsupported(name, Number(wanted));
  if (result.success) {
    const provides = result.data.provides.map(({ program, runsIn, example, ...entry }) => ({
      ...entry,
      ...(runsIn && { runsIn }),
      ...(program && { program }),
      ...(example && { example }),
    }));
    return { apiVersion: result.data.apiVersion, provides };
  }
  const [issue] = result.error.issues;
  const keys = issue?.code === 'unrecognized_keys' ? [...issue.path, ...issue.keys] : (issue?.path ?? []);
  const at = ['scistream', ...keys].join('.');
  throw new SciStreamError(
    'SCI_PLUGIN_MANIFEST_INVALID',
    `${at} in the package.json of ${name}: ${issue?.message ?? ''}.`,
    {
      suggestions: [`Correct ${at}, then run: scistream plugin inspect ${name}`],
    },
  );
}

function unsupported(name: string, wanted: number): SciStreamError {
  const newer = wanted > PLUGIN_API_VERSION;
  return new SciStreamError(
    'SCI_PLUGIN_API_UNSUPPORTED',
    `${name} needs plugin interface ${quote(wanted)}, but this SciStream has ${PLUGIN_API_VERSION}.`,
    { suggestions: [newer ? 'Install a newer version of SciStream.' : `Install a newer version of ${name}.`] },
  );
}
