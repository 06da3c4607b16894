/** The user client (S2UC) as a library: creates, finds, watches, verifies and ends streams across facilities. */
export { ControlClient, type CallLimits } from './control-client.js';
export { makeCredentials, type StreamCredentials } from './credentials.js';
export { endsInMs } from './ending.js';
export type { FollowedStreamEvent, FollowOptions, StreamHistoryEvent } from './events.js';
export { gatewayState, type GatewayList, type GatewayState, type ListedGateway, type StreamMove } from './gateways.js';
export {
  loginOf,
  resolveEndpoint,
  type Endpoint,
  type TokenSource,
  type Trust,
  type TrustSettings,
} from './endpoint.js';
export { logIn, logOut, type LoginOptions } from './login/flows.js';
export type { Login, LoginPrompt, LoginResult, ServerLogin } from './login/login.js';
export { clientStateDir, Journal, type JournalEntry } from './journal.js';
export type { InboundPlan, OutboundPlan, ServerRef, SidePlan, StreamPlan } from './plan.js';
export { showServer, type ShownServer } from './sessions.js';
export { S2UC, type S2ucOptions, type SearchOptions, type Whoami } from './s2uc.js';
export type { Hop } from './hops.js';
export { targetTexts, type SideStatus, type UserState } from './side-status.js';
export type { HopTraffic, StreamStatus } from './status.js';
export { StreamHandle, type StatusOptions } from './stream-handle.js';
export type { ProgressEvent } from './stream-maker.js';
export type { Silent, StreamList } from './survey.js';
export { formatTicket, parseTicket, type InboundSide, type Ticket } from './ticket.js';
export type { VerifyOptions, VerifyResult } from './verify.js';
