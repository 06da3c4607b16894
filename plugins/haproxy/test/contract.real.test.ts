import { suite } from 'uvu';
import { proxyContract } from '@scistream/core/testing';
import { HaproxyContainer, HaproxyOptions } from '@scistream/plugin-haproxy';

const s = suite('contract');

proxyContract({
  name: 'haproxy',
  test: s,
  create: (context) => new HaproxyContainer(context, HaproxyOptions.parse({})),
});

s.run();
