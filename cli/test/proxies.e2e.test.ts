// needs: docker, root, haproxy, nginx, stunnel
// suite: full
/** Every proxy and every runtime as users meet them: by the commands, with the example's producer and consumer. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Site } from './support/site.js';

const s = suite<{ site: Site }>('proxies and runtimes, as users see them');

s.before(async (context) => {
  const aps = { proxy: 'haproxy', runtime: 'docker' };
  context.site = await Site.open({ aps, alcf: { proxy: 'nginx', runtime: 'process' } });
});
s.after(({ site }) => site[Symbol.asyncDispose]());

const both = (side: string): string => `${side}, ${side}`;
const combinations: readonly [flags: string, sides: string, encryption?: string][] = [
  ['--proxy nginx --runtime docker', both('nginx docker')],
  ['--proxy haproxy --runtime janus', both('haproxy janus')],
  ['--proxy relay --runtime docker --connections 2', both('relay docker')],
  ['--proxy stunnel --runtime process', both('stunnel process')],
  ['--proxy stunnel --runtime dockersock', both('stunnel dockersock')],
  ['--proxy nginx --runtime process --encryption none', both('nginx process'), 'none'],
  ['--proxy haproxy --runtime docker --encryption none', both('haproxy docker'), 'none'],
  ['--connections 2', 'haproxy docker, nginx process'],
  ['--proxy HaproxySubprocess', both('haproxy process')],
  ['--proxy hAPROXY', both('haproxy docker')],
  ['--proxy S2DS --runtime process', both('relay process')],
];
for (const [flags, sides, encryption = 'tls'] of combinations) {
  s(`stream up ${flags}`, async ({ site }) => {
    assert.equal(await site.carry(...flags.split(' ')), { sides, encryption });
    await site.expectNothingLeft();
  });
}

s.run();
