/**
 * Scripts that run inside a container. They need a POSIX shell with `base64`, `timeout`, `sleep` and `sha256sum`, from
 * coreutils or busybox.
 */

/** Directory of the instance in its container. It is private and removed with the container. */
const DIRECTORY = '/tmp/scistream';

/** Names of the environment variables of a container. */
export const VARIABLES = {
  entry: 'SCISTREAM_ENTRY',
  labels: 'SCISTREAM_LABELS',
  files: 'SCISTREAM_FILES',
  part: 'SCISTREAM_PART_',
} as const;

/**
 * First process of a container. It writes the files, waits for the command (`.go`), runs the command as its child and
 * records the exit code. The program is a child because a first process ignores signals without handlers. The script
 * then stays, so that the container still answers commands. SIGTERM ends it and everything else in the container.
 */
export const ENTRY = `
umask 077
trap 'exit 0' TERM INT
rm -rf ${DIRECTORY}
mkdir -m 700 ${DIRECTORY} && cd ${DIRECTORY} || exit 125
i=0
for f in $${VARIABLES.files}; do
  name=\${f%:*} count=\${f##*:}
  : > .b64
  while [ "$count" -gt 0 ]; do
    eval "printf %s \\"\\$${VARIABLES.part}$i\\"" >> .b64
    unset "${VARIABLES.part}$i"
    i=$((i + 1)) count=$((count - 1))
  done
  base64 -d < .b64 > "$name" || exit 125
done
rm -f .b64
unset ${VARIABLES.entry} ${VARIABLES.labels} ${VARIABLES.files}
: > .ready
until [ -e .go ]; do sleep 0.1; done
sh ./.go < /dev/null &
pid=$!
echo $pid > .pid.new && mv .pid.new .pid
wait $pid
code=$?
echo $code > .exit.new && mv .exit.new .exit
while :; do sleep 3600 & wait $!; done
`;

/** Arguments of \`sh\` that run {@link ENTRY}. They avoid \`$(…)\`, which Kubernetes would expand. */
export const ENTRY_ARGUMENTS = `-c 'entry=\`echo $${VARIABLES.entry} | base64 -d\`; eval "$entry"'`;

const ENTER = `
n=0
until [ -e ${DIRECTORY}/.ready ]; do
  n=$((n + 1))
  [ $n -gt 100 ] && { echo 'the files of the instance were not written'; exit 1; }
  sleep 0.1
done
cd ${DIRECTORY} || exit 1
umask 077
`;

/**
 * Runs a command once, even if the request is repeated: \`sh -c RUN sh NONCE SECONDS OLD COMMAND…\`. A repeated request
 * waits for the first one and returns the same answer. OLD are nonces whose answers have arrived.
 */
export const RUN = `${ENTER}
nonce=$1 seconds=$2
for old in $3; do rm -rf ".exec-$old"; done
shift 3
x=.exec-$nonce
if mkdir "$x" 2> /dev/null; then
  timeout -s KILL "$seconds" "$@" > "$x/out" 2> "$x/err" < /dev/null
  echo $? > "$x/c" && mv "$x/c" "$x/code"
else
  until [ -e "$x/code" ]; do sleep 0.1; done
fi
printf '\\nscistream:%s:%s:' "$nonce" "$(cat "$x/code")"
base64 < "$x/out"; printf :; base64 < "$x/err"; printf ':end\\n'
`;

/** Prints the state of the program: created, running, or exited with a code. \`sh -c STATUS sh NONCE\` */
export const STATUS = `${ENTER}
s=created
[ -e .go ] && s=running
[ -e .exit ] && s="exited $(cat .exit)"
printf '\\nscistream:%s:%s:end\\n' "$1" "$s"
`;

/** Makes {@link ENTRY} run the command line \$2 if the program \$1 exists. \$3 is the stop signal. */
export const START = `
command -v "$1" > /dev/null || exit 127
printf %s "$3" > .stop
[ -e .go ] || { printf '%s\\n' "$2" > .go.new && mv .go.new .go; }
`;

/** Sends the signal \$1 to the program. */
export const SIGNAL = `
[ -e .go ] && [ ! -e .exit ] || exit 3
until [ -e .pid ]; do sleep 0.1; done
kill "-$1" "$(cat .pid)"
`;

/** Sends the stop signal, kills the program after \$1 tenths of a second, and prints its exit code. */
export const STOP = `
[ -e .go ] || exit 0
until [ -e .pid ]; do sleep 0.1; done
[ -e .exit ] || kill "-$(cat .stop)" "$(cat .pid)"
n=0
until [ -e .exit ] || [ $n -ge "$1" ]; do sleep 0.1; n=$((n + 1)); done
[ -e .exit ] || kill -KILL "$(cat .pid)"
until [ -e .exit ]; do sleep 0.1; done
cat .exit
`;

/** Writes files; the arguments are names and contents (base64) in turn. */
export const PUT = `
while [ $# -gt 1 ]; do
  printf %s "$2" | base64 -d > ".new-$1" && mv -f ".new-$1" "$1" || exit 1
  shift 2
done
`;

/** Empties the file \$1. */
export const CLEAR = `: > "$1"`;

/** Appends the text \$2 to the file \$1. */
export const APPEND = `printf %s "$2" >> "$1"`;

/** Decodes the file \$1 (base64) written by {@link APPEND} and moves it to \$2. */
export const PUT_GATHERED = `base64 -d < "$1" > ".new-$2" && rm -f "$1" && mv -f ".new-$2" "$2"`;

/** Prints the SHA-256 of files; missing files are omitted. */
export const HASH = `sha256sum "$@" 2> /dev/null || :`;

/** Quotes one word of a shell command line. */
export const word = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;
