// needs: stunnel
import { matrix } from './support.js';

matrix('stunnel', 'process');
