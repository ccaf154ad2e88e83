package kubernetes

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// checker compares objects with the binary and with what else the repository says.
type checker struct {
	program  *binary
	secrets  map[string][]string // that people are told to make
	dir      string              // for files that pods are given
	limit    time.Duration       // of a shutdown, beyond SHUTDOWN_TIMEOUT
	queue    string              // the workflow's
	triggers map[string][]string // by the type of KEDA's scaler, what it reads from its metadata and from its logins
	routes   []route
	pods     policy.Evaluator
}

type route struct{ method, path string }

func newChecker(t *testing.T) *checker {
	t.Helper()
	c := &checker{program: findBinary(t), secrets: documentedSecrets(t), dir: t.TempDir()}
	seconds, err := strconv.Atoi(find(t, "../../internal/process/run.go", `ShutdownGrace = (\d+) \* time\.Second`))
	if err != nil {
		t.Fatal(err)
	}
	c.limit = time.Duration(seconds) * time.Second
	c.queue = find(t, "../../workflows/names.go", `TaskQueue = "(.*)"`)
	c.triggers = scalers(t)
	c.routes = openAPI(t)
	if c.pods, err = policy.NewEvaluator(policy.DefaultChecks(), nil); err != nil {
		t.Fatal(err)
	}
	return c
}

// find returns what an expression has in its parentheses.
func find(t *testing.T, path, expression string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	match := regexp.MustCompile(expression).FindSubmatch(text)
	if match == nil {
		t.Fatalf("%s has no %s", path, expression)
	}
	return string(match[1])
}

// scalers reads from KEDA's own source what its triggers may say: importing it would bring in the libraries of every server
// that KEDA knows.
func scalers(t *testing.T) map[string][]string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/kedacore/keda/v2").Output()
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string][]string{}
	tag := regexp.MustCompile("`keda:\"name=([A-Za-z]+), *order=([A-Za-z;]+)(.*)\"`")
	for _, kind := range []string{"kafka", "temporal"} {
		text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "pkg", "scalers", kind+"_scaler.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range tag.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(match[3], "deprecated=") {
				continue
			}
			for source := range strings.SplitSeq(match[2], ";") {
				fields[kind+" "+source] = append(fields[kind+" "+source], match[1])
			}
		}
		if len(fields[kind+" triggerMetadata"]) < 10 {
			t.Fatalf("KEDA's source does not say what its scaler %s reads", kind)
		}
	}
	return fields
}

// openAPI lists what the API serves and the gateway is to send there. Health is each server's own, and the API server may
// go on deleting videos.
func openAPI(t *testing.T) (list []route) {
	t.Helper()
	text, err := os.ReadFile("../../openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var document struct{ Paths map[string]map[string]any }
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	for path, methods := range document.Paths {
		for method := range methods {
			r := route{strings.ToUpper(method), regexp.MustCompile(`\{\w+\}`).ReplaceAllString(path, "0b0e4a3e-35cf-4cd3-9a0c-0c1f3f3d9a01")}
			if path != "/api/health" && path != "/api/videos/{videoId}" {
				list = append(list, r)
			}
		}
	}
	if len(list) == 0 {
		t.Fatal("openapi.json has no paths")
	}
	return list
}

// pod is what a Deployment, a Job or a WorkerDeployment runs.
type pod struct {
	kind, name string
	labels     map[string]string
	meta       meta.ObjectMeta
	spec       core.PodSpec
}

func (p pod) container() core.Container { return p.spec.Containers[0] }

func (p pod) String() string { return p.kind + " " + p.name }

// pods are all of an overlay. Those of a WorkerDeployment are as the controller completes them.
func pods(o *objects) (list []pod) {
	for _, d := range o.deployments {
		list = append(list, pod{"Deployment", d.Name, d.Spec.Template.Labels, d.Spec.Template.ObjectMeta, d.Spec.Template.Spec})
	}
	for _, j := range o.jobs {
		list = append(list, pod{"Job", j.Name, j.Spec.Template.Labels, j.Spec.Template.ObjectMeta, j.Spec.Template.Spec})
	}
	for _, w := range o.workers {
		p := pod{"WorkerDeployment", w.Name, w.Spec.Template.Labels, w.Spec.Template.ObjectMeta, *w.Spec.Template.Spec.DeepCopy()}
		for _, c := range o.connections {
			if c.Name != w.Spec.WorkerOptions.ConnectionRef.Name || len(p.spec.Containers) == 0 {
				continue
			}
			env := &p.spec.Containers[0].Env
			*env = append(*env, core.EnvVar{Name: "TEMPORAL_ADDRESS", Value: c.Spec.HostPort},
				core.EnvVar{Name: "TEMPORAL_NAMESPACE", Value: w.Spec.WorkerOptions.TemporalNamespace},
				core.EnvVar{Name: "TEMPORAL_DEPLOYMENT_NAME", Value: w.Namespace + "/" + w.Name},
				core.EnvVar{Name: "TEMPORAL_WORKER_BUILD_ID", Value: "0-1-0-7d4b"})
			if key := c.Spec.APIKeySecretRef; key != nil {
				*env = append(*env, core.EnvVar{Name: "TEMPORAL_API_KEY", ValueFrom: &core.EnvVarSource{SecretKeyRef: key}})
			}
		}
		list = append(list, p)
	}
	return list
}

// made-up values, by the key of a Secret.
var madeUp = map[string]string{
	"DATABASE_URL":         "postgres://vidflow:secret@db.example.org:5432/postgres",
	"DATABASE_LISTEN_URL":  "postgres://vidflow:secret@db.example.org:5432/postgres",
	"KAFKA_USERNAME":       "vidflow",
	"KAFKA_PASSWORD":       "secret-of-kafka",
	"SUPABASE_SERVICE_KEY": "sb_secret_0123456789",
	"JWT_SECRET":           "a-secret-that-is-long-enough-for-HS256",
	"TEMPORAL_API_KEY":     "key-of-temporal",
	"tls.crt":              certificate,
	"tls.key":              certificateKey,
	"ca.crt":               certificate,
}

// environment is what a pod's container is given, with made-up secrets.
func environment(o *objects, p pod, secrets map[string][]string, dir string) (env map[string]string, problems []string) {
	env = map[string]string{}
	wrong := func(format string, args ...any) {
		problems = append(problems, p.String()+": "+fmt.Sprintf(format, args...))
	}
	secret := func(name, key string) string {
		if !slices.Contains(secrets[name], key) {
			wrong("docs/kubernetes.md has no key %s in a Secret %s", key, name)
		}
		if name != "vidflow-"+p.name && !slices.Contains(shared, name) {
			wrong("has the secrets of another: %s", name)
		}
		return madeUp[key]
	}
	for _, from := range p.container().EnvFrom {
		if from.ConfigMapRef == nil {
			wrong("takes all of a Secret")
			continue
		}
		i := slices.IndexFunc(o.configMaps, func(c *core.ConfigMap) bool { return c.Name == from.ConfigMapRef.Name })
		if i < 0 {
			wrong("there is no ConfigMap %s", from.ConfigMapRef.Name)
			continue
		}
		for key, value := range o.configMaps[i].Data {
			if _, twice := env[key]; twice {
				wrong("%s is in two ConfigMaps", key)
			}
			env[key] = value
		}
	}
	seen := map[string]bool{}
	for _, v := range p.container().Env {
		if seen[v.Name] {
			wrong("%s is set twice", v.Name)
		}
		seen[v.Name] = true
		env[v.Name] = v.Value
		if v.ValueFrom != nil {
			if v.ValueFrom.SecretKeyRef == nil {
				wrong("%s comes from elsewhere than a Secret", v.Name)
				continue
			}
			env[v.Name] = secret(v.ValueFrom.SecretKeyRef.Name, v.ValueFrom.SecretKeyRef.Key)
		}
	}
	for name, value := range env { // files that are mounted
		for _, mount := range p.container().VolumeMounts {
			rest, under := strings.CutPrefix(value, mount.MountPath+"/")
			i := slices.IndexFunc(p.spec.Volumes, func(v core.Volume) bool { return v.Name == mount.Name && v.Secret != nil })
			if !under || i < 0 {
				continue
			}
			for _, item := range p.spec.Volumes[i].Secret.Items {
				if item.Path == rest {
					path := filepath.Join(dir, item.Key)
					if err := os.WriteFile(path, []byte(secret(p.spec.Volumes[i].Secret.SecretName, item.Key)), 0o600); err != nil {
						wrong("%v", err)
					}
					env[name] = path
				}
			}
		}
	}
	return env, problems
}

// shared are Secrets that more than one process has.
var shared = []string{"vidflow-kafka-ca", "vidflow-temporal-tls"}

// check returns all that is wrong.
func (c *checker) check(o *objects) (problems []string) {
	wrong := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	all := pods(o)
	environments := map[string]map[string]string{}
	images := map[string]bool{}
	for _, p := range all {
		if len(p.spec.Containers) != 1 {
			wrong("%s has %d containers", p, len(p.spec.Containers))
			return problems
		}
		env, found := environment(o, p, c.secrets, c.dir)
		problems = append(problems, found...)
		environments[p.name] = env
		images[p.container().Image] = true
		problems = append(problems, c.checkPod(p, env)...)
		problems = append(problems, checkNetwork(o, p, env)...)
	}
	if len(images) != 1 {
		wrong("there are several images: %v", images)
	}
	for image := range images {
		if _, tag, ok := strings.Cut(image, ":"); !ok || tag == "latest" {
			wrong("the image %s has no version", image)
		}
	}
	want := []string{"kafkabridge", "migrate", "replay", "starter", "worker"}
	got := make([]string, 0, len(all))
	for _, p := range all {
		got = append(got, p.name)
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		wrong("there are %v, want %v", got, want)
	}
	problems = append(problems, checkOrder(o)...)
	problems = append(problems, checkSelectors(o, all)...)
	problems = append(problems, c.checkScaling(o, environments)...)
	problems = append(problems, c.checkRoutes(o)...)
	problems = append(problems, checkMonitors(o, all)...)
	return problems
}

// memoryLimit is a variable that Go itself reads: from there on it collects more often.
const memoryLimit = "GOMEMLIMIT"

func (c *checker) checkPod(p pod, env map[string]string) (problems []string) {
	wrong := func(format string, args ...any) {
		problems = append(problems, p.String()+": "+fmt.Sprintf(format, args...))
	}
	container := p.container()
	if len(container.Args) == 0 || container.Args[0] != p.name || len(container.Command) > 0 {
		wrong("runs %v %v", container.Command, container.Args)
		return problems
	}
	known := c.program.variables(p.name)
	for name := range env {
		if name != memoryLimit && !slices.Contains(known, name) {
			wrong("%s does not read %s", p.name, name)
		}
	}
	if refusal := c.program.refuses(container.Args, env); refusal != "" {
		wrong("the binary refuses it: %s", refusal)
	}
	for _, result := range c.pods.EvaluatePod(api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}, &p.meta, &p.spec) {
		if !result.Allowed {
			wrong("is not allowed in a restricted namespace: %s, %s", result.ForbiddenReason, result.ForbiddenDetail)
		}
	}
	if security := container.SecurityContext; security == nil || security.ReadOnlyRootFilesystem == nil || !*security.ReadOnlyRootFilesystem {
		wrong("may write to its file system")
	}
	if p.spec.SecurityContext == nil || p.spec.SecurityContext.RunAsUser == nil || *p.spec.SecurityContext.RunAsUser != 65532 {
		wrong("does not run as the image's user")
	}
	if p.spec.AutomountServiceAccountToken == nil || *p.spec.AutomountServiceAccountToken {
		wrong("has a token of the cluster")
	}
	if p.spec.EnableServiceLinks == nil || *p.spec.EnableServiceLinks {
		wrong("is given variables of Services")
	}
	for _, kind := range []core.ResourceName{core.ResourceCPU, core.ResourceMemory} {
		request, limit := container.Resources.Requests[kind], container.Resources.Limits[kind]
		if request.IsZero() || limit.IsZero() || request.Cmp(limit) > 0 {
			wrong("requests %s of %s, and may have %s", &request, kind, &limit)
		}
	}
	if soft, ok := env[memoryLimit]; ok {
		// Quantities of Kubernetes end as those of Go do, but for the B.
		most, err := resource.ParseQuantity(strings.TrimSuffix(soft, "B"))
		if limit := container.Resources.Limits.Memory(); err != nil || most.Value() > limit.Value()*9/10 {
			wrong("has %s %s, and is killed beyond %s", memoryLimit, soft, limit)
		}
	}
	if p.kind == "Job" {
		if p.spec.RestartPolicy != core.RestartPolicyNever {
			wrong("is started again in its pod")
		}
		return problems
	}

	ports := map[string]int32{}
	for _, port := range container.Ports {
		ports[port.Name] = port.ContainerPort
	}
	want := map[string]int32{"ops": portOf(env["OPS_ADDR"])}
	if p.name == "starter" {
		port, _ := strconv.Atoi(env["PORT"])
		want["api"] = int32(port)
	}
	if fmt.Sprint(ports) != fmt.Sprint(want) {
		wrong("has the ports %v, and listens at %v", ports, want)
	}
	if host, _, _ := net.SplitHostPort(env["OPS_ADDR"]); host != "0.0.0.0" {
		wrong("answers probes at %q alone", host)
	}
	for name, probe := range map[string]struct {
		*core.Probe
		path string
	}{"startup": {container.StartupProbe, "/healthz"}, "liveness": {container.LivenessProbe, "/healthz"}, "readiness": {container.ReadinessProbe, "/readyz"}} {
		if probe.Probe == nil || probe.HTTPGet == nil {
			wrong("has no %s probe", name)
		} else if probe.HTTPGet.Path != probe.path || probe.HTTPGet.Port != intstr.FromString("ops") {
			wrong("%s probe at %s of %s", name, probe.HTTPGet.Path, &probe.HTTPGet.Port)
		}
	}
	timeout, err := time.ParseDuration(c.program.preset(p.name, "shutdown-timeout"))
	if set, ok := env["SHUTDOWN_TIMEOUT"]; ok {
		timeout, err = time.ParseDuration(set)
	}
	if err != nil {
		wrong("%v", err)
	}
	if container.Lifecycle != nil && container.Lifecycle.PreStop != nil && container.Lifecycle.PreStop.Sleep != nil {
		timeout += time.Duration(container.Lifecycle.PreStop.Sleep.Seconds) * time.Second
	}
	if grace := p.spec.TerminationGracePeriodSeconds; grace == nil || time.Duration(*grace)*time.Second <= timeout+c.limit {
		wrong("has a grace of %v s for a shutdown that may take %s", grace, timeout+c.limit)
	}
	if len(p.spec.TopologySpreadConstraints) == 0 {
		wrong("may all be on one node")
	}
	for _, spread := range p.spec.TopologySpreadConstraints {
		if !selects(spread.LabelSelector, p.labels) {
			wrong("is spread by the labels of another")
		}
	}
	return problems
}

func portOf(address string) int32 {
	_, port, err := net.SplitHostPort(address)
	number, wrong := strconv.Atoi(port)
	if err != nil || wrong != nil {
		return 0
	}
	return int32(number)
}

func selects(selector *meta.LabelSelector, of map[string]string) bool {
	s, err := meta.LabelSelectorAsSelector(selector)
	return err == nil && s.Matches(labels.Set(of))
}

// checkOrder holds the waves of Argo CD against the order: settings, gate, migration, processes.
func checkOrder(o *objects) (problems []string) {
	wave := func(m meta.ObjectMeta) int {
		n, _ := strconv.Atoi(m.Annotations["argocd.argoproj.io/sync-wave"])
		return n
	}
	waves := map[string]int{}
	for _, j := range o.jobs {
		waves[j.Name] = wave(j.ObjectMeta)
		if j.Annotations["argocd.argoproj.io/hook"] != "Sync" || j.Annotations["argocd.argoproj.io/hook-delete-policy"] != "BeforeHookCreation" {
			problems = append(problems, "Job "+j.Name+" does not run anew")
		}
		if j.Spec.ActiveDeadlineSeconds == nil || j.Spec.TTLSecondsAfterFinished == nil {
			problems = append(problems, "Job "+j.Name+" may run, or stay, for ever")
		}
	}
	before := map[string]meta.ObjectMeta{}
	for _, x := range o.namespaces {
		before["Namespace "+x.Name] = x.ObjectMeta
	}
	for _, x := range o.configMaps {
		before["ConfigMap "+x.Name] = x.ObjectMeta
	}
	for _, x := range o.policies {
		before["NetworkPolicy "+x.Name] = x.ObjectMeta
	}
	for name, m := range before {
		if wave(m) >= waves["replay"] {
			problems = append(problems, name+" comes after a Job that needs it")
		}
	}
	if waves["replay"] >= waves["migrate"] || waves["migrate"] >= 0 {
		problems = append(problems, fmt.Sprintf("the order is %v, want the gate, the migration and then the processes", waves))
	}
	for _, j := range o.jobs {
		if j.Name == "replay" && !failsAtOnce(j, 3) {
			problems = append(problems, "Job replay tries again what cannot be")
		}
		args := j.Spec.Template.Spec.Containers[0].Args
		if narrow := strings.Contains(strings.Join(args, " "), "TemporalWorkflowVersioningBehavior IS NULL"); j.Name == "replay" && narrow != (len(o.workers) > 0) {
			problems = append(problems, fmt.Sprintf("Job replay looks at the wrong runs for %d workers in versions: %q", len(o.workers), args))
		}
	}
	return problems
}

func failsAtOnce(j *batch.Job, code int32) bool {
	if j.Spec.PodFailurePolicy == nil {
		return false
	}
	for _, rule := range j.Spec.PodFailurePolicy.Rules {
		if exit := rule.OnExitCodes; exit != nil && rule.Action == batch.PodFailurePolicyActionFailJob {
			return (exit.Operator == batch.PodFailurePolicyOnExitCodesOpNotIn) != slices.Contains(exit.Values, code)
		}
	}
	return false
}

func checkSelectors(o *objects, all []pod) (problems []string) {
	wrong := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	selected := func(selector *meta.LabelSelector) (names []string) {
		for _, p := range all {
			if selects(selector, p.labels) {
				names = append(names, p.name)
			}
		}
		return names
	}
	for _, d := range o.deployments {
		if got := selected(d.Spec.Selector); !slices.Equal(got, []string{d.Name}) {
			wrong("Deployment %s selects the pods of %v", d.Name, got)
		}
	}
	budgets := map[string]bool{}
	for _, b := range o.budgets {
		budgets[b.Name] = true
		if got := selected(b.Spec.Selector); !slices.Equal(got, []string{b.Name}) {
			wrong("PodDisruptionBudget %s is about %v", b.Name, got)
		}
		if b.Spec.MaxUnavailable == nil || b.Spec.MaxUnavailable.IntValue() < 1 {
			wrong("PodDisruptionBudget %s holds up the drain of a node", b.Name)
		}
	}
	for _, p := range all {
		if p.kind != "Job" && !budgets[p.name] {
			wrong("%s has no PodDisruptionBudget", p)
		}
	}
	for _, s := range o.services {
		got := selected(meta.SetAsLabelSelector(s.Spec.Selector))
		if !slices.Equal(got, []string{"starter"}) {
			wrong("Service %s leads to %v", s.Name, got)
			continue
		}
		for _, p := range all {
			for _, port := range s.Spec.Ports {
				if p.name == got[0] && !slices.ContainsFunc(p.container().Ports, func(c core.ContainerPort) bool { return c.Name == port.TargetPort.StrVal }) {
					wrong("Service %s leads to port %s, which %s does not have", s.Name, &port.TargetPort, p)
				}
			}
		}
	}
	return problems
}
