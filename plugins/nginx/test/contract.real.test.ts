// needs: nginx
import { suite } from 'uvu';
import { proxyContract } from '@scistream/core/testing';
import { NginxContainer, NginxOptions } from '@scistream/plugin-nginx';

const s = suite('contract');

proxyContract({
  name: 'nginx',
  test: s,
  create: (context) => new NginxContainer(context, NginxOptions.parse({})),
  holds: false,
});

s.run();
