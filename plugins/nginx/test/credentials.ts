import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Role, StreamTls } from '@scistream/core';
import { temporaryDirectory } from '@scistream/core/testing';

const run = promisify(execFile);

const NAMES: Readonly<Record<Role, string>> = { PROD: 'prod.test', CONS: 'cons.test' };
const EXTENSIONS = '[req]\ndistinguished_name=dn\nprompt=no\nx509_extensions=ext\n[dn]\nCN=test\n[ext]\n';

/** Credentials of both sides of one stream, of an authority of their own, made with the program openssl. */
export async function makeCredentials(): Promise<Readonly<Record<Role, StreamTls>>> {
  await using scratch = await temporaryDirectory();
  const file = (name: string): string => join(scratch.path, name);
  const issue = async (name: string, extension: string, signer: readonly string[]): Promise<void> => {
    await writeFile(file(`${name}.cnf`), `${EXTENSIONS}${extension}\n`);
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', file(`${name}.key`)];
    const output = ['-out', file(`${name}.pem`), '-days', '2', '-config', file(`${name}.cnf`)];
    await run('openssl', ['req', '-x509', ...key, ...output, ...signer]);
  };
  await issue('ca', 'basicConstraints=critical,CA:TRUE', []);
  const text = (name: string): Promise<string> => readFile(file(name), 'utf8');
  const of = async (role: Role, peer: Role): Promise<StreamTls> => {
    const extension = `basicConstraints=critical,CA:FALSE\nsubjectAltName=DNS:${NAMES[role]}`;
    await issue(role, extension, ['-CA', file('ca.pem'), '-CAkey', file('ca.key')]);
    const [certificate, key, ca] = await Promise.all([text(`${role}.pem`), text(`${role}.key`), text('ca.pem')]);
    return { certificate, key, ca, peer: NAMES[peer] };
  };
  return { PROD: await of('PROD', 'CONS'), CONS: await of('CONS', 'PROD') };
}
