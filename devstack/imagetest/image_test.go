package imagetest

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io/fs"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/codeendelea/vidflow/devstack/envfile"
	"github.com/codeendelea/vidflow/devstack/ports"
	"github.com/codeendelea/vidflow/devstack/process"
	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
)

const (
	// patience is how long anything may take: the machine may be small and busy.
	patience = 90 * time.Second
	// grace is how long a container has to stop, in docker-compose.yml and docs/set-up.md.
	grace = 30 * time.Second
	// mostBytes is how large the image may be.
	mostBytes = 50 << 20
	user      = "65532:65532"
)

// TestImage builds the image once, and runs it in several ways.
func TestImage(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test mounts and changes its root: run it as root")
	}
	s := newStore(t)
	released := newRelease(t)
	id := s.build(released)

	t.Run("says what it is", func(t *testing.T) { checkConfig(t, s.inspect(id), released) })
	c := newContainer(t, s, id)
	t.Run("has the binary that is released", func(t *testing.T) {
		if read(t, filepath.Join(c.bare, "vidflow")) != read(t, released.binary) {
			t.Error("it is another one: the Dockerfile and tools/release build in different ways")
		}
	})
	t.Run("is the same again", func(t *testing.T) {
		// Its files, that is: buildah keeps in the settings of an image which container it was made in.
		if first, again := s.layers(id), s.layers(s.assemble(released)); !slices.Equal(first, again) {
			t.Errorf("first %v, then, of the binary that is released, %v", first, again)
		}
	})
	t.Run("has nothing but the binary and the authorities", func(t *testing.T) { checkFiles(t, c) })
	t.Run("cannot be written", func(t *testing.T) {
		if err := os.WriteFile(filepath.Join(c.root, "file"), nil, 0o600); !errors.Is(err, syscall.EROFS) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("runs commands", func(t *testing.T) {
		if out, err := c.run(nil, "version"); err != nil || !strings.HasPrefix(out, "vidflow "+released.version+"\nrevision "+released.revision+" ") {
			t.Errorf("version: %v\n%s", err, out)
		}
		if out, err := c.run(nil, "--help"); err != nil || !strings.Contains(out, "Usage: vidflow <command>") {
			t.Errorf("--help: %v\n%s", err, out)
		}
		// And where something else runs it.
		if out := s.buildah("run", "--isolation=chroot", s.buildah("from", "--pull=never", id), "/vidflow", "version"); !strings.Contains(out, released.version) {
			t.Errorf("version, run by buildah: %s", out)
		}
	})
	t.Run("trusts the authorities of its bundle alone", func(t *testing.T) { checkTrust(t, s, id) })
	t.Run("becomes ready and stops", func(t *testing.T) { checkWorker(t, c) })
}

// container is a container that was made of the image, and does not run yet.
type container struct {
	image
	root string // of what runs in it
	bare string // the same, but written to
}

func newContainer(t *testing.T, s *store, id string) *container {
	t.Helper()
	c := &container{image: s.inspect(id)}
	c.root, c.bare = s.container(id)
	return c
}

// command is what the image's entry point makes of the arguments, or of the command that is given whole.
func (c *container) command(env envfile.Vars, whole ...string) *exec.Cmd {
	cmd := exec.Command("chroot", append([]string{"--userspec=" + c.Config.User, "--groups=", c.root}, whole...)...)
	cmd.Env = env.Environ(c.Config.Env)
	if !slices.ContainsFunc(cmd.Env, func(v string) bool { return strings.HasPrefix(v, "PATH=") }) {
		cmd.Env = append(cmd.Env, "PATH=/bin")
	}
	return cmd
}

// run runs a command of vidflow to its end.
func (c *container) run(env envfile.Vars, args ...string) (string, error) {
	out, err := c.command(env, append(slices.Clone(c.Config.Entrypoint), args...)...).CombinedOutput()
	return string(out), err
}

// healthy runs the health check, as it is in the image.
func (c *container) healthy(env envfile.Vars) (string, error) {
	out, err := c.command(env, c.Config.Healthcheck.Test[1:]...).CombinedOutput()
	return string(out), err
}

func checkConfig(t *testing.T, i image, released release) {
	t.Helper()
	if i.Config.User != user || !slices.Equal(i.Config.Entrypoint, []string{"/vidflow"}) || len(i.Config.Cmd) > 0 {
		t.Errorf("it runs %v %v as %s", i.Config.Entrypoint, i.Config.Cmd, i.Config.User)
	}
	const prefix = "org.opencontainers.image."
	labels := make(map[string]string)
	for key, value := range i.Config.Labels {
		if name, ok := strings.CutPrefix(key, prefix); ok {
			labels[name] = value
		}
	}
	want := map[string]string{
		"title": "vidflow", "description": labels["description"], "source": "https://github.com/codeendelea/vidflow",
		"version": released.version, "revision": released.revision, "created": released.built,
	}
	if diff := cmp.Diff(want, labels); diff != "" || labels["description"] == "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if i.Created.UTC().Format(time.RFC3339) != released.built {
		t.Errorf("it is of %s, the commit of %s", i.Created, released.built)
	}
	check := i.Config.Healthcheck
	if !slices.Equal(check.Test, []string{"CMD", "/vidflow", "probe"}) || check.Timeout < 5*time.Second || check.StartPeriod == 0 {
		t.Errorf("health check %+v", check)
	}
}

// checkFiles sees that there is nothing to be run but the binary: no shell, no tools, no libraries.
func checkFiles(t *testing.T, c *container) {
	t.Helper()
	got := make(map[string]string)
	var size int64
	err := filepath.WalkDir(c.bare, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		size += info.Size()
		got[strings.TrimPrefix(path, c.bare)] = info.Mode().String()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{bundle: "-rw-r--r--", "/vidflow": "-rwxr-xr-x", "/etc/hosts": "-rw-r--r--"} // the last is the runtime's
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if size > mostBytes {
		t.Errorf("it has %d bytes, at most %d are wanted", size, mostBytes)
	}
	t.Logf("%.1f MB", float64(size)/1e6)
}

// checkTrust has the binary speak TLS to a broker with a certificate that no authority of the image has signed, then with
// that authority in the bundle, as somebody may mount one.
func checkTrust(t *testing.T, s *store, id string) {
	t.Helper()
	c := newContainer(t, s, id)
	server := httptest.NewTLSServer(nil) // for its certificate, of 127.0.0.1
	defer server.Close()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "topic"), kfake.TLS(&tls.Config{
		Certificates: server.TLS.Certificates, MinVersion: tls.VersionTLS12,
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	env := envfile.Vars{{Name: "KAFKA_BROKERS", Value: cluster.ListenAddrs()[0]}, {Name: "KAFKA_SSL", Value: "true"}}
	// Topics are missing, so that it fails either way: what it says of the address is asked for.
	const trusted, refused = "ok       address", "certificate signed by unknown authority"
	out, _ := c.run(env, "kafka", "check", "--no-round-trip")
	if !strings.Contains(out, refused) || strings.Contains(out, trusted) {
		t.Errorf("a certificate of nobody:\n%s", out)
	}
	all, err := os.OpenFile(filepath.Join(c.bare, bundle), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(pem.Encode(all, &pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), all.Close()); err != nil {
		t.Fatal(err)
	}
	out, _ = c.run(env, "kafka", "check", "--no-round-trip")
	if strings.Contains(out, refused) || !strings.Contains(out, trusted) {
		t.Errorf("a certificate of an authority in the bundle:\n%s", out)
	}
}

// checkWorker runs a worker on the servers of the development stack until it is ready, as its health check says, and stops
// it as a platform does.
func checkWorker(t *testing.T, c *container) {
	t.Helper()
	block, anchor, err := ports.Free()
	if err != nil {
		t.Fatal(err)
	}
	defer anchor.Close()
	env := envfile.Vars{
		{Name: "DATABASE_URL", Value: postgrestest.New(t).URL},
		{Name: "OPS_ADDR", Value: block.Addr(ports.WorkerOps)},
		{Name: "LOG_FORMAT", Value: "json"},
	}
	for _, name := range []string{
		"TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE", "KAFKA_BROKERS", "KAFKA_SSL", "SUPABASE_URL", "SUPABASE_SERVICE_KEY",
	} {
		value := os.Getenv(name)
		if value == "" {
			t.Fatalf("%s is not set: this test needs the servers of the development stack; run it with `make test-image`", name)
		}
		env = env.With(envfile.Var{Name: name, Value: value})
	}
	if out, err := c.healthy(env); process.ExitCode(err) != 1 {
		t.Errorf("healthy before it runs: %v\n%s", err, out)
	}
	log := new(process.Output)
	cmd := c.command(env, append(slices.Clone(c.Config.Entrypoint), "worker")...)
	cmd.Stdout, cmd.Stderr = log, log
	worker, err := process.Start(cmd, process.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		worker.Stop(context.Background())
		if t.Failed() {
			t.Log(log)
		}
	}()
	deadline := time.Now().Add(patience)
	for {
		out, err := c.healthy(env)
		if err == nil {
			break
		}
		select {
		case <-worker.Done():
			t.Fatalf("it ended: %v", worker.Wait())
		case <-time.After(100 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("it is not healthy: %v\n%s", err, out)
		}
	}
	began := time.Now()
	worker.Stop(t.Context(), process.Step{Signal: syscall.SIGTERM, Wait: grace})
	if err := worker.Wait(); err != nil {
		t.Errorf("it ended with %v on SIGTERM, want exit code 0", err)
	}
	t.Logf("stopped after %.1f s", time.Since(began).Seconds())
}
