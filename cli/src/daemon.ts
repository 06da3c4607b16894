/** Something that is started once and stopped once. */
export interface Daemon<Started> {
  start(): Promise<Started>;
  stop(): Promise<void>;
}

/**
 * Runs a daemon until SIGINT or SIGTERM, then stops it. A second signal ends the process at once.
 * @param onStarted Called once with what `start` returned.
 */
export async function runDaemon<Started>(
  daemon: Daemon<Started>,
  onStarted: (started: Started) => void,
): Promise<void> {
  const asked = firstSignal();
  onStarted(await daemon.start());
  await asked;
  await daemon.stop();
}

function firstSignal(): Promise<void> {
  return new Promise((resolve) => {
    let seen = false;
    const on = (signal: NodeJS.Signals, number: number): void => {
      process.on(signal, () => {
        if (seen) process.exit(128 + number);
        seen = true;
        resolve();
      });
    };
    on('SIGINT', 2);
    on('SIGTERM', 15);
  });
}
