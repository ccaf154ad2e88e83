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

	"github.com/spf13/cobra"
	discovery "k8s.io/api/discovery/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	lister "k8s.io/client-go/listers/discovery/v1"
)

// gateway stands in for what leads requests to the pods of a Service. A request goes to one of those that are ready, and
// nobody tries another when that one does not answer.
type gateway struct {
	kubeconfig, namespace, service, listen string

	slices lister.EndpointSliceLister

	mu   sync.Mutex
	next int
}

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
	g.slices = factory.Discovery().V1().EndpointSlices().Lister()
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

// pick is the address of the pod whose turn it is.
func (g *gateway) pick() (string, error) {
	list, err := g.slices.List(labels.Everything())
	if err != nil {
		return "", err
	}
	var ready []string
	for _, slice := range list {
		for _, e := range slice.Endpoints {
			if e.Conditions.Ready != nil && *e.Conditions.Ready {
				ready = append(ready, net.JoinHostPort(here(e.Addresses[0]), fmt.Sprint(*slice.Ports[0].Port)))
			}
		}
	}
	if len(ready) == 0 {
		return "", errors.New("no pod is ready")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.next++
	return ready[g.next%len(ready)], nil
}
