// Package e2e holds the end-to-end tests: the shipping binary as processes of its own, against the real servers of the
// development stack. It links none of those servers, so that it runs with the race detector; they are found through the
// environment that `devstack exec` sets. Each test has a database, a Temporal namespace, topics and processes of its own.
package e2e
