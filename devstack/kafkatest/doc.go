// Package kafkatest holds tests of vidflow's Kafka clients and of its bridge on the real Apache Kafka: what only that
// one does. On the embedded broker, which `make test` has, they are skipped; `make test-kafka` runs them.
package kafkatest
