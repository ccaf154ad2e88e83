package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/codeendelea/vidflow/internal/config"
)

const (
	probeCommand = "probe"
	probeTimeout = 4 * time.Second
)

// probe asks the process on this machine that answers at OPS_ADDR whether it is ready, prints its answer and fails when it
// is not. It is the health check of the container image, which has neither shell nor curl.
func probe(ctx context.Context, commands []config.Command, env map[string]string, stdout io.Writer) error {
	addrs := []string{config.OpsAddr(commands, env)}
	if addrs[0] == "" { // in a container one of these is the process that runs there
		addrs = nil
		for _, c := range []config.Command{config.Starter, config.Worker, config.KafkaBridge} {
			addrs = append(addrs, config.OpsAddr([]config.Command{c}, nil))
		}
	}
	return probeFirst(ctx, addrs, stdout)
}

// probeFirst asks at the first of the addresses where something answers.
func probeFirst(ctx context.Context, addrs []string, stdout io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	var err error
	for _, addr := range addrs {
		var answered bool
		if answered, err = askReadiness(ctx, addr, stdout); answered {
			return err
		}
	}
	if len(addrs) > 1 {
		return fmt.Errorf(`nothing answers at %s: name the process, such as "vidflow probe worker", or set OPS_ADDR to its address`,
			strings.Join(addrs, ", "))
	}
	return err
}

// askReadiness prints the answer, which says whether the process is ready, if there is one.
func askReadiness(ctx context.Context, addr string, stdout io.Writer) (answered bool, err error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return false, fmt.Errorf("OPS_ADDR %q: %w", addr, err)
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "localhost" // where a process that listens everywhere can be asked
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/readyz", nil)
	if err != nil {
		return false, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return false, fmt.Errorf("ask for readiness: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	if _, err := io.Copy(stdout, io.LimitReader(answer.Body, 64<<10)); err != nil {
		return true, fmt.Errorf("read the answer of %s: %w", request.URL, err)
	}
	if answer.StatusCode != http.StatusOK {
		return true, fmt.Errorf("%s answers %s", request.URL, answer.Status)
	}
	return true, nil
}
