// needs: nginx
// suite: full
/** Nginx as in a container of another machine; test/contract has the other cells. */
import { suite } from 'uvu';
import { proxyContract } from '@scistream/core/testing';
import { remoteNginx } from './support.js';

const s = suite('contract');

proxyContract({ name: 'nginx that binds itself, known by its log alone', test: s, create: remoteNginx, holds: false });

s.run();
