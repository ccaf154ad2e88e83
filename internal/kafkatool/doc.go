// Package kafkatool is what people at a terminal use to look at Kafka: a check of everything that vidflow's processes need
// of it, and a reader that shows what the records of its topics say. It changes nothing but for the check's round trip, and
// joins no group.
package kafkatool
