/**
 * Starts stunnel. It detects inherited sockets like systemd services do (sd_listen_fds(3)): LISTEN_PID must be its own
 * pid, which only a shell that executes it can know. It assigns the sockets to its services in order, and a reload
 * keeps them open. The maximum number of clients follows from the limit of open files, which `ulimit` may fail to
 * raise. Arguments: program, configuration, limit of open files, number of inherited sockets.
 */
const RUN = `ulimit -n "$3" 2>/dev/null
if [ "$4" -gt 0 ]; then export LISTEN_PID=$$ LISTEN_FDS="$4"; fi
exec "$1" "$2"`;

/**
 * Checks a configuration. stunnel has no check mode, but it reads the whole file, certificates and keys before it binds
 * anything. It therefore gets an invalid listening socket, exits there, and its earlier output is the result. A stunnel
 * without systemd support exits because the port is in use, or after 5 s. Arguments: program, configuration.
 */
const CHECK = `words=$(timeout 5 sh -c 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$1" "$2" 3</dev/null' sh "$1" "$2" 2>&1)
status=$?
case "$words" in *'Configuration successful'*) exit 0 ;; esac
printf '%s\\n' "$words" | grep -F '[!]' >&2 || printf '%s\\n' "$words" >&2
[ "$status" -eq 127 ] && exit 127
exit 1`;

/** Arguments of `sh` that run a configuration. @param sockets Number of inherited listening sockets: 3, 4 … */
export const runArguments = (
  executable: string,
  config: string,
  maxConnections: number,
  sockets: number,
): readonly string[] => ['-c', RUN, 'stunnel', executable, config, String(fileLimit(maxConnections)), String(sockets)];

/** The command that checks a configuration; exits with 127 if the program does not exist. */
export const checkCommand = (executable: string, config: string): readonly string[] => [
  'sh',
  '-c',
  CHECK,
  'stunnel',
  executable,
  config,
];

/** stunnel allows 125 clients per 256 open files, from 256 files on. */
const fileLimit = (clients: number): number => Math.ceil((clients * 256) / 125);
