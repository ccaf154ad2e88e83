package kubernetes

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/labels"
)

func TestManifests(t *testing.T) {
	t.Parallel()
	c, files := newChecker(t), readTree(t)
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			o, problems := render(files, v)
			if o != nil {
				problems = append(problems, c.check(o)...)
			}
			for _, problem := range problems {
				t.Error(problem)
			}
		})
	}
}

// Each Secret, and each of its keys, that people are told to make is one that something uses.
func TestSecrets_are_used(t *testing.T) {
	t.Parallel()
	files := readTree(t)
	var all strings.Builder
	for _, text := range files {
		all.WriteString(text)
	}
	for name, keys := range documentedSecrets(t) {
		for _, key := range keys {
			if !strings.Contains(all.String(), "name: "+name+", key: "+key) && !strings.Contains(all.String(), "secretName: "+name+", items: [{key: "+key) {
				t.Errorf("nothing takes %s from %s", key, name)
			}
		}
	}
}

// Whatever is broken is found.
func TestManifests_broken(t *testing.T) {
	t.Parallel()
	c, files := newChecker(t), readTree(t)
	for _, b := range broken {
		t.Run(b.want, func(t *testing.T) {
			t.Parallel()
			var v variant
			for _, v = range variants {
				if v.name == b.variant || b.variant == "" {
					break
				}
			}
			o, problems := render(files.with(t, b.path, b.old, b.text), v)
			if o != nil && len(problems) == 0 {
				problems = c.check(o)
			}
			if !slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, b.want) }) {
				t.Errorf("%s with %q in place of %q: %q, want %q", b.path, b.text, b.old, problems, b.want)
			}
		})
	}
}

const (
	worker  = "base/worker.yaml"
	starter = "base/starter.yaml"
	bridge  = "base/kafkabridge.yaml"
	managed = "overlays/managed/"
)

var broken = []struct{ variant, path, old, text, want string }{
	// Form.
	{path: worker, old: "periodSeconds: 5", text: "periodSecond: 5", want: `unknown field "spec.template.spec.containers[0].readinessProbe.periodSecond"`},
	{path: "components/keda/kafkabridge.yaml", old: "pollingInterval: 15", text: "pollInterval: 15", want: `unknown field "spec.pollInterval"`},
	{path: "components/pod-monitor/pod-monitor.yaml", old: "interval:", text: "intervall:", want: "unknown field"},
	{path: "components/http-route/http-route.yaml", old: "hostnames", text: "hosts", want: "unknown field"},
	{
		variant: "managed with versions", path: "components/worker-deployment/versions/worker.yaml", old: "rollout:", text: "rollOut:",
		want: `unknown field "spec.rollOut"`,
	},
	{path: "components/keda/starter.yaml", old: "autoscaling/v2", text: "autoscaling/v2beta2", want: "no type is known for autoscaling/v2beta2"},
	// Variables.
	{path: managed + "settings/kafka.env", old: "KAFKA_SASL_MECHANISM", text: "KAFKA_SASL_MECHANISMS", want: "does not read KAFKA_SASL_MECHANISMS"},
	{path: managed + "settings/process.env", old: "LOG_LEVEL", text: "SUPABASE_URL", want: "kafkabridge does not read SUPABASE_URL"},
	{path: managed + "settings/kafka.env", old: "org:9096,", text: "org,", want: "KAFKA_BROKERS"},
	{path: managed + "settings/storage.env", old: "SUPABASE_URL=https://project.supabase.co", text: "", want: "SUPABASE_URL  is not set"},
	{path: managed + "settings/worker.env", old: "=6h", text: "=6 hours", want: "TRANSCRIPTION_ASK_AGAIN_AFTER"},
	{path: starter, old: "name: JWT_SECRET, valueFrom", text: "name: JWKS_URL, valueFrom", want: "JWKS_URL"},
	{
		variant: "managed with versions", path: "components/worker-deployment/api-key/kustomization.yaml",
		old: "      - {op: remove, path: /spec/template/spec/containers/0/env/0}\n", text: "", want: "TEMPORAL_API_KEY is set twice",
	},
	{path: starter, old: "            - configMapRef: {name: vidflow-storage}\n", text: "", want: "SUPABASE_URL"},
	{path: starter, old: "key: JWT_SECRET", text: "key: JWT_SECRETS", want: "has no key JWT_SECRETS in a Secret vidflow-starter"},
	{path: bridge, old: "name: vidflow-kafkabridge, key: KAFKA_USERNAME", text: "name: vidflow-worker, key: KAFKA_USERNAME", want: "the secrets of another"},
	{path: worker, old: "vidflow-storage}", text: "vidflow-storages}", want: "there is no ConfigMap vidflow-storages"},
	{
		variant: "self-hosted", path: "overlays/self-hosted/settings/kafka.env", old: "/etc/vidflow/kafka/ca.crt", text: "/etc/vidflow/ca.crt",
		want: "KAFKA_SSL_CA_FILE",
	},
	// The binary, its ports and its end.
	{path: "base/jobs.yaml", old: "args: [replay]", text: "args: [replays]", want: "runs [] [replays]"},
	{path: worker, old: `"0.0.0.0:9101"`, text: `"0.0.0.0:9102"`, want: "and listens at map[ops:9102]"},
	{path: worker, old: `"0.0.0.0:9101"`, text: `"127.0.0.1:9101"`, want: `answers probes at "127.0.0.1" alone`},
	{path: starter, old: `PORT, value: "8000"`, text: `PORT, value: "8080"`, want: "has the ports"},
	{path: worker, old: "path: /readyz", text: "path: /ready", want: "readiness probe at /ready"},
	{path: worker, old: "terminationGracePeriodSeconds: 35", text: "terminationGracePeriodSeconds: 28", want: "for a shutdown that may take 28s"},
	{path: starter, old: "terminationGracePeriodSeconds: 40", text: "terminationGracePeriodSeconds: 33", want: "for a shutdown that may take 33s"},
	{path: managed + "settings/process.env", old: "LOG_LEVEL=info", text: "SHUTDOWN_TIMEOUT=1m", want: "for a shutdown that may take 1m3s"},
	// Security.
	{path: worker, old: "runAsNonRoot: true", text: "runAsNonRoot: false", want: "restricted namespace"},
	{path: worker, old: "drop: [ALL]", text: "drop: [NET_RAW]", want: "restricted namespace"},
	{path: worker, old: "seccompProfile: {type: RuntimeDefault}", text: "seccompProfile: {type: Unconfined}", want: "restricted namespace"},
	{path: worker, old: "readOnlyRootFilesystem: true", text: "readOnlyRootFilesystem: false", want: "may write to its file system"},
	{path: worker, old: "runAsUser: 65532", text: "runAsUser: 1000", want: "the image's user"},
	{path: worker, old: "automountServiceAccountToken: false", text: "automountServiceAccountToken: true", want: "a token of the cluster"},
	{path: worker, old: "enableServiceLinks: false", text: "enableServiceLinks: true", want: "variables of Services"},
	// Network.
	{path: managed + "network.yaml", old: "port: 9096", text: "port: 9092", want: "may not reach port 9096 of KAFKA_BROKERS"},
	{path: managed + "network.yaml", old: "values: [worker, starter, migrate]", text: "values: [worker, starter, migrate, kafkabridge]", want: "may reach port 5432, and has no use for it"},
	{path: managed + "network.yaml", old: "[worker, starter, kafkabridge, replay, migrate]", text: "[worker, starter, kafkabridge, migrate]", want: "Job replay: may not reach port 7233"},
	{path: "base/network.yaml", old: "policyTypes: [Ingress, Egress]", text: "policyTypes: [Egress]", want: "no policy denies what none allows"},
	{path: "base/network.yaml", old: "port: api", text: "port: ops", want: "nobody may reach its port api"},
	// Resources, places and selectors.
	{path: worker, old: "memory: 128Mi", text: "memory: 1Gi", want: "requests 1Gi of memory, and may have 512Mi"},
	{path: worker, old: "value: 400MiB", text: "value: 500MiB", want: "has GOMEMLIMIT 500MiB, and is killed beyond 512Mi"},
	{path: worker, old: "value: 400MiB", text: "value: 400M B", want: "has GOMEMLIMIT 400M B"},
	{path: worker, old: "labelSelector: {matchLabels: {app.kubernetes.io/name: vidflow, app.kubernetes.io/component: worker}}", text: "labelSelector: {matchLabels: {app.kubernetes.io/component: starter}}", want: "spread by the labels of another"},
	{path: worker, old: "labels: {app.kubernetes.io/name: vidflow, app.kubernetes.io/component: worker}\n    spec", text: "labels: {app.kubernetes.io/name: vidflow, app.kubernetes.io/component: workers}\n    spec", want: "Deployment worker selects the pods of []"},
	{path: worker, old: "maxUnavailable: 1\n", text: "maxUnavailable: 0\n", want: "holds up the drain"},
	{path: bridge, old: "  name: kafkabridge\n  labels: {app.kubernetes.io/name: vidflow, app.kubernetes.io/component: kafkabridge}\nspec:\n  maxU", text: "  name: bridge\nspec:\n  maxU", want: "Deployment kafkabridge has no PodDisruptionBudget"},
	{path: starter, old: "targetPort: api", text: "targetPort: http", want: "leads to port http"},
	{path: starter, old: "selector: {app.kubernetes.io/name: vidflow, app.kubernetes.io/component: starter}", text: "selector: {app.kubernetes.io/name: vidflow}", want: "Service starter leads to"},
	{path: managed + "kustomization.yaml", old: "newTag: 0.1.0", text: "newTag: latest", want: "has no version"},
	{path: "base/jobs.yaml", old: "image: vidflow", text: "image: other:1", want: "several images"},
	// The order.
	{path: "base/jobs.yaml", old: `sync-wave: "-1"`, text: `sync-wave: "0"`, want: "the order is"},
	{path: "base/jobs.yaml", old: `values: [1]`, text: `values: [1, 3]`, want: "tries again what cannot be"},
	{path: "base/jobs.yaml", old: "hook: Sync", text: "hook: PreSync", want: "does not run anew"},
	{path: managed + "settings/kustomization.yaml", old: `sync-wave: "-3"`, text: `sync-wave: "0"`, want: "comes after a Job that needs it"},
	// Scaling.
	{path: "components/keda/kafkabridge.yaml", old: "lagThreshold", text: "lagTreshold", want: "does not read lagTreshold"},
	{path: "components/keda/kafkabridge.yaml", old: "version: 3.1.0", text: "version: 1.0.0", want: "speaks to Kafka in the version"},
	{path: "components/keda/kafkabridge.yaml", old: "topic: finish_compress", text: "topic: finish_compression", want: "goes by"},
	{path: "components/keda/kafkabridge.yaml", old: "sasl: scram_sha512", text: "sasl: scram_sha256", want: "has login"},
	{path: "components/keda/kafkabridge.yaml", old: "tls: enable", text: "tls: disable", want: "has TLS"},
	{path: "components/keda/kafkabridge.yaml", old: `allowIdleConsumers: "false"`, text: `allowIdleConsumers: "true"`, want: "that have no partition"},
	{path: "components/keda/kafkabridge.yaml", old: "scaleTargetRef: {name: kafkabridge}", text: "scaleTargetRef: {name: bridge}", want: "scales  bridge, which there is not"},
	{path: "components/keda/worker.yaml", old: "taskQueue: videos", text: "taskQueue: video", want: "has task queue"},
	{path: "components/keda/worker.yaml", old: "taskQueue:", text: "queueName:", want: "does not read queueName"},
	{path: "components/keda/kustomization.yaml", old: "data.TEMPORAL_ADDRESS", text: "data.TEMPORAL_NAMESPACE", want: "has address"},
	{path: "components/keda/kustomization.yaml", old: "worker|starter|kafkabridge", text: "worker|kafkabridge", want: "Deployment starter has a number of instances"},
	{path: "components/keda/authentication.yaml", old: "parameter: apiKey", text: "parameter: token", want: "does not read token"},
	{path: "components/keda/authentication.yaml", old: "key: KAFKA_USERNAME", text: "key: USERNAME", want: "has no key USERNAME"},
	{
		variant: "self-hosted", path: "overlays/self-hosted/servers/kustomization.yaml", old: `value: "false"`, text: `value: "true"`, want: "TLS true, and authentication",
	},
	{
		variant: "managed with versions", path: "components/worker-deployment/instead/kustomization.yaml", old: `workerDeploymentBuildId, value: ""`,
		text: `workerDeploymentBuildId, value: "1"`, want: "which the controller fills in",
	},
	{
		variant: "managed with versions", path: "components/worker-deployment/versions/worker.yaml", old: "pauseDuration: 10m", text: "pauseDuration: 10s",
		want: "has a step of 10 % for 10s",
	},
	{
		variant: "managed with versions", path: "components/worker-deployment/kustomization.yaml", old: "IS NULL", text: "IS NOT NULL",
		want: "Job replay looks at the wrong runs",
	},
	{path: "base/jobs.yaml", old: "args: [replay]", text: "args: [replay, --query, TemporalWorkflowVersioningBehavior IS NULL]", want: "Job replay looks at the wrong runs"},
	{
		variant: "managed with versions", path: "components/worker-deployment/versions/names.yaml", old: "envFrom/configMapRef", text: "env/configMapRef",
		want: "WorkerDeployment worker: there is no ConfigMap",
	},
	// The gateway, and Prometheus.
	{path: "components/http-route/http-route.yaml", old: "(pipeline|events)", text: "pipeline", want: "no HTTPRoute sends GET /api/courses"},
	{path: "components/http-route/http-route.yaml", old: "- method: POST\n          path", text: "- path", want: "GET /api/courses/1/videos is the API server's"},
	{path: "components/http-route/http-route.yaml", old: "port: 80", text: "port: 8000", want: "a Service starter that there is not"},
	{path: "components/pod-monitor/pod-monitor.yaml", old: "vidflow-${1}", text: "${1}", want: "is not scraped as a job"},
	{path: "components/pod-monitor/pod-monitor.yaml", old: "port: ops", text: "port: metrics", want: "is not scraped as a job"},
}

// The selectors of the documented roll-out apply what has to be there before the gate, then the migration.
func TestRollout_in_the_documented_order(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/kubernetes.md")
	if err != nil {
		t.Fatal(err)
	}
	selectors := regexp.MustCompile(`kubectl apply -k \. --selector ('[^'\n]+'|\S+)`).FindAllStringSubmatch(string(page), -1)
	want := []map[string]bool{
		{"Namespace": true, "ConfigMap": true, "NetworkPolicy": true, "Job replay": true, "Job migrate": false, "Deployment": false, "WorkerDeployment": false},
		{"Namespace": false, "ConfigMap": false, "Job replay": false, "Job migrate": true, "Deployment": false, "WorkerDeployment": false},
	}
	if len(selectors) != len(want) {
		t.Fatalf("docs/kubernetes.md applies %q, want %d parts", selectors, len(want))
	}
	files := readTree(t)
	for _, v := range variants {
		made, err := build(files, v)
		if err != nil {
			t.Fatal(err)
		}
		for i, selector := range selectors {
			s, err := labels.Parse(strings.Trim(selector[1], "'"))
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range made.Resources() {
				kind := r.GetKind()
				if kind == "Job" {
					kind += " " + r.GetName()
				}
				applied, said := want[i][kind]
				if got := s.Matches(labels.Set(r.GetLabels())); said && got != applied {
					t.Errorf("%s, %s: %s %s is applied: %v, want %v", v.name, selector[1], r.GetKind(), r.GetName(), got, applied)
				}
			}
		}
	}
}
