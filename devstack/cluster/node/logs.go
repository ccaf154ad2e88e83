package node

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
)

// log is the file of what a pod prints.
func (n *node) log(namespace, name string) string {
	return filepath.Join(n.logs, namespace+"_"+name+".log")
}

// serveLogs serves, until ctx is done, what `kubectl logs` asks a node for, and answers the port. All there is so far is
// shown; nothing is followed.
func (n *node) serveLogs(ctx context.Context) int32 {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, n.log(r.PathValue("namespace"), r.PathValue("pod")))
	})
	server := httptest.NewUnstartedServer(mux)
	server.StartTLS()
	context.AfterFunc(ctx, server.Close)
	return int32(server.Listener.Addr().(*net.TCPAddr).Port)
}
