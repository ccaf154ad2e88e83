// Package kafkabridge turns the results that arrive on Kafka into signals of the workflow: it decodes, delivers,
// acknowledges and dead-letters.
//
// Two promises hold whatever happens. An offset is committed only when everything up to it was accepted by Temporal or by
// the dead-letter topic; and what can never be understood goes to that topic, with all it had and the reason, before its
// offset is committed. Order is kept per video and only per video.
//
// It knows the workflow only by its name, id, signals and types. It never reads or writes a database or storage.
package kafkabridge
