export { formatAddress, type Address } from './address.js';
export { FrameParser, type FrameEvents } from './frame-parser.js';
export * from './frame.js';
export { type ConnectionSummary } from './reception.js';
export { runConsumer, type ConsumerOptions, type Progress, type Summary } from './run-consumer.js';
export { runProducer, type ProducerOptions, type ProducerSummary } from './run-producer.js';
