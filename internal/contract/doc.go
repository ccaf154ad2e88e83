// Package contract holds the types that the rest of vidflow and the outside world agree on: video ids, the messages on
// Kafka with their accepted forms, and the notions that order and identify them (Reference, Position, Ask).
//
// It depends on nothing but the standard library, a UUID type and a JSON tokenizer, is deterministic, and therefore may be
// imported by workflow code. It never does I/O, reads a clock or logs.
package contract
