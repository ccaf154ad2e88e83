package config

import (
	"cmp"
	"slices"
)

// Command is a command of the binary that is configured by the environment.
type Command string

// The commands. The first three are processes: they run until they are stopped.
const (
	Worker      Command = "worker"
	Starter     Command = "starter"
	KafkaBridge Command = "kafkabridge"
	Migrate     Command = "migrate"
	DeadLetters Command = "dlq"
	KafkaTools  Command = "kafka"
	Status      Command = "status"
	Adopt       Command = "adopt"
	Replay      Command = "replay"
)

// Commands are those that can be named together, and Processes those of them that run until they are stopped. Tools are
// for people at a terminal, and stand alone.
var (
	Commands  = []Command{Worker, Starter, KafkaBridge, Migrate}
	Processes = []Command{Worker, Starter, KafkaBridge}
	Tools     = []Command{DeadLetters, KafkaTools, Status, Adopt, Replay}
)

// Commands of variables that not all read.
var (
	worker  = []Command{Worker}
	starter = []Command{Starter}
	bridge  = []Command{KafkaBridge}

	everyone        = slices.Concat(Commands, Tools)
	kafkaClients    = slices.Concat(Processes, []Command{DeadLetters, KafkaTools, Status})
	temporalClients = slices.Concat(Commands, []Command{Status, Adopt, Replay})
)

// defaultOpsAddr is where the probes of a process are served when OPS_ADDR is not set: on the loopback interface, at a
// port of its own, so that all three can run on one machine.
func (c Command) defaultOpsAddr() string {
	switch c {
	case Worker:
		return "127.0.0.1:9101"
	case Starter:
		return "127.0.0.1:9102"
	case KafkaBridge:
		return "127.0.0.1:9103"
	default:
		return ""
	}
}

// OpsAddr is where a process that runs the commands in this environment answers probes; empty when neither says so.
func OpsAddr(commands []Command, env map[string]string) string {
	return cmp.Or(env["OPS_ADDR"], opsAddr(commands))
}

// opsAddr is the one address for commands that run together in one process: the API's where it is among them, because
// its readiness is the one that decides about traffic, else that of the first in the order of Processes.
func opsAddr(commands []Command) string {
	for _, c := range []Command{Starter, Worker, KafkaBridge} {
		if slices.Contains(commands, c) {
			return c.defaultOpsAddr()
		}
	}
	return ""
}
