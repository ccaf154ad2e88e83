// Package process is what every long-running process of vidflow has in common: it starts and stops with signals, waits
// for what it needs, and answers probes. It knows neither Kafka nor Temporal nor Postgres: whoever wires a process hands
// it checks.
package process
