// needs: haproxy
import { matrix } from './support.js';

matrix('haproxy', 'process');
