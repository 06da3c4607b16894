/** Container engines that die. */
import * as assert from 'uvu/assert';
import { engines } from '../support/engine.js';
import type { Fault } from './fault.js';
import { Site } from './site.js';
import { establish } from './traffic.js';

/** Proxies of an engine with live-restore survive its death, and can be controlled again when it is back. */
export const engineKilled: Fault = {
  fault: 'kill -9 of dockerd with live-restore, haproxy in a container',
  promised:
    'open connections lose no byte; when dockerd is back, the stream can be retargeted and released; nothing left',
  short: false,
  needs: ['docker', 'root', 'haproxy'],
  async run({ say }) {
    const engine = await engines.startEngine();
    try {
      await engine.down();
      await engine.up({ liveRestore: true });
      const config = {
        proxies: { haproxy: { image: engine.image } },
        runtimes: { dockersock: { socket: engine.host.replace('unix://', '') } },
      };
      await using site = await Site.start({ config });
      const peer = await site.connect();
      const stream = await site.setUp(peer, { proxy: 'haproxy', runtime: 'dockersock' });
      const flow = await establish(stream.entry);
      await engine.down('SIGKILL');
      await flow.moves();
      say('the engine is dead');
      await engine.up({ liveRestore: true });
      await flow.moves();
      assert.ok(flow.open);
      return await site.conclude(peer, { ...stream, flow });
    } finally {
      await engine.stop();
    }
  },
};
