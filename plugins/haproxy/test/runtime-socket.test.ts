import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { isRetargeted } from '@scistream/plugin-haproxy/internal';

const s = suite('runtime socket');

s('recognizes the replies of HAProxy to a changed server', () => {
  const replies = [
    // 2.6.12
    "IP changed from '127.0.0.1' to '::1', port changed from '1' to '7000' by 'stats socket command'",
    "no need to change the addr, port changed from '1' to '7000' by 'stats socket command'",
    "IP changed from '127.0.0.1' to '127.0.0.2', no need to change the port by 'stats socket command'",
    'no need to change the addr, no need to change the port',
    // 3.0.11
    "port changed from '1' to '7000' by 'stats socket command'",
    "IP changed from '127.0.0.1' to '127.0.0.2' by 'stats socket command'",
    'nothing changed',
  ];
  for (const reply of replies) assert.ok(isRetargeted(reply), reply);
});

s('any other reply is an error', () => {
  const replies = [
    '',
    'No such server.',
    "Invalid addr 'nope'",
    "IP changed from '127.0.0.1' to '127.0.0.2', problem converting string 'x' to int",
    "Can't change the port",
  ];
  for (const reply of replies) assert.not.ok(isRetargeted(reply), reply);
});

s.run();
