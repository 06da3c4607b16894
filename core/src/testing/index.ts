/**
 * What tests of SciStream and of its plugins build on: the contract of a proxy as tests for any runner, and helpers.
 * Uses nothing but Node.js, so a plugin needs no particular test framework.
 */
export { dial, echo, exchange, named, read, receiveAll, sendRandom, tcpServer } from './network.js';
export type { Flow, TestServer } from './network.js';
export { proxyContract } from './proxy-contract.js';
export type { ProxyCases, ProxyContract } from './proxy-contract.js';
export { expectCode, inProxyEnvironment, listener, ProxyEnvironment } from './proxy-environment.js';
export type { StreamShape } from './proxy-environment.js';
export { storeContract, testRecord } from './store-contract.js';
export type { StoreContract } from './store-contract.js';
export { eventually, temporaryDirectory, testContext } from './support.js';
export type { TemporaryDirectory, TestContext } from './support.js';
