/** A process that kills itself at one step of a release. Arguments: state, directory of the rules, uid, step. */
import 'reflect-metadata';
import { GatewayStore } from '@scistream/core/internal';
import { SPEC, TARGET, Site } from './gateway-site.js';
import { HostSite } from './host-proxy.js';

const [state = '', rules = '', uid = '', step = ''] = process.argv.slice(2);

/** Dies as a machine without power does. */
const die = (): void => void process.kill(process.pid, 'SIGKILL');

const host = new HostSite(rules);
const site = new Site(state);
site.hosts = [host.provider];
const gateway = await site.open();
const tls = { certificate: 'C', key: 'K', ca: 'A', peer: 'p' };
await gateway.reserve(uid, { ...SPEC, proxy: 'host', runtime: '', connections: 1, encryption: 'tls' }, tls);
await gateway.start(uid, new AbortController().signal);
await gateway.updateTargets(uid, [TARGET], new AbortController().signal);

/** Calls `before` and `after` around a method of every store. */
function around(
  method: 'put' | 'removeCredentials' | 'delete',
  before: () => void,
  after = (): void => undefined,
): void {
  const real: unknown = Reflect.get(GatewayStore.prototype, method);
  if (typeof real !== 'function') throw new Error(`no method ${method}`);
  Reflect.set(GatewayStore.prototype, method, async function (this: GatewayStore, ...args: unknown[]) {
    before();
    await Reflect.apply(real, this, args);
    after();
  });
}

const dieIf = (name: string) => (): void => {
  if (step === name) die();
};
around('put', dieIf('before the record'));
around('removeCredentials', dieIf('before the credentials'));
around('delete', dieIf('before the end'), dieIf('after the end'));
host.after = async () => {
  if (step === 'before the proxy') die();
};
await gateway.release(uid);
