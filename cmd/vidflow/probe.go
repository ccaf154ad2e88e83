package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
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
	addr := config.OpsAddr(commands, env)
	if addr == "" {
		return errors.New(`name the process, such as "vidflow probe worker", or set OPS_ADDR to its address`)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("OPS_ADDR %q: %w", addr, err)
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "localhost" // where a process that listens everywhere can be asked
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/readyz", nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("ask for readiness: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	if _, err := io.Copy(stdout, io.LimitReader(answer.Body, 64<<10)); err != nil {
		return fmt.Errorf("read the answer of %s: %w", request.URL, err)
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", request.URL, answer.Status)
	}
	return nil
}
