/**
 * Test support for SciStream and its plugins: the contracts of plugins, proxies, runtimes and stores as tests for any
 * runner, and helpers. It depends only on Node.js, so a plugin can use any test framework.
 */
export { testCredentials } from './credentials.js';
export type { TestCredentials } from './credentials.js';
export { FakeRuntime } from './fake-runtime.js';
export type { FakeCommand, FakeMachine, FakeProgram, FakeSelf } from './fake-runtime.js';
export { dial, echo, exchange, named, read, receiveAll, sendRandom, sendWhile, tcpServer } from './network.js';
export type { BeforeEnd, Flow, TestServer } from './network.js';
export { pluginContract } from './plugin-contract.js';
export type { PluginContract } from './plugin-contract.js';
export { freeRange } from './ports.js';
export type { FreeRange } from './ports.js';
export { proxyContract } from './proxy-contract.js';
export type { ProxyContract } from './proxy-contract.js';
export type { ProxyCases } from './proxy-environment.js';
export { expectCode, inProxyEnvironment, listener, ProxyEnvironment } from './proxy-environment.js';
export type { CreateS2DS, ProxySetup, StreamShape } from './proxy-environment.js';
export { PairedS2DS } from './proxy-pair.js';
export type { Pair } from './proxy-pair.js';
export type { SkippedCase, TestFunction } from './report.js';
export { RUNTIME_SCRIPTS, runtimeContract } from './runtime-contract.js';
export type { RuntimeContract, TestProgram } from './runtime-contract.js';
export type { RuntimeCases } from './runtime-environment.js';
export { listeningOf, processFixture } from './runtime-fixture.js';
export type { OpenRuntime, RuntimeFixture, TestHosts } from './runtime-fixture.js';
export { storeContract, testRecord } from './store-contract.js';
export type { StoreContract } from './store-contract.js';
export { eventually, temporaryDirectory, testContext, testSpec, withSupports } from './support.js';
export type { TemporaryDirectory, TestContext } from './support.js';
export { testView } from './render.js';
export { tlsTrafficCases } from './proxy-tls.js';
export { tlsPairs } from './tls-pairs.js';
export type { KnownFailure, TlsEnd, TlsPairs } from './tls-pairs.js';
