/**
 * stunnel finds inherited sockets as systemd passes them on (sd_listen_fds(3)): LISTEN_PID must be its own pid, which
 * only a shell that becomes it can know. It gives them to its services in their order, and a reload leaves them open.
 * The number of clients it allows follows from the limit of open files (`ulimit` may refuse to raise that).
 * Arguments: program, configuration, limit of open files, number of inherited sockets.
 */
const RUN = `ulimit -n "$3" 2>/dev/null
if [ "$4" -gt 0 ]; then export LISTEN_PID=$$ LISTEN_FDS="$4"; fi
exec "$1" "$2"`;

/**
 * stunnel cannot check a file, but it reads all of it, with certificates and keys, before it binds anything. So it gets
 * something for a listening socket that is none, ends there, and its words before that are the answer. A stunnel without
 * systemd support ends when the port is in use, or after 5 s.
 * Arguments: program, configuration.
 */
const CHECK = `words=$(timeout 5 sh -c 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$1" "$2" 3</dev/null' sh "$1" "$2" 2>&1)
status=$?
case "$words" in *'Configuration successful'*) exit 0 ;; esac
printf '%s\\n' "$words" | grep -F '[!]' >&2 || printf '%s\\n' "$words" >&2
[ "$status" -eq 127 ] && exit 127
exit 1`;

/** Arguments of `sh` that run a configuration. @param sockets How many listening sockets are inherited, as 3, 4 … */
export const runArguments = (
  executable: string,
  config: string,
  maxConnections: number,
  sockets: number,
): readonly string[] => ['-c', RUN, 'stunnel', executable, config, String(fileLimit(maxConnections)), String(sockets)];

/** The command that checks a configuration; exits with 127 when there is no such program. */
export const checkCommand = (executable: string, config: string): readonly string[] => [
  'sh',
  '-c',
  CHECK,
  'stunnel',
  executable,
  config,
];

/** stunnel allows 125 clients for 256 open files, from 256 files on. */
const fileLimit = (clients: number): number => Math.ceil((clients * 256) / 125);
