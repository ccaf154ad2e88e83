package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	discovery "k8s.io/api/discovery/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	lister "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/cache"
)

// gateway stands in for what leads requests to the pods of a Service. A request goes to one of those that were ready, and nobody
// tries another when that one does not answer.
type gateway struct {
	kubeconfig, namespace, service, listen string

	slices lister.EndpointSliceLister

	mu           sync.Mutex
	ready        []string // addresses
	seen, learnt int      // numbers of changes: the last one that there was, and that which ready is from
	next         int
}

// late is when a gateway learns of a change: the cluster promises it no moment.
const late = 2 * time.Second

// GatewayCommand is a gateway to one Service.
func GatewayCommand() *cobra.Command {
	g := new(gateway)
	cmd := &cobra.Command{
		Use: "gateway", Short: "Lead requests to the pods of a Service that are ready", Args: cobra.NoArgs, SilenceUsage: true,
		RunE: func(*cobra.Command, []string) error {
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
			defer stop()
			return g.run(ctx)
		},
	}
	for flag, to := range map[string]*string{"kubeconfig": &g.kubeconfig, "namespace": &g.namespace, "service": &g.service, "listen": &g.listen} {
		cmd.Flags().StringVar(to, flag, "", "")
		_ = cmd.MarkFlagRequired(flag)
	}
	return cmd
}

func (g *gateway) run(ctx context.Context) error {
	client, err := connect(g.kubeconfig)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(g.namespace),
		informers.WithTweakListOptions(func(o *meta.ListOptions) { o.LabelSelector = discovery.LabelServiceName + "=" + g.service }))
	endpoints := factory.Discovery().V1().EndpointSlices()
	g.slices = endpoints.Lister()
	_, err = endpoints.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { g.change() }, UpdateFunc: func(_, _ any) { g.change() }, DeleteFunc: func(any) { g.change() },
	})
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	server := &http.Server{Addr: g.listen, Handler: &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetXForwarded()
			r.Out.URL.Scheme, r.Out.URL.Host = "http", g.service // see pick
		},
		Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			address, err := g.pick()
			if err != nil {
				return nil, err
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		}},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			note("gateway: %s %s: %v", r.Method, r.URL.Path, err)
			w.WriteHeader(http.StatusBadGateway)
		},
		FlushInterval: -1,
	}}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// change learns, late, which pods are ready now.
func (g *gateway) change() {
	list, err := g.slices.List(labels.Everything())
	if err != nil {
		note("gateway: %v", err)
		return
	}
	var ready []string
	for _, slice := range list {
		for _, e := range slice.Endpoints {
			if e.Conditions.Ready != nil && *e.Conditions.Ready {
				ready = append(ready, net.JoinHostPort(here(e.Addresses[0]), fmt.Sprint(*slice.Ports[0].Port)))
			}
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seen++
	number := g.seen
	time.AfterFunc(late, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if number > g.learnt {
			g.learnt, g.ready = number, ready
		}
	})
}

// pick is the address of the pod whose turn it is.
func (g *gateway) pick() (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.ready) == 0 {
		return "", errors.New("no pod is ready")
	}
	g.next++
	return g.ready[g.next%len(g.ready)], nil
}
