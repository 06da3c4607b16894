// needs: haproxy, nginx, stunnel
/** Encrypted streams between gateways that run different proxies. */
import { tlsPairs } from '@scistream/core/testing';
import { suite } from 'uvu';
import { tlsEnds } from './support.js';

const s = suite('encrypted streams between different proxies');

tlsPairs({ test: (name, run) => void s(name, run), ends: tlsEnds('relay', 'haproxy', 'nginx', 'stunnel') });

s.run();
