// needs: stunnel, docker, root
import { matrix } from './support.js';

matrix('stunnel', 'docker');
