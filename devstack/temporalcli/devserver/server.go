// Package devserver takes the place of the Temporal CLI's package of that name when the CLI is built here (make
// build-temporal): of its server, which is the development stack's already and which another version of Temporal's cannot be
// compiled into. All other commands of the CLI are its own.
package devserver

import (
	"errors"
	"log/slog"

	"go.temporal.io/api/enums/v1"
	"google.golang.org/grpc"
)

// StartOptions are what `temporal server start-dev` sets.
type StartOptions struct {
	FrontendIP             string
	FrontendPort           int
	Namespaces             []string
	ClusterID              string
	MasterClusterName      string
	CurrentClusterName     string
	InitialFailoverVersion int
	Logger                 *slog.Logger
	LogLevel               slog.Level
	UIIP                   string
	UIPort                 int
	UIAssetPath            string
	UICodecEndpoint        string
	PublicPath             string
	DatabaseFile           string
	MetricsPort            int
	PProfPort              int
	SqlitePragmas          map[string]string
	FrontendHTTPPort       int
	EnableGlobalNamespace  bool
	DynamicConfigValues    map[string]any
	SearchAttributes       map[string]enums.IndexedValueType
	LogConfig              func([]byte)
	GRPCInterceptors       []grpc.UnaryServerInterceptor
}

// Server is none.
type Server struct{}

// Start says where there is a server.
func Start(StartOptions) (*Server, error) {
	return nil, errors.New("this build of the CLI has no server in it: `make dev` runs one")
}

// Stop does nothing.
func (*Server) Stop() {}
