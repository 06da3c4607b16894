import type { Authenticator, Credentials, Identity } from '../contracts/authenticator.js';
import type { Action, Granted, Policy } from '../contracts/policy.js';
import type { OpenAuthenticator } from './parts/settings.js';

/** A value that is closed when it has been replaced and its last use has ended. */
interface Held<T> {
  readonly value: T;
  readonly close: () => Promise<void> | void;
  uses: number;
}

/** A value that can be replaced while calls use it. Each call finishes with the value that it started with. */
class InForce<T> {
  #now: Held<T>;

  constructor(value: T, close: Held<T>['close']) {
    this.#now = { value, close, uses: 0 };
  }

  get value(): T {
    return this.#now.value;
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

/** Closes a value without uses. Errors are ignored, because they concern no call. */
const end = async <T>(held: Held<T>): Promise<void> => {
  if (held.uses === 0) await Promise.resolve(held.close()).catch(() => undefined);
};

/** A policy that can be replaced while it decides. */
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

  /** @param policy Already loaded. The previous one is closed after its last decision. */
  replace(policy: Policy): void {
    this.#policy.replace(policy, () => policy.close?.());
  }

  close(): void {
    void this.#policy.close();
  }
}

/** An authenticator that can be replaced while it authenticates. */
export class AuthenticatorInForce implements Authenticator {
  readonly #authenticator: InForce<Authenticator>;
  readonly id: string = 'in-force';

  constructor({ authenticator, close }: OpenAuthenticator) {
    this.#authenticator = new InForce(authenticator, close);
  }

  get allowsAnonymous(): boolean {
    return this.#authenticator.value.allowsAnonymous === true;
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
