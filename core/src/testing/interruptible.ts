import type { ContainerRef, ContainerRuntime } from '../contracts/container-runtime.js';

type Method = (...args: readonly unknown[]) => Promise<unknown>;

/**
 * A runtime that a test can interrupt: between the start of a program and its readiness, or permanently, as if the
 * calling process had died.
 */
export class Interruptible {
  /** Called after a program was started. */
  afterStart: (ref: ContainerRef) => Promise<void> = () => Promise.resolve();
  /** The runtime to use instead of the original one. */
  readonly runtime: ContainerRuntime;
  readonly #cut = new AbortController();

  constructor(real: ContainerRuntime) {
    this.runtime = new Proxy(real, { get: (target, key) => this.#property(target, key) });
  }

  /** From now on no call returns, including pending ones. */
  sever(): void {
    this.#cut.abort();
  }

  #property(target: ContainerRuntime, key: string | symbol): unknown {
    const value: unknown = Reflect.get(target, key, target);
    return typeof value === 'function' ? this.#method(target, key, value as Method) : value;
  }

  #method(target: ContainerRuntime, key: string | symbol, method: Method): Method {
    return async (...args) => {
      try {
        if (!this.#cut.signal.aborted) return await this.#call(target, key, method, args);
      } catch (error) {
        if (!this.#cut.signal.aborted) throw error;
      }
      return await new Promise<never>(() => undefined);
    };
  }

  async #call(
    target: ContainerRuntime,
    key: string | symbol,
    method: Method,
    args: readonly unknown[],
  ): Promise<unknown> {
    const watched = key === 'exited' ? args.map((arg) => (arg instanceof AbortSignal ? this.#orCut(arg) : arg)) : args;
    const result: unknown = await Reflect.apply(method, target, watched);
    if (key === 'start') await this.afterStart(args[0] as ContainerRef);
    this.#cut.signal.throwIfAborted();
    return result;
  }

  #orCut(signal: AbortSignal): AbortSignal {
    return AbortSignal.any([signal, this.#cut.signal]);
  }
}
