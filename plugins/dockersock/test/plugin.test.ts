import { pluginContract } from '@scistream/core/testing';
import plugin from '@scistream/plugin-dockersock';
import { suite } from 'uvu';

const s = suite('the package');

pluginContract({
  name: 'dockersock',
  test: (name, run) => void s(name, run),
  plugin,
  packageJson: import.meta.resolve('@scistream/plugin-dockersock/package.json'),
});

s.run();
