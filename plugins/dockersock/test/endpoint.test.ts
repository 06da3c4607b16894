import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SciStreamError } from '@scistream/core';
import { temporaryDirectory } from '@scistream/core/testing';
import { findEndpoint, type Endpoint, type EndpointOptions } from '@scistream/plugin-dockersock';

const s = suite('endpoint of the docker runtime');

const brief = ({ transport, path, host, port, user, tls }: Endpoint): unknown[] =>
  [transport, path, host, port, user, tls?.ca.toString()].filter((value) => value !== undefined);

function refused(options: EndpointOptions, env: NodeJS.ProcessEnv): SciStreamError {
  const found = ((): unknown => {
    try {
      return findEndpoint(options, env);
    } catch (error) {
      return error;
    }
  })();
  if (!SciStreamError.is(found)) throw new Error(`it was accepted: ${JSON.stringify(found)}`);
  assert.is(found.code, 'SCI_RUNTIME_UNREACHABLE');
  return found;
}

/** A home with contexts, as written by the docker command. */
async function home(): Promise<{ env: NodeJS.ProcessEnv; folder: string } & AsyncDisposable> {
  const temporary = await temporaryDirectory();
  const folder = join(temporary.path, '.docker');
  const digest = createHash('sha256').update('far').digest('hex');
  await mkdir(join(folder, 'contexts/meta', digest), { recursive: true });
  await mkdir(join(folder, 'contexts/tls', digest, 'docker'), { recursive: true });
  const meta = { Name: 'far', Metadata: {}, Endpoints: { docker: { Host: 'tcp://far.example:2376' } } };
  await writeFile(join(folder, 'contexts/meta', digest, 'meta.json'), JSON.stringify(meta));
  for (const name of ['ca', 'cert', 'key']) {
    await writeFile(join(folder, 'contexts/tls', digest, 'docker', `${name}.pem`), `context ${name}`);
    await writeFile(join(folder, `${name}.pem`), `home ${name}`);
  }
  return { env: { HOME: temporary.path }, folder, [Symbol.asyncDispose]: () => temporary.remove() };
}

s('all kinds of hosts', async () => {
  await using at = await home();
  const cases: [string, unknown[]][] = [
    ['unix:///x/y.sock', ['unix', '/x/y.sock']],
    ['tcp://10.0.0.1', ['tcp', '10.0.0.1', 2375]],
    ['10.0.0.1:4000', ['tcp', '10.0.0.1', 4000]],
    ['tcp://[::1]:4000', ['tcp', '::1', 4000]],
    ['ssh://me@far.example', ['ssh', 'far.example', 'me']],
    ['ssh://far.example:2222', ['ssh', 'far.example', 2222]],
  ];
  for (const [text, expected] of cases)
    assert.equal(brief(findEndpoint({}, { ...at.env, DOCKER_HOST: text })), expected);
  for (const text of [
    'npipe:////./pipe/docker',
    'fd://',
    'tcp://',
    'unix://',
    'ssh://-oProxyCommand=x',
    'ssh://me:pw@far',
  ])
    refused({}, { ...at.env, DOCKER_HOST: text });
  assert.not.match(refused({ host: 'ssh://me:secret@far' }, at.env).message, /secret/);
});

s('options precede DOCKER_HOST, contexts and the default socket, in this order', async () => {
  await using at = await home();
  assert.equal(brief(findEndpoint({}, at.env)), ['unix', '/var/run/docker.sock']);
  const far = ['tcp', 'far.example', 2376, 'context ca'];
  await writeFile(join(at.folder, 'config.json'), JSON.stringify({ currentContext: 'far' }));
  assert.equal(brief(findEndpoint({}, at.env)), far);
  assert.equal(brief(findEndpoint({}, { ...at.env, DOCKER_CONTEXT: 'default' })), ['unix', '/var/run/docker.sock']);
  await writeFile(join(at.folder, 'config.json'), '{}');
  assert.equal(brief(findEndpoint({}, { ...at.env, DOCKER_CONTEXT: 'far' })), far);
  const env = { ...at.env, DOCKER_CONTEXT: 'far', DOCKER_HOST: 'unix:///h.sock' };
  assert.equal(brief(findEndpoint({}, env)), ['unix', '/h.sock']);
  assert.equal(brief(findEndpoint({ context: 'far' }, env)), far);
  assert.equal(brief(findEndpoint({ context: 'far', host: 'unix:///o.sock' }, env)), ['unix', '/o.sock']);
  assert.equal(brief(findEndpoint({}, { HOME: '/nowhere', DOCKER_CONFIG: at.folder, DOCKER_CONTEXT: 'far' })), far);
});

s('certificates come from the options or the environment, and the error names a missing one', async () => {
  await using at = await home();
  const env = { ...at.env, DOCKER_HOST: 'tcp://far.example' };
  const secure = ['tcp', 'far.example', 2376, 'home ca'];
  assert.equal(brief(findEndpoint({}, { ...env, DOCKER_TLS_VERIFY: '1' })), secure);
  assert.equal(brief(findEndpoint({}, { ...env, DOCKER_CERT_PATH: at.folder })), secure);
  const [ca, cert, key] = ['ca', 'cert', 'key'].map((name) => join(at.folder, `${name}.pem`));
  assert.equal(brief(findEndpoint({ tls: { ca: ca ?? '', cert: cert ?? '', key: key ?? '' } }, env)), secure);
  assert.match(refused({}, { ...env, DOCKER_CERT_PATH: '/nowhere' }).message, /\/nowhere\/ca\.pem/);
  refused({}, { ...at.env, DOCKER_HOST: 'https://far.example' });
});

s('the error names a missing context or a damaged file', async () => {
  await using at = await home();
  assert.match(refused({ context: 'none' }, at.env).message, /none/);
  assert.match(refused({}, { ...at.env, DOCKER_CONTEXT: '../../x' }).message, /x/);
  await writeFile(join(at.folder, 'config.json'), '{');
  assert.match(refused({}, at.env).message, /config\.json/);
});

s.run();
