// Package kafka wraps franz-go with what every Kafka client of vidflow needs: options from the configuration, errors
// that tell what a person must mend from what is merely away, probes, a producer of single records and a reader of
// single records.
//
// It knows nothing of workflows or signals and imports only the contract types. Consuming in a group is the business
// of package kafkabridge.
package kafka
