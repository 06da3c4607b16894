/** A process that kills itself at one step of a release. Arguments: state, directory of the rules, uid, step. */
import 'reflect-metadata';
import { GatewayStore } from '@scistream/core/internal';
import { SPEC, TARGET, Site } from './gateway-site.js';
import { HostSite } from './host-proxy.js';

const [state = '', rules = '', uid = '', step = ''] = process.argv.slice(2);

/** Dies as a machine without power does: nothing runs any more. */
const die = (): void => void process.kill(process.pid, 'SIGKILL');

const host = new HostSite(rules);
const site = new Site(state);
site.hosts = [host.provider];
const gateway = await site.open();
const tls = { certificate: 'C', key: 'K', ca: 'A', peer: 'p' };
await gateway.reserve(uid, { ...SPEC, proxy: 'host', runtime: '', connections: 1, encryption: 'tls' }, tls);
await gateway.start(uid, new AbortController().signal);
await gateway.updateTargets(uid, [TARGET], new AbortController().signal);

const { put, removeCredentials, delete: remove } = GatewayStore.prototype;
GatewayStore.prototype.put = async function (...args) {
  if (step === 'before the record') die();
  await put.apply(this, args);
};
host.after = async () => {
  if (step === 'before the proxy') die();
};
GatewayStore.prototype.removeCredentials = async function (...args) {
  if (step === 'before the credentials') die();
  await removeCredentials.apply(this, args);
};
GatewayStore.prototype.delete = async function (...args) {
  if (step === 'before the end') die();
  await remove.apply(this, args);
  if (step === 'after the end') die();
};
await gateway.release(uid);
