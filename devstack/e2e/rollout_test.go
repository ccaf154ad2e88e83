package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	sdkworker "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/codeendelea/vidflow/devstack/docs"
	"github.com/codeendelea/vidflow/devstack/envfile"
	"github.com/codeendelea/vidflow/devstack/ports"
	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
	"github.com/codeendelea/vidflow/internal/temporaltest"
	"github.com/codeendelea/vidflow/workflows"
)

// rollsOut follows docs/kubernetes.md to the letter, with a pipeline of its own: roll-outs, the first of which the gate stops, the way
// back and a drain, under load.
func (c *cluster) rollsOut() {
	c.t.Helper()
	p := newPipeline(c.t, envfile.Var{Name: "TRANSCRIPTION_ASK_AGAIN_AFTER", Value: askAgainAfter.String()},
		envfile.Var{Name: "TRANSCRIPTION_MAX_ASKS", Value: "20"})
	p.watch()
	services := p.simulate(soon())
	l := newLoad(p)
	l.to(p.places.API)
	folder := c.copyManifests()
	secrets := c.settings(p, folder)
	for n, name := range []string{"one", "two"} {
		c.start("node", "--name="+name, fmt.Sprintf("--network=10.%d.%d", c.net, n), "--kubeconfig="+c.path("kubeconfig"),
			"--images="+c.path("images"), "--logs="+c.path("logs"))
	}
	c.start("gateway", "--listen="+p.block.Addr(ports.API), "--kubeconfig="+c.path("kubeconfig"), "--namespace=vidflow", "--service=starter")
	c.await("there are nodes", func() error {
		_, err := c.try("kubectl", "wait", "--for=condition=ready", "--timeout=1s", "node/one", "node/two")
		return err
	})
	c.image("0.2.0", p.binary)
	c.image("0.3.0", p.binary)

	var commands string
	docs.Run(c.t, "docs/kubernetes.md", docs.Options{Env: c.env, Dir: folder, Cluster: true, Before: func(b docs.Block) {
		switch {
		case strings.Contains(b.Commands, "passed replay"):
			commands = b.Commands
			for name, values := range secrets {
				c.kubectl(append([]string{"create", "secret", "generic", name, "--namespace=vidflow"}, values...)...)
			}
			c.stopsAtTheGate(p, folder, commands)
		case strings.Contains(b.Commands, "rollout undo"):
			c.runs("worker=0.2.0 starter=0.2.0 kafkabridge=0.2.0")
			p.await("the gateway knows a starter", func(ctx context.Context) error {
				status, answer, err := call(ctx, p.places.API, http.MethodGet, "/api/videos/"+string(postgrestest.NewVideoID())+"/pipeline", nil)
				if err == nil && status != http.StatusNotFound {
					err = fmt.Errorf("%d: %s", status, answer)
				}
				return err
			})
			l.start()
			l.await(4)
			if out, err := c.script(folder, strings.ReplaceAll(commands, ":0.2.0", ":0.3.0")); err != nil {
				c.t.Fatalf("%v\n%s", err, out)
			}
			c.runs("worker=0.3.0 starter=0.3.0 kafkabridge=0.3.0")
			l.await(4)
		}
	}})
	c.kubectl("rollout", "status", "--namespace=vidflow", "--timeout=90s", "deployment/worker")
	c.runs("worker=0.2.0 starter=0.3.0 kafkabridge=0.3.0")
	c.keepsTheBudget()
	c.kubectl("drain", "one", "--timeout=120s")
	for _, name := range everyProcess {
		c.kubectl("rollout", "status", "--namespace=vidflow", "--timeout=90s", "deployment/"+name)
	}
	l.await(4)
	l.stop()
	c.t.Logf("%d videos", l.created.Load())
	p.judge(l, services)
	c.checkPods()
}

// settings changes what the page says has to be changed: the environment, and the components that need a controller. It answers
// the values of the Secrets that the page names and makes none of.
func (c *cluster) settings(p *pipeline, folder string) (secrets map[string][]string) {
	c.t.Helper()
	const key = "the-key-of-the-namespace"
	front := temporaltest.NewFront(c.t, p.namespace.Name, temporaltest.Login{Key: key})
	for _, v := range []string{"KAFKA_SSL_CA_FILE", "TEMPORAL_TLS_SERVER_CA_CERT_PATH"} { // that the user of the pods can read
		file := p.env.Value(v)
		if v == "TEMPORAL_TLS_SERVER_CA_CERT_PATH" {
			file = front.CAFile
		}
		if file == "" {
			continue
		}
		text, err := os.ReadFile(file)
		if err = errors.Join(err, os.WriteFile(c.path(v), text, 0o644)); err != nil {
			c.t.Fatal(err)
		}
		p.env = p.env.With(envfile.Var{Name: v, Value: c.path(v)})
	}
	files := map[string]string{}
	for _, v := range p.env.With(envfile.Var{Name: "TEMPORAL_ADDRESS", Value: front.Address}) {
		file := "process.env"
		switch {
		case strings.Contains(v.Name, "DATABASE"), strings.HasSuffix(v.Name, "_KEY"), v.Name == "JWT_SECRET", v.Name == "HOST", v.Name == "PORT", v.Name == "SHUTDOWN_TIMEOUT":
			continue // in Secrets, or as it is in the base
		case strings.HasPrefix(v.Name, "KAFKA_"):
			file = "kafka.env"
		case strings.HasPrefix(v.Name, "TEMPORAL_"):
			file = "temporal.env"
		case v.Name == "SUPABASE_URL":
			file = "storage.env"
		case strings.HasPrefix(v.Name, "TRANSCRIPTION_"):
			file = "worker.env"
		case v.Name == "RATE_LIMIT":
			file = "starter.env"
		}
		files[file] += v.Name + "=" + v.Value + "\n"
	}
	overlay := filepath.Join(folder, "deploy", "kubernetes", "overlays", "managed")
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(overlay, "settings", name), []byte(text), 0o644); err != nil {
			c.t.Fatal(err)
		}
	}
	for _, component := range []string{"keda", "pod-monitor", "http-route"} { // no controller for these
		if _, err := c.try("bash", "-c", `cd "$1" && kustomize edit remove component "../../components/$2"`, "bash", overlay, component); err != nil {
			c.t.Fatal(err)
		}
	}
	users := map[string][2]string{}
	for _, name := range everyProcess {
		vars := login(c.t, name)
		users[name] = [2]string{vars.Value("KAFKA_USERNAME"), vars.Value("KAFKA_PASSWORD")}
	}
	dir := filepath.Join(folder, "secrets")
	err := os.Mkdir(dir, 0o700)
	for name, text := range map[string]string{"user": users[bridge][0], "password": users[bridge][1], "temporal": key} {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, "kafkabridge-"+name), []byte(text), 0o600))
	}
	if err != nil {
		c.t.Fatal(err)
	}
	literal := func(name, value string) string { return "--from-literal=" + name + "=" + value }
	of := func(process string) []string {
		return []string{
			literal("KAFKA_USERNAME", users[process][0]), literal("KAFKA_PASSWORD", users[process][1]), literal("TEMPORAL_API_KEY", key),
			literal("DATABASE_URL", p.db.URL), literal("SUPABASE_SERVICE_KEY", p.env.Value("SUPABASE_SERVICE_KEY")),
		}
	}
	return map[string][]string{
		"vidflow-worker":  of(worker),
		"vidflow-starter": append(of(starter), literal("DATABASE_LISTEN_URL", p.db.DirectURL), literal("JWT_SECRET", p.env.Value("JWT_SECRET"))),
		"vidflow-migrate": {literal("DATABASE_URL", p.db.AdminURL), literal("TEMPORAL_API_KEY", key)},
		"vidflow-replay":  {literal("TEMPORAL_API_KEY", key)},
	}
}

// image makes a program the image of that version.
func (c *cluster) image(version, binary string) {
	c.t.Helper()
	program, err := os.ReadFile(binary)
	if err = errors.Join(err, os.WriteFile(c.path("images", "vidflow:"+version), program, 0o755)); err != nil {
		c.t.Fatal(err)
	}
}

// script runs commands of the page once more, as a reader does.
func (c *cluster) script(folder, commands string) (string, error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", commands)
	cmd.Env, cmd.Dir, cmd.WaitDelay = c.env, folder, time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// stopsAtTheGate: where a run is open that this version could not go on with, the commands of a roll-out end there, and soon.
func (c *cluster) stopsAtTheGate(p *pipeline, folder, commands string) {
	c.t.Helper()
	id := p.beginForeignRun()
	began := time.Now()
	out, err := c.script(folder, commands)
	took := time.Since(began)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(out, "1 incompatible") {
		c.t.Fatalf("of a run that could not go on, the commands end with %v and say:\n%s", err, out)
	}
	c.t.Logf("stopped by the gate after %.1f s", took.Seconds())
	if took > time.Minute {
		c.t.Errorf("they take %s to say so", took)
	}
	var made struct {
		Items []struct{ Metadata struct{ Name string } }
	}
	if err := c.get(&made, "deployments,jobs"); err != nil {
		c.t.Fatal(err)
	}
	if len(made.Items) != 1 || made.Items[0].Metadata.Name != "replay" {
		c.t.Errorf("behind the gate there are %+v", made.Items)
	}
	p.forgetRun(id)
}

// beginForeignRun leaves a run open that was begun by another workflow of the same name.
func (p *pipeline) beginForeignRun() (id string) {
	p.t.Helper()
	id = "foreign"
	w := sdkworker.New(p.namespace.Client, workflows.TaskQueue, sdkworker.Options{})
	w.RegisterWorkflowWithOptions(func(ctx workflow.Context, _ workflows.VideoInput) error { return workflow.Sleep(ctx, time.Hour) },
		workflow.RegisterOptions{Name: workflows.VideoWorkflow})
	if err := w.Start(); err != nil {
		p.t.Fatal(err)
	}
	defer w.Stop()
	run, err := p.namespace.Client.ExecuteWorkflow(p.t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: workflows.TaskQueue},
		workflows.VideoWorkflow, workflows.VideoInput{VideoID: id})
	if err != nil {
		p.t.Fatal(err)
	}
	p.await("the foreign run has begun, and is listed", func(ctx context.Context) error {
		events, err := p.events(id, run.GetRunID())
		if err != nil || len(events) < 5 {
			return fmt.Errorf("%d events, %w", len(events), err)
		}
		return p.listed(ctx, id, 1)
	})
	return id
}

// listed says whether so many runs with that id are.
func (p *pipeline) listed(ctx context.Context, id string, want int64) error {
	n, err := p.namespace.Client.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{
		Namespace: p.namespace.Name, Query: fmt.Sprintf("WorkflowId = '%s'", id),
	})
	if err == nil && n.GetCount() != want {
		err = fmt.Errorf("%d runs are listed", n.GetCount())
	}
	return err
}

func (p *pipeline) forgetRun(id string) {
	p.t.Helper()
	_, err := p.namespace.Client.WorkflowService().DeleteWorkflowExecution(p.t.Context(), &workflowservice.DeleteWorkflowExecutionRequest{
		Namespace: p.namespace.Name, WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: id},
	})
	if err != nil {
		p.t.Fatal(err)
	}
	p.await("the foreign run is gone", func(ctx context.Context) error { return p.listed(ctx, id, 0) })
}

// runs compares the versions that are to run.
func (c *cluster) runs(want string) {
	c.t.Helper()
	var d struct {
		Items []struct {
			Metadata struct{ Name string }
			Spec     struct {
				Template struct {
					Spec struct{ Containers []struct{ Image string } }
				}
			}
		}
	}
	if err := c.get(&d, "deployments"); err != nil {
		c.t.Fatal(err)
	}
	got := map[string]string{}
	for _, i := range d.Items {
		_, version, _ := strings.Cut(i.Spec.Template.Spec.Containers[0].Image, ":")
		got[i.Metadata.Name] = i.Metadata.Name + "=" + version
	}
	if all := strings.Join([]string{got[worker], got[starter], got[bridge]}, " "); all != want {
		c.t.Errorf("it runs %s, want %s", all, want)
	}
}

// keepsTheBudget: of two workers one may be evicted, and the other not before there is one in its place.
func (c *cluster) keepsTheBudget() {
	c.t.Helper()
	c.await("a worker may go", func() error {
		var budget struct {
			Status struct{ DisruptionsAllowed int }
		}
		if err := c.get(&budget, "poddisruptionbudget/worker"); err != nil {
			return err
		}
		if budget.Status.DisruptionsAllowed != 1 {
			return fmt.Errorf("%d may", budget.Status.DisruptionsAllowed)
		}
		return nil
	})
	var pods struct {
		Items []struct {
			Metadata struct{ Name, DeletionTimestamp string }
		}
	}
	if err := c.get(&pods, "pods", "--selector=app.kubernetes.io/component=worker"); err != nil {
		c.t.Fatal(err)
	}
	c.kubectl("cordon", "one", "two") // nothing comes in its place
	var answers []error
	for _, pod := range pods.Items {
		name := pod.Metadata.Name
		if pod.Metadata.DeletionTimestamp != "" {
			continue
		}
		file := c.path("eviction.json")
		text := fmt.Sprintf(`{"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": %q, "namespace": "vidflow"}}`, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			c.t.Fatal(err)
		}
		_, err := c.try("kubectl", "create", "--raw=/api/v1/namespaces/vidflow/pods/"+name+"/eviction", "--filename="+file)
		answers = append(answers, err)
	}
	if len(answers) != 2 || answers[0] != nil || answers[1] == nil || !strings.Contains(answers[1].Error(), "disruption budget") {
		c.t.Errorf("the evictions of both workers are answered by %v", answers)
	}
	c.kubectl("uncordon", "one", "two")
	c.kubectl("rollout", "status", "--namespace=vidflow", "--timeout=90s", "deployment/worker")
}

// checkPods: every process ended by itself within its grace, none was found dead or hanging, and none has logged an error.
func (c *cluster) checkPods() {
	c.t.Helper()
	ended := 0
	for name, said := range c.said {
		for line := range strings.Lines(said.String()) {
			job := strings.HasPrefix(line, "replay-") || strings.HasPrefix(line, "migrate-")
			switch {
			case strings.Contains(line, "KILLED"), strings.Contains(line, "FAILED"), strings.Contains(line, "ended by itself") && !job:
				c.t.Errorf("%s: %s", name, line)
			case strings.Contains(line, ": ended with exit code "):
				if ended++; !strings.Contains(line, "exit code 0,") {
					c.t.Errorf("%s: %s", name, line)
				}
			}
		}
	}
	if ended < 10 {
		c.t.Errorf("only %d processes were told to end", ended)
	}
	files, err := filepath.Glob(c.path("logs", "vidflow_*"))
	if err != nil || len(files) == 0 {
		c.t.Fatalf("no logs: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			c.t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, `"level":"ERROR"`) || strings.Contains(line, "panic:") || strings.Contains(line, "DATA RACE") {
				c.t.Errorf("%s: %s", filepath.Base(file), line)
			}
		}
	}
}
