package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// proxies stand between the processes of vidflow and the servers.
type proxies struct {
	server *toxiproxy.ApiServer

	mu  sync.Mutex
	all map[string]*toxiproxy.Proxy
}

// newProxies starts a proxy for each server: at listen, before upstream, both by name.
func newProxies(listen, upstream map[string]string) (*proxies, error) {
	ps := &proxies{
		server: toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop()),
		all:    map[string]*toxiproxy.Proxy{},
	}
	for name, addr := range listen {
		proxy := toxiproxy.NewProxy(ps.server, name, addr, upstream[name])
		if err := proxy.Start(); err != nil {
			ps.close()
			return nil, fmt.Errorf("start the proxy of %s: %w", name, err)
		}
		ps.all[name] = proxy
	}
	return ps, nil
}

func (ps *proxies) close() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, p := range ps.all {
		p.Stop()
	}
}

func (ps *proxies) of(target string) *toxiproxy.Proxy {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return ps.all[target]
}

// renew puts a new proxy in the place of the one of target: its connections are cut, and it has no toxics.
func (ps *proxies) renew(target string) error {
	old := ps.of(target)
	old.Stop()
	proxy := toxiproxy.NewProxy(ps.server, target, old.Listen, old.Upstream)
	if err := proxy.Start(); err != nil {
		return fmt.Errorf("renew the proxy of %s: %w", target, err)
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.all[target] = proxy
	return nil
}

// toxic is as toxiproxy's API writes it.
type toxic struct {
	Name       string         `json:"name"`
	Type       string         `json:"type"`
	Stream     string         `json:"stream"`
	Toxicity   float32        `json:"toxicity"`
	Attributes map[string]any `json:"attributes"`
}

// toxicsOf are those of a fault; their names are the fault's, so that they can be removed.
func toxicsOf(f Fault) []toxic {
	one := func(name, kind, stream string, attributes map[string]any) toxic {
		return toxic{Name: string(f.Kind) + name, Type: kind, Stream: stream, Toxicity: 1, Attributes: attributes}
	}
	switch f.Kind {
	case Slow:
		delay := map[string]any{"latency": 150 + f.For.Milliseconds()%350, "jitter": 100}
		return []toxic{one("_up", "latency", "upstream", delay), one("_down", "latency", "downstream", delay)}
	case Reset:
		return []toxic{one("", "reset_peer", "downstream", map[string]any{"timeout": 0})}
	case HalfOpen:
		stream := "downstream"
		if f.Upwards {
			stream = "upstream"
		}
		return []toxic{one("", "timeout", stream, map[string]any{"timeout": 0})}
	}
	return nil
}

func (ps *proxies) add(f Fault) error {
	if f.Kind == Cut {
		ps.of(f.Target).Stop()
		return nil
	}
	for _, t := range toxicsOf(f) {
		body, err := json.Marshal(t)
		if err != nil {
			return err
		}
		if _, err := ps.of(f.Target).Toxics.AddToxicJson(bytes.NewReader(body)); err != nil {
			return fmt.Errorf("%s of the proxy of %s: %w", f.Kind, f.Target, err)
		}
	}
	return nil
}

// removeTimeout is for a toxic whose connections cannot get rid of what they hold, as when the other side is frozen.
const removeTimeout = 2 * time.Second

// remove takes the fault back. Connections that were only slow stay; all others are cut.
func (ps *proxies) remove(ctx context.Context, f Fault) error {
	if f.Kind != Slow {
		return ps.renew(f.Target)
	}
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	removed := make(chan error, 1)
	proxy := ps.of(f.Target)
	go func() {
		for _, t := range toxicsOf(f) {
			if err := proxy.Toxics.RemoveToxic(ctx, t.Name); err != nil {
				removed <- err
				return
			}
		}
		removed <- nil
	}()
	select {
	case err := <-removed:
		return err
	case <-ctx.Done():
		return ps.renew(f.Target)
	}
}
