// Package temporal runs a real Temporal server and its real UI in the process: on a SQLite file, the way the Temporal
// CLI's `server start-dev` does, or on Postgres, the way a cluster does. It is the one package that links the server,
// which takes minutes to build: only the devstack program may import it, and no test that runs under the race detector.
package temporal

import (
	"context"
	"fmt"
	"sync"
	"time"

	uiserver "github.com/temporalio/ui-server/v2/server"
	uiconfig "github.com/temporalio/ui-server/v2/server/config"
	uioptions "github.com/temporalio/ui-server/v2/server/server_options"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/cluster"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/membership/static"
	"go.temporal.io/server/common/primitives"
	"go.temporal.io/server/temporal"
)

const (
	host        = "127.0.0.1"
	clusterName = "active"
	clusterID   = "2d3f9fd4-5b5c-4d0c-9b1e-6c0f8f9f5c11"
)

// Config says where the server listens and what it keeps.
type Config struct {
	// File is the SQLite database; made where it does not exist.
	File string
	// Postgres keeps everything in the place of File, where it is set: in two databases, made where they do not exist.
	Postgres *Postgres
	// Namespace is made where it does not exist, with SearchAttributes.
	Namespace        string
	SearchAttributes map[string]enumspb.IndexedValueType
	// Ports on the loopback interface.
	GRPCPort, HTTPPort, UIPort                int
	HistoryPort, MatchingPort, InternalWorker int
	// LogFile takes the server's warnings and errors.
	LogFile string
}

// Server is the Temporal server with its UI. Its methods are safe for concurrent use.
type Server struct {
	cfg Config

	mu      sync.Mutex
	running temporal.Server // nil while stopped
	ui      *uiserver.Server
	uiDone  chan struct{}
}

// New returns a server that is not started.
func New(cfg Config) *Server { return &Server{cfg: cfg} }

// Start brings the server up with the workflows it had when it was stopped, and the UI with it. It does nothing when
// it runs.
func (s *Server) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != nil {
		return nil
	}
	if s.cfg.Postgres != nil {
		if err := s.cfg.Postgres.await(ctx); err != nil {
			return fmt.Errorf("start the Temporal server: %w", err)
		}
	}
	server, err := s.build()
	if err != nil {
		return fmt.Errorf("configure the Temporal server: %w", err)
	}
	if err := server.Start(); err != nil {
		return fmt.Errorf("start the Temporal server: %w", err)
	}
	s.running = server
	s.startUI()
	return nil
}

// Stop ends the UI and the server. It does nothing when they are stopped.
func (s *Server) Stop(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil {
		return nil
	}
	s.ui.Stop()
	<-s.uiDone
	err := s.running.Stop()
	s.running, s.ui = nil, nil
	if err != nil {
		return fmt.Errorf("stop the Temporal server: %w", err)
	}
	return nil
}

func (s *Server) startUI() {
	s.ui = uiserver.NewServer(uioptions.WithConfigProvider(&uiconfig.Config{
		Host:                host,
		Port:                s.cfg.UIPort,
		TemporalGRPCAddress: addr(s.cfg.GRPCPort),
		EnableUI:            true,
		DefaultNamespace:    s.cfg.Namespace,
		CORS:                uiconfig.CORS{CookieInsecure: true},
		HideLogs:            true,
		DisableNewsFetch:    true,
	}))
	s.uiDone = make(chan struct{})
	go func(ui *uiserver.Server, done chan<- struct{}) {
		defer close(done)
		_ = ui.Start() // never an error: it exits the program when it cannot listen
	}(s.ui, s.uiDone)
}

func (s *Server) build() (temporal.Server, error) {
	store, err := s.store()
	if err != nil {
		return nil, err
	}
	conf := s.config(store)
	authorizer, err := authorization.GetAuthorizerFromConfig(&conf.Global.Authorization)
	if err != nil {
		return nil, err
	}
	logger := log.NewZapLogger(log.BuildZapLogger(log.Config{Level: "warn", OutputFile: s.cfg.LogFile}))
	claims, err := authorization.GetClaimMapperFromConfig(&conf.Global.Authorization, logger)
	if err != nil {
		return nil, err
	}
	return temporal.NewServer(
		temporal.WithConfig(conf),
		temporal.ForServices(temporal.DefaultServices),
		temporal.WithStaticHosts(map[primitives.ServiceName]static.Hosts{
			primitives.FrontendService: static.SingleLocalHost(addr(s.cfg.GRPCPort)),
			primitives.HistoryService:  static.SingleLocalHost(addr(s.cfg.HistoryPort)),
			primitives.MatchingService: static.SingleLocalHost(addr(s.cfg.MatchingPort)),
			primitives.WorkerService:   static.SingleLocalHost(addr(s.cfg.InternalWorker)),
		}),
		temporal.WithLogger(logger),
		temporal.WithAuthorizer(authorizer),
		temporal.WithClaimMapper(func(*config.Config) authorization.ClaimMapper { return claims }),
		temporal.WithDynamicConfigClient(dynamicConfig()),
	)
}

// dynamicConfig is what the Temporal CLI's development server sets, as far as it is not the default of this version:
// Nexus and update-with-start are. It leaves out that search attributes are read anew at each use: the server then reads
// them for every run of a list, and a thousand runs meet its limit of queries. In one namespace runs are soon told to
// continue as new, for the test of that.
func dynamicConfig() dynamicconfig.StaticClient {
	return dynamicconfig.StaticClient{
		dynamicconfig.HistoryCacheHostLevelMaxSize.Key():                 8096,
		dynamicconfig.FrontendMaxNamespaceVisibilityRPSPerInstance.Key(): 100,
		dynamicconfig.HistoryCountSuggestContinueAsNew.Key(): []dynamicconfig.ConstrainedValue{
			{Constraints: dynamicconfig.Constraints{Namespace: "short-histories"}, Value: 40},
			{Value: 4096},
		},
		// A version of the worker that is replaced is looked at for what is left on it each two seconds, and not each three minutes.
		dynamicconfig.VersionDrainageStatusVisibilityGracePeriod.Key(): 2 * time.Second,
		dynamicconfig.VersionDrainageStatusRefreshInterval.Key():       2 * time.Second,
	}
}

func (s *Server) config(store config.Persistence) *config.Config {
	conf := &config.Config{}
	conf.Global.Membership.MaxJoinDuration = 30 * time.Second
	conf.Global.Membership.BroadcastAddress = host
	conf.Persistence = store
	conf.ClusterMetadata = &cluster.Config{
		FailoverVersionIncrement: 10,
		MasterClusterName:        clusterName,
		CurrentClusterName:       clusterName,
		ClusterInformation: map[string]cluster.ClusterInformation{
			clusterName: {
				Enabled:                true,
				InitialFailoverVersion: 1,
				RPCAddress:             addr(s.cfg.GRPCPort),
				HTTPAddress:            addr(s.cfg.HTTPPort),
				ClusterID:              clusterID,
			},
		},
	}
	conf.DCRedirectionPolicy.Policy = "noop"
	conf.Services = map[string]config.Service{
		"frontend": service(s.cfg.GRPCPort, s.cfg.HTTPPort),
		"history":  service(s.cfg.HistoryPort, 0),
		"matching": service(s.cfg.MatchingPort, 0),
		"worker":   service(s.cfg.InternalWorker, 0),
	}
	conf.Archival.History.State = "disabled"
	conf.Archival.Visibility.State = "disabled"
	conf.NamespaceDefaults.Archival.History.State = "disabled"
	conf.NamespaceDefaults.Archival.Visibility.State = "disabled"
	conf.PublicClient.HostPort = addr(s.cfg.GRPCPort)
	return conf
}

func service(grpc, http int) config.Service {
	var conf config.Service
	conf.RPC.GRPCPort = grpc
	conf.RPC.HTTPPort = http
	conf.RPC.BindOnIP = host
	return conf
}

func addr(port int) string { return fmt.Sprintf("%s:%d", host, port) }
