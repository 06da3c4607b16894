// needs: nginx
// suite: full
/** Nginx as in a container on another machine; test/contract has the other cells. */
import { suite } from 'uvu';
import { proxyContract } from '@scistream/core/testing';
import { remoteNginx } from './support.js';

const s = suite('contract');

proxyContract({ name: 'nginx with its own sockets and only its log', test: s, create: remoteNginx, holds: false });

s.run();
