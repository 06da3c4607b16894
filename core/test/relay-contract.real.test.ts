/** The built-in relay keeps the contract of a proxy, on real processes. */
import { RelayContainer, relayOptions } from '@scistream/core/server';
import { proxyContract } from '@scistream/core/testing';
import { suite } from 'uvu';

const s = suite('relay contract');

proxyContract({
  name: 'relay',
  test: (name, run) => void s(name, run),
  create: (context) => new RelayContainer(context, relayOptions.parse({ processes: 2 })),
});

s.run();
