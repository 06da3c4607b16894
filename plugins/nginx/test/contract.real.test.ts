// needs: nginx
import { suite } from 'uvu';
import { proxyContract } from '@scistream/core/testing';
import { NginxContainer, NginxOptions } from '@scistream/plugin-nginx';
import { remoteNginx } from './support.js';

const s = suite('contract');

proxyContract({
  name: 'nginx',
  test: s,
  create: (context) => new NginxContainer(context, NginxOptions.parse({})),
  holds: false,
});

proxyContract({ name: 'nginx that binds itself, known by its log alone', test: s, create: remoteNginx, holds: false });

s.run();
