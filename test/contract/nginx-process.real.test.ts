// needs: nginx
import { matrix } from './support.js';

matrix('nginx', 'process');
