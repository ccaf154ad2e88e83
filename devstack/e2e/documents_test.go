package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/codeendelea/vidflow/devstack/api"
	"github.com/codeendelea/vidflow/devstack/docs"
	"github.com/codeendelea/vidflow/devstack/envfile"
)

// TestDev_documents runs the commands of the documents for which a running `make dev` is enough, one page after the other.
func TestDev_documents(t *testing.T) {
	t.Parallel()
	block := freeBlock(t)
	dir := filepath.Join(t.TempDir(), "state")
	dev := startDev(t, dir, block)

	// Those that begin in a new clone know nothing of the servers.
	clone := docs.Options{State: dir, Env: os.Environ()}
	t.Run("flow", func(t *testing.T) { docs.Run(t, "docs/transcription-flow.md", clone) })
	t.Run("checklist", func(t *testing.T) { docs.Run(t, "docs/checklist.md", clone) })

	// The others say that they take the environment of the processes, and the id of a video that is finished.
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	client := api.Client{URL: dev.env["VIDFLOW_API"], Token: dev.env["VIDFLOW_TOKEN"]}
	v, err := client.Create(ctx, dev.env["VIDFLOW_COURSE"], newVideo(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Await(ctx, v.ID, api.Video.Done); err != nil {
		t.Fatal(err)
	}
	running := docs.Options{State: dir, Env: append(os.Environ(), "VIDEO="+string(v.ID))}
	for name, value := range dev.env {
		if name != "PATH" {
			running.Env = append(running.Env, name+"="+value)
		}
	}
	t.Run("Kafka", func(t *testing.T) { docs.Run(t, "docs/kafka.md", running) })
	production := running
	production.Env = append(slices.Clone(running.Env), "PASSWORD=vidflow", "OWNER_DATABASE_URL="+
		fmt.Sprintf("postgres://%s:%s@%s:%s/%s?sslmode=disable", dev.env["PGUSER"], dev.env["PGPASSWORD"], dev.env["PGHOST"], dev.env["PGPORT"],
			dev.env["PGDATABASE"]))
	t.Run("set-up", func(t *testing.T) { docs.Run(t, "docs/set-up.md", production) })
	t.Run("status", func(t *testing.T) { docs.Run(t, "docs/status.md", running) })
	t.Run("events", func(t *testing.T) { docs.Run(t, "docs/events.md", running) })
	t.Run("operations", func(t *testing.T) { docs.Run(t, "docs/operations.md", running) })
	t.Run("tools", func(t *testing.T) { docs.Run(t, "docs/kafka-tools.md", running) })
	// The last ones, which leave an outage behind, and a dead letter.
	t.Run("quick start", func(t *testing.T) { docs.Run(t, "docs/quick-start.md", clone) })
	t.Run("dead letters", func(t *testing.T) { docs.Run(t, "docs/dead-letters.md", running) })
}

// TestCertificates_document runs the commands of docs/tls-certificates.md against brokers with TLS.
func TestCertificates_document(t *testing.T) {
	t.Parallel()
	if !onApacheKafka(t) {
		t.Skip("the embedded broker has no TLS")
	}
	_, port, err := net.SplitHostPort(need(t, "KAFKA_BROKERS"))
	if err != nil {
		t.Fatal(err)
	}
	docs.Run(t, "docs/tls-certificates.md", docs.Options{Env: envfile.Vars{
		{Name: "KAFKA_BROKERS", Value: "localhost:" + port}, // by a name, as readers do
	}.Environ(os.Environ())})
}
