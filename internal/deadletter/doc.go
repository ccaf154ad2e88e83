// Package deadletter reads dead-letter topics: it lists letters, shows one, sends them back to the topics they came from,
// and tells the database of them.
//
// A dead-letter topic is its own ledger. A letter carries the origin of its record: the topic, topic id, partition, offset
// and time that the record had first, however often it died since. Sending it back writes the record, with its origin, to
// the origin's topic, and then a receipt into the dead-letter topic, which names the letters that it is for. So a redrive
// can be killed at any moment and repeated: what has a receipt is left alone, and what was sent and has none is sent again
// with the same origin, the position of which is applied once.
//
// The bridge writes letters (package kafkabridge). This package knows nothing of workflows.
package deadletter
