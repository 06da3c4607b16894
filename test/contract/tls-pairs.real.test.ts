// needs: haproxy, nginx, stunnel
// suite: full
/** Encrypted streams between gateways that run different proxies. */
import { tlsPairs } from '@scistream/core/testing';
import { suite } from 'uvu';
import { tlsEnds } from './support.js';

const s = suite('encrypted streams between different proxies');

tlsPairs({
  test: (name, run) => void s(name, run),
  ends: tlsEnds('relay', 'haproxy', 'nginx', 'stunnel'),
  known: [
    {
      server: 'nginx',
      client: 'stunnel',
      title: 'passes the end',
      reason: 'nginx takes the close_notify of stunnel, which ends one direction, for the end of both',
    },
    {
      server: 'stunnel',
      client: 'nginx',
      title: 'passes the end',
      reason: 'nginx ends a direction by a bare FIN, which stunnel sometimes takes for a connection that broke',
    },
  ],
});

s.run();
