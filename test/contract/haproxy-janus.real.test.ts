// needs: haproxy, docker, root
import { matrix } from './support.js';

matrix('haproxy', 'janus');
