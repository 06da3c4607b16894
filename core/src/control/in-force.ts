import type { Authenticator, Credentials, Identity } from '../contracts/authenticator.js';
import type { Action, Granted, Policy } from '../contracts/policy.js';
import type { OpenAuthenticator } from './parts/settings.js';

/** A value that is closed when it was replaced and its last use has ended. */
interface Held<T> {
  readonly value: T;
  readonly close: () => Promise<void> | void;
  uses: number;
}

/** Something that calls use and that can be replaced meanwhile: each goes on to its end with what it began with. */
class InForce<T> {
  #now: Held<T>;

  constructor(value: T, close: Held<T>['close']) {
    this.#now = { value, close, uses: 0 };
  }

  async use<R>(work: (value: T) => Promise<R>): Promise<R> {
    const held = this.#now;
    held.uses += 1;
    try {
      return await work(held.value);
    } finally {
      held.uses -= 1;
      if (held !== this.#now) await end(held);
    }
  }

  replace(value: T, close: Held<T>['close']): void {
    const before = this.#now;
    this.#now = { value, close, uses: 0 };
    void end(before);
  }

  async close(): Promise<void> {
    await this.#now.close();
  }
}

/** What fails here was of use to nobody any more, and concerns no call. */
const end = async <T>(held: Held<T>): Promise<void> => {
  if (held.uses === 0) await Promise.resolve(held.close()).catch(() => undefined);
};

/** A policy that can be replaced while it is asked. */
export class PolicyInForce implements Policy {
  readonly #policy: InForce<Policy>;

  constructor(policy: Policy) {
    this.#policy = new InForce(policy, () => policy.close?.());
  }

  load(): Promise<void> {
    return this.#policy.use(async (policy) => policy.load?.());
  }

  check(identity: Identity, action: Action): Promise<Granted> {
    return this.#policy.use((policy) => policy.check(identity, action));
  }

  /** @param policy Loaded already. The earlier one is closed when its last question is answered. */
  replace(policy: Policy): void {
    this.#policy.replace(policy, () => policy.close?.());
  }

  close(): void {
    void this.#policy.close();
  }
}

/** An authenticator that can be replaced while it is asked. */
export class AuthenticatorInForce implements Authenticator {
  readonly #authenticator: InForce<Authenticator>;
  readonly id: string = 'in-force';

  constructor({ authenticator, close }: OpenAuthenticator) {
    this.#authenticator = new InForce(authenticator, close);
  }

  authenticate(credentials: Credentials, signal?: AbortSignal): Promise<Identity> {
    return this.#authenticator.use((authenticator) => authenticator.authenticate(credentials, signal));
  }

  replace({ authenticator, close }: OpenAuthenticator): void {
    this.#authenticator.replace(authenticator, close);
  }

  close(): Promise<void> {
    return this.#authenticator.close();
  }
}
