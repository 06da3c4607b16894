/** Builds the root directory of the image that all container tests use, from the programs of this machine. */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  realpathSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';

const NGINX_STREAM = '/usr/lib/nginx/modules/ngx_stream_module.so';

/** Path in the image → file of this machine. Missing files are left out; tests declare what they need. */
const FILES = {
  '/usr/sbin/haproxy': '/usr/sbin/haproxy',
  '/usr/sbin/nginx': '/usr/sbin/nginx',
  [NGINX_STREAM]: NGINX_STREAM,
  '/usr/bin/stunnel4': '/usr/bin/stunnel4',
  '/usr/bin/stunnel': '/usr/bin/stunnel4',
  '/usr/bin/node': process.execPath,
  '/etc/ssl/openssl.cnf': '/etc/ssl/openssl.cnf',
};

const USERS = 'root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n';
const GROUPS = 'root:x:0:\nnogroup:x:65534:\n';
const FOLDERS = ['etc', 'proc', 'sys', 'dev', 'run', 'var/log/nginx', 'var/lib/nginx', 'var/run'];

/** Paths of the libraries that a program is linked against; none for a static program. */
function librariesOf(path) {
  const { stdout } = spawnSync('ldd', [path], { encoding: 'utf8' });
  return [...stdout.matchAll(/(?:=> |^\t)(\/\S+) \(0x/gm)].map(([, library]) => library);
}

/** Finds busybox-static. Debian's initramfs uses another busybox, which is not static. */
function busybox() {
  const path = ['/bin/busybox', '/usr/bin/busybox'].find((candidate) => existsSync(candidate));
  if (path === undefined) throw new Error('there is no busybox (apt-get install busybox-static)');
  if (librariesOf(path).length > 0) throw new Error(`${path} is not static (apt-get install busybox-static)`);
  return path;
}

/**
 * Fills an empty directory with the contents of the image.
 * @param {string} folder
 */
export function makeRoot(folder) {
  const put = (path, source) => {
    const target = join(folder, path);
    if (existsSync(target)) return;
    mkdirSync(dirname(target), { recursive: true });
    copyFileSync(realpathSync(source), target);
  };
  for (const name of FOLDERS) mkdirSync(join(folder, name), { recursive: true });
  mkdirSync(join(folder, 'tmp'));
  chmodSync(join(folder, 'tmp'), 0o1777);
  writeFileSync(join(folder, 'etc/passwd'), USERS);
  writeFileSync(join(folder, 'etc/group'), GROUPS);
  for (const [path, source] of Object.entries(FILES)) {
    if (!existsSync(source)) continue;
    put(path, source);
    for (const library of librariesOf(source)) put(library, library);
  }
  const tool = busybox();
  put('/bin/busybox', tool);
  const { stdout } = spawnSync(tool, ['--list'], { encoding: 'utf8' });
  const taken = new Set(readdirSync(join(folder, 'bin')));
  for (const name of stdout.trim().split('\n')) if (!taken.has(name)) symlinkSync('busybox', join(folder, 'bin', name));
}
