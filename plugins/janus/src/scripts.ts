/**
 * What runs inside a container, for any POSIX shell with `base64`, `timeout`, `sleep` and `sha256sum` (coreutils or
 * busybox), which every image of ours has.
 */

/** Directory of the instance in its container: private, gone with the container. */
const DIRECTORY = '/tmp/scistream';

/** Names of the variables a container is told by. */
export const VARIABLES = {
  entry: 'SCISTREAM_ENTRY',
  labels: 'SCISTREAM_LABELS',
  files: 'SCISTREAM_FILES',
  part: 'SCISTREAM_PART_',
} as const;

/**
 * First process of a container. It writes the files, waits until it is told what to run (`.go`), runs that as its child
 * (a first process would not see signals without handlers, not even SIGKILL), notes how it ended, and stays, so that
 * everything can still be asked and read. SIGTERM ends it, and with it all that runs in the container.
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

/** Arguments of \`sh\` that run {@link ENTRY}; without \`$(…)\`, which Kubernetes would take for a variable of its own. */
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
 * Runs a command once, however often it is asked for: \`sh -c RUN sh NONCE SECONDS OLD COMMAND…\`. Who comes later waits
 * for the one run and gets the same answer; OLD are nonces whose answers have arrived.
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

/** Tells what the program does: created, running, or exited with a code. \`sh -c STATUS sh NONCE\` */
export const STATUS = `${ENTER}
s=created
[ -e .go ] && s=running
[ -e .exit ] && s="exited $(cat .exit)"
printf '\\nscistream:%s:%s:end\\n' "$1" "$s"
`;

/** Has {@link ENTRY} run the text \$2, if the program \$1 exists; the signal \$3 will ask it to end. */
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

/** Asks the program to end, ends it by force after \$1 tenths of a second, and prints its exit code. */
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

/** Writes files: names and contents (base64) by turns. */
export const PUT = `
while [ $# -gt 1 ]; do
  printf %s "$2" | base64 -d > ".new-$1" && mv -f ".new-$1" "$1" || exit 1
  shift 2
done
`;

/** Empties the file \$1. */
export const CLEAR = `: > "$1"`;

/** Adds the text \$2 to the file \$1. */
export const APPEND = `printf %s "$2" >> "$1"`;

/** Puts what {@link APPEND} has gathered in \$1 (base64) in place as \$2. */
export const PUT_GATHERED = `base64 -d < "$1" > ".new-$2" && rm -f "$1" && mv -f ".new-$2" "$2"`;

/** Prints hashes of files; those that do not exist are left out. */
export const HASH = `sha256sum "$@" 2> /dev/null || :`;

/** One word of a shell's command line. */
export const word = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;
