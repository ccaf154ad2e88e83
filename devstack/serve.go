package main

import (
	"context"
	"fmt"
	"os"

	"github.com/codeendelea/vidflow/devstack/ports"
	"github.com/codeendelea/vidflow/devstack/stack"
)

// serveCmd runs one server of a stack in a process of its own, so that it can be killed and frozen like any other.
type serveCmd struct {
	Server          string `arg:"" enum:"temporal,kafka,storage" help:"Which server."`
	Dir             string `required:"" type:"path" help:"Where the stack keeps its state."`
	PortBase        int    `required:"" help:"First port of the stack's block."`
	SyncKafka       bool   `help:"Have Kafka acknowledge only what is on disk." default:"true" negatable:""`
	TemporalStore   string `help:"What Temporal keeps its state on." enum:"sqlite,postgres" default:"sqlite"`
	AdvertisedKafka string `help:"Address that the Kafka broker tells its clients." placeholder:"HOST:PORT"`
}

// Run serves until it is told to end.
func (c *serveCmd) Run(sig *interrupts) error {
	servers, err := stack.New(stack.Config{
		Dir:             c.Dir,
		Ports:           ports.Block{Base: c.PortBase},
		Disposable:      true,
		AdvertisedKafka: c.AdvertisedKafka,
		SyncKafka:       c.SyncKafka,
		TemporalStore:   c.TemporalStore,
		Log:             os.Stderr,
	})
	if err != nil {
		return err
	}
	if err := servers.StartServer(sig.asked, c.Server); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%s serves\n", c.Server)
	<-sig.asked.Done()
	return servers.StopServer(context.WithoutCancel(sig.asked), c.Server)
}
