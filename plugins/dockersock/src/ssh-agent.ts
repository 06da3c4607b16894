import { spawn } from 'node:child_process';
import { Agent } from 'node:http';
import { Duplex } from 'node:stream';
import type { Endpoint } from './endpoint.js';

const CONNECT_SECONDS = 10;

/**
 * Reaches an engine through ssh(1), like the `docker` command. It uses the user's ssh configuration, keys and known
 * hosts and never prompts. The remote host needs `docker`. Every call starts one ssh process, so the engine should be
 * near.
 */
export class SshAgent extends Agent {
  readonly #endpoint: Endpoint;

  constructor(endpoint: Endpoint) {
    super({ keepAlive: false });
    this.#endpoint = endpoint;
  }

  override createConnection(): Duplex {
    const { host = '', port, user } = this.#endpoint;
    const ssh = spawn(
      'ssh',
      [
        ...['-o', 'BatchMode=yes', '-o', `ConnectTimeout=${CONNECT_SECONDS}`, '-T'],
        ...(port === undefined ? [] : ['-p', String(port)]),
        ...(user === undefined ? [] : ['-l', user]),
        ...['--', host, 'docker', 'system', 'dial-stdio'],
      ],
      { stdio: 'pipe' },
    );
    const connection = Duplex.from({ readable: ssh.stdout, writable: ssh.stdin });
    let words = '';
    ssh.stderr.setEncoding('utf8').on('data', (text: string) => (words = `${words}${text}`.slice(-2_000)));
    ssh.once('error', (error) => connection.destroy(error));
    ssh.once('close', (code) => {
      if (code !== 0) connection.destroy(new Error(`ssh to ${host} ended with exit code ${code}: ${words.trim()}`));
    });
    connection.once('close', () => ssh.kill());
    return connection;
  }
}
