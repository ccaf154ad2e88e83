// Package chaos runs a whole pipeline, several of each process on real servers, kills, freezes, cuts, floods and poisons
// it by a plan that follows from a seed alone, heals everything, waits until it has come to rest, and has package audit
// look at what came of every result. It does not link the Temporal server: servers are child processes.
package chaos
