package e2e

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/codeendelea/vidflow/devstack/docs"
	"github.com/codeendelea/vidflow/devstack/ports"
	"github.com/codeendelea/vidflow/devstack/process"
)

// clusterVariable is set by `make test-cluster` to the program of devstack/cluster, which takes minutes to compile.
const clusterVariable = "VIDFLOW_TEST_CLUSTER"

// cluster is a control plane of Kubernetes on this machine: its own programs, none changed.
type cluster struct {
	t      *testing.T
	binary string
	dir    string // that pods, which run as another user, can read
	env    []string
	ports  int
	net    int // the second number of the pods' addresses, for tests that run at the same time
	said   map[string]*process.Output
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	binary := os.Getenv(clusterVariable)
	if binary == "" {
		t.Skipf("%s is not set: make test-cluster", clusterVariable)
	}
	if runtime.GOOS != "linux" {
		t.Skip("pods have addresses of their own on the loopback interface: that is Linux")
	}
	dir, err := os.MkdirTemp("", "vidflow-cluster-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	c := &cluster{t: t, binary: binary, dir: dir, net: 1 + mathrand.IntN(250), said: map[string]*process.Output{}}
	if c.ports, err = ports.Unused(4); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bin", "images", "logs", "home"} {
		err = errors.Join(err, os.Mkdir(filepath.Join(dir, name), 0o755))
	}
	for _, name := range []string{"kubectl", "kustomize"} {
		err = errors.Join(err, os.Symlink(binary, filepath.Join(dir, "bin", name)))
	}
	if err = errors.Join(err, os.Chmod(dir, 0o755), c.writeKeys()); err != nil {
		t.Fatal(err)
	}
	c.env = []string{
		"KUBECONFIG=" + c.path("kubeconfig"), "HOME=" + c.path("home"), "PATH=" + c.path("bin") + string(filepath.ListSeparator) + os.Getenv("PATH"),
	}
	t.Cleanup(c.show)
	c.begin()
	return c
}

// in is the cluster for a subtest, whose failures are its own.
func (c *cluster) in(t *testing.T) *cluster {
	d := *c
	d.t = t
	return &d
}

func (c *cluster) path(names ...string) string {
	return filepath.Join(append([]string{c.dir}, names...)...)
}

// server is the address of one of the servers.
func (c *cluster) server(n int) string { return fmt.Sprintf("127.0.0.1:%d", c.ports+n) }

// writeKeys writes what the API server signs tokens with, and who is let in.
func (c *cluster) writeKeys() error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	pair := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	token := rand.Text()
	kubeconfig := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: here,
clusters: [{name: here, cluster: {server: "https://%s", certificate-authority: %q}}],
users: [{name: admin, user: {token: %s}}], contexts: [{name: here, context: {cluster: here, user: admin}}]}
`, c.server(0), c.path("certificates", "apiserver.crt"), token)
	return errors.Join(os.WriteFile(c.path("accounts.key"), pair, 0o600), os.WriteFile(c.path("kubeconfig"), []byte(kubeconfig), 0o600),
		os.WriteFile(c.path("tokens.csv"), []byte(token+`,admin,admin,"system:masters"`+"\n"), 0o600))
}

// begin starts the control plane and waits until it is ready.
func (c *cluster) begin() {
	c.t.Helper()
	c.start("etcd", "--data-dir="+c.path("etcd"), "--log-level=error", "--unsafe-no-fsync",
		"--listen-client-urls=http://"+c.server(1), "--advertise-client-urls=http://"+c.server(1),
		"--listen-peer-urls=http://"+c.server(2), "--initial-advertise-peer-urls=http://"+c.server(2), "--initial-cluster=default=http://"+c.server(2))
	c.start("kube-apiserver", "--etcd-servers=http://"+c.server(1), "--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", c.ports),
		"--cert-dir="+c.path("certificates"), "--token-auth-file="+c.path("tokens.csv"), "--authorization-mode=Node,RBAC",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file="+c.path("accounts.key"),
		"--service-account-signing-key-file="+c.path("accounts.key"), "--service-cluster-ip-range=10.96.0.0/24",
		// Nobody asks at an address that is not this machine's own; it may not be one.
		"--advertise-address=192.0.2.1", "--endpoint-reconciler-type=none")
	c.await("the API server is ready", func() error {
		_, err := c.try("kubectl", "get", "--raw=/readyz")
		return err
	})
	c.start("kube-controller-manager", "--kubeconfig="+c.path("kubeconfig"), "--leader-elect=false", "--secure-port=0",
		"--service-account-private-key-file="+c.path("accounts.key"), "--root-ca-file="+c.path("certificates", "apiserver.crt"))
	c.start("kube-scheduler", "--kubeconfig="+c.path("kubeconfig"), "--leader-elect=false", "--secure-port=0")
}

// start starts one of the programs, and ends it when the test does.
func (c *cluster) start(name string, args ...string) {
	c.t.Helper()
	said := new(process.Output)
	cmd := exec.Command(c.binary, append([]string{name}, args...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = c.env, said, said
	cmd.Dir = c.dir
	child, err := process.Start(cmd, process.Options{})
	if err != nil {
		c.t.Fatal(err)
	}
	c.said[strings.Join(append([]string{name}, args[:1]...), " ")] = said
	c.t.Cleanup(func() {
		child.Stop(context.Background(), process.Step{Signal: syscall.SIGTERM, Wait: 3 * time.Second})
	})
}

// show shows what everybody said when the test has failed.
func (c *cluster) show() {
	if !c.t.Failed() {
		return
	}
	last := func(text string) string {
		lines := strings.Split(strings.TrimSpace(text), "\n")
		return strings.Join(lines[max(0, len(lines)-40):], "\n")
	}
	for name, said := range c.said {
		c.t.Logf("%s:\n%s", name, last(said.String()))
	}
	files, _ := filepath.Glob(c.path("logs", "*"))
	for _, file := range files {
		text, _ := os.ReadFile(file)
		c.t.Logf("%s:\n%s", filepath.Base(file), last(string(text)))
	}
}

// await repeats a look until it answers nil.
func (c *cluster) await(what string, look func() error) {
	c.t.Helper()
	(&pipeline{t: c.t}).await(what, func(context.Context) error { return look() })
}

// try runs a command as a person at the cluster does.
func (c *cluster) try(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), 2*patience)
	defer cancel()
	if name == "kubectl" {
		name = c.path("bin", name)
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = c.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, out)
	}
	return string(out), err
}

// kubectl is a command that has to succeed.
func (c *cluster) kubectl(args ...string) string {
	c.t.Helper()
	out, err := c.try("kubectl", args...)
	if err != nil {
		c.t.Fatal(err)
	}
	return out
}

// apply has the cluster take what stands in a text.
func (c *cluster) apply(text string) error {
	file := c.path("applied.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	_, err := c.try("kubectl", "apply", "--filename="+file)
	return err
}

// get reads an object.
func (c *cluster) get(to any, args ...string) error {
	out, err := c.try("kubectl", append([]string{"get", "--namespace=vidflow", "--output=json"}, args...)...)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(out), to)
}

// copyManifests is what a reader does first.
func (c *cluster) copyManifests() (folder string) {
	c.t.Helper()
	root, err := docs.Root()
	if err != nil {
		c.t.Fatal(err)
	}
	folder, err = os.MkdirTemp(c.dir, "reader-")
	if err != nil {
		c.t.Fatal(err)
	}
	from, to := filepath.Join(root, "deploy", "kubernetes"), filepath.Join(folder, "deploy", "kubernetes")
	err = filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".yaml" && filepath.Ext(path) != ".env" {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		return errors.Join(err, os.MkdirAll(filepath.Join(to, filepath.Dir(name)), 0o755), os.WriteFile(filepath.Join(to, name), text, 0o644))
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return folder
}

// addTypes makes the custom resources known that the components use, by their authors' own definitions.
func (c *cluster) addTypes() {
	c.t.Helper()
	for module, files := range map[string][]string{
		"github.com/kedacore/keda/v2": {"config/crd/bases/keda.sh_scaledobjects.yaml", "config/crd/bases/keda.sh_triggerauthentications.yaml"},
		"sigs.k8s.io/gateway-api":     {"config/crd/standard/gateway.networking.k8s.io_httproutes.yaml"},
		"github.com/prometheus-operator/prometheus-operator@" + operatorVersion: {"example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml"},
	} {
		cmd := exec.CommandContext(c.t.Context(), "go", "mod", "download", "-json", module)
		cmd.Dir = "../../deploy/kubernetes" // which has the versions
		cmd.Env = append(os.Environ(), "GOWORK=off")
		out, err := cmd.Output()
		var found struct{ Dir string }
		if err = errors.Join(err, json.Unmarshal(out, &found)); err != nil {
			c.t.Fatalf("go mod download %s: %v\n%s", module, err, out)
		}
		for _, file := range files {
			c.kubectl("create", "--filename="+filepath.Join(found.Dir, filepath.FromSlash(file)))
		}
	}
	c.kubectl("wait", "--for=condition=established", "--timeout=60s", "crd", "--all")
}

// operatorVersion is the newest of Prometheus' operator that Go's proxy serves with its definitions.
const operatorVersion = "v0.85.0"

// TestCluster has deploy/kubernetes on a cluster.
func TestCluster(t *testing.T) {
	c := newCluster(t)
	t.Run("manifests", func(t *testing.T) { c.in(t).takesTheManifests() })
	if !t.Failed() { // else a namespace may be left
		t.Run("roll-out", func(t *testing.T) { c.in(t).rollsOut() })
	}
}

// takesTheManifests: the API server accepts both overlays, and again; what is admitted as a Deployment is admitted as pods.
func (c *cluster) takesTheManifests() {
	c.t.Helper()
	c.addTypes()
	for _, overlay := range []string{"managed", "self-hosted"} {
		folder := filepath.Join(c.copyManifests(), "deploy", "kubernetes", "overlays", overlay)
		c.kubectl("apply", "--validate=strict", "--kustomize="+folder)
		var deployments struct {
			Items []struct {
				Metadata struct{ Name string }
				Spec     struct{ Replicas int }
				Status   struct {
					Replicas   int
					Conditions []struct{ Type, Status, Message string }
				}
			}
		}
		c.await("every pod is admitted", func() error {
			if err := c.get(&deployments, "deployments"); err != nil {
				return err
			}
			if len(deployments.Items) != len(everyProcess) {
				return fmt.Errorf("there are %d Deployments", len(deployments.Items))
			}
			for _, d := range deployments.Items {
				if d.Status.Replicas == 0 || d.Status.Replicas != d.Spec.Replicas {
					return fmt.Errorf("%s has %d of %d pods: %v", d.Metadata.Name, d.Status.Replicas, d.Spec.Replicas, d.Status.Conditions)
				}
			}
			var jobs struct {
				Items []struct{ Status struct{ Active int } }
			}
			if err := c.get(&jobs, "jobs"); err != nil {
				return err
			}
			if len(jobs.Items) != 2 || jobs.Items[0].Status.Active+jobs.Items[1].Status.Active != 2 {
				return fmt.Errorf("the Jobs have no pods: %+v", jobs)
			}
			return nil
		})
		if out, err := c.try("kubectl", "diff", "--kustomize="+folder); err != nil { // exit code 1: something would change
			c.t.Errorf("%s, once more: %v\n%s", overlay, err, out)
		}
		c.kubectl("apply", "--validate=strict", "--kustomize="+folder)
		if overlay == "managed" { // what would be refused is refused
			c.refuses("violates PodSecurity", "{apiVersion: v1, kind: Pod, metadata: {name: root, namespace: vidflow}, spec: {containers: [{name: a, image: a}]}}")
			c.refuses(`unknown field "spec.replica"`, "{apiVersion: apps/v1, kind: Deployment, metadata: {name: worker, namespace: vidflow}, spec: {replica: 1}}")
			c.refuses(`unknown field "spec.minReplicas"`, "{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, metadata: {name: worker, namespace: vidflow}, spec: {minReplicas: 1}}")
		}
		c.kubectl("delete", "jobs", "--all", "--namespace=vidflow") // else their pods wait for the collector of garbage
		c.kubectl("delete", "namespace", "vidflow", "--timeout=90s")
	}
}

func (c *cluster) refuses(why, object string) {
	c.t.Helper()
	if err := c.apply(object); err == nil || !strings.Contains(err.Error(), why) {
		c.t.Errorf("%s is answered by %v, and not by %q", object, err, why)
	}
}
