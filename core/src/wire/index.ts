/** The generated messages and services, for programs that implement the protocol. */
export * from './gen/scistream_pb.js';
export { Health, HealthCheckResponse_ServingStatus } from './gen/grpc/health/v1/health_pb.js';
export { GatewayService } from './gen/scistream/v1/gateway_pb.js';
export * as v1 from './gen/scistream/v1/streams_pb.js';
