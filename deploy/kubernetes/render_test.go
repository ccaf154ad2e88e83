package kubernetes

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	keda "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// tree is the folder in memory, by path, so that a test may change it.
type tree map[string]string

func readTree(t *testing.T) tree {
	t.Helper()
	files := tree{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".go") || strings.HasPrefix(path, "go.") {
			return err
		}
		text, err := os.ReadFile(path)
		files[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// with returns a copy in which one text stands in another's place.
func (files tree) with(t *testing.T, path, old, text string) tree {
	t.Helper()
	if !strings.Contains(files[path], old) {
		t.Fatalf("%s has no %q to replace", path, old)
	}
	changed := tree{}
	for name, content := range files {
		changed[name] = content
	}
	changed[path] = strings.Replace(files[path], old, text, 1)
	return changed
}

// A variant is what can be chosen in an overlay by adding and removing the lines of its components.
type variant struct{ name, overlay, old, text string }

var variants = []variant{
	{name: "managed", overlay: "managed"},
	{name: "self-hosted", overlay: "self-hosted"},
	{
		name: "managed with versions", overlay: "managed",
		old:  "  # - ../../components/worker-deployment\n  # - ../../components/worker-deployment/api-key\n",
		text: "  - ../../components/worker-deployment\n  - ../../components/worker-deployment/api-key\n",
	},
	{
		name: "self-hosted with versions", overlay: "self-hosted",
		old: "  # - ../../components/worker-deployment\n", text: "  - ../../components/worker-deployment\n",
	},
	{name: "managed without KEDA", overlay: "managed", old: "  - ../../components/keda\n"},
	{name: "managed with a certificate", overlay: "managed", old: "temporal-api-key", text: "temporal-mtls"},
}

// objects are what an overlay makes of it.
type objects struct {
	namespaces      []*core.Namespace
	configMaps      []*core.ConfigMap
	services        []*core.Service
	deployments     []*apps.Deployment
	jobs            []*batch.Job
	budgets         []*policy.PodDisruptionBudget
	policies        []*networking.NetworkPolicy
	scaled          []*keda.ScaledObject
	authentications []*keda.TriggerAuthentication
	autoscalers     []*autoscaling.HorizontalPodAutoscaler
	monitors        []*monitoring.PodMonitor
	routes          []*gateway.HTTPRoute
	workers         []*WorkerDeployment
	connections     []*Connection
	templates       []*WorkerResourceTemplate
}

// build has Kustomize make the objects of a variant.
func build(files tree, v variant) (resmap.ResMap, error) {
	root := "overlays/" + v.overlay
	memory := filesys.MakeFsInMemory()
	for path, text := range files {
		if path == root+"/kustomization.yaml" && v.old != "" {
			if !strings.Contains(text, v.old) {
				return nil, fmt.Errorf("%s has no %q", path, v.old)
			}
			text = strings.Replace(text, v.old, v.text, 1)
		}
		if err := memory.WriteFile(path, []byte(text)); err != nil {
			return nil, err
		}
	}
	return krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(memory, root)
}

// render returns the objects of a variant, and what is wrong with their form.
func render(files tree, v variant) (o *objects, problems []string) {
	made, err := build(files, v)
	if err != nil {
		return nil, []string{err.Error()}
	}
	o = new(objects)
	for _, r := range made.Resources() {
		name := r.GetKind() + " " + r.GetName()
		text, err := r.MarshalJSON()
		if err != nil {
			return nil, []string{err.Error()}
		}
		var object any
		switch r.GetApiVersion() + " " + r.GetKind() {
		case "v1 Namespace":
			object = add(&o.namespaces)
		case "v1 ConfigMap":
			object = add(&o.configMaps)
		case "v1 Service":
			object = add(&o.services)
		case "apps/v1 Deployment":
			object = add(&o.deployments)
		case "batch/v1 Job":
			object = add(&o.jobs)
		case "policy/v1 PodDisruptionBudget":
			object = add(&o.budgets)
		case "networking.k8s.io/v1 NetworkPolicy":
			object = add(&o.policies)
		case "keda.sh/v1alpha1 ScaledObject":
			object = add(&o.scaled)
		case "keda.sh/v1alpha1 TriggerAuthentication":
			object = add(&o.authentications)
		case "autoscaling/v2 HorizontalPodAutoscaler":
			object = add(&o.autoscalers)
		case "monitoring.coreos.com/v1 PodMonitor":
			object = add(&o.monitors)
		case "gateway.networking.k8s.io/v1 HTTPRoute":
			object = add(&o.routes)
		case "temporal.io/v1alpha1 WorkerDeployment":
			object = add(&o.workers)
		case "temporal.io/v1alpha1 Connection":
			object = add(&o.connections)
		case "temporal.io/v1alpha1 WorkerResourceTemplate":
			object = add(&o.templates)
		default:
			problems = append(problems, name+": no type is known for "+r.GetApiVersion())
			continue
		}
		problems = append(problems, decode(name, text, object)...)
		if r.GetNamespace() != "vidflow" && r.GetKind() != "Namespace" {
			problems = append(problems, name+" is in the namespace "+r.GetNamespace())
		}
	}
	return o, problems
}

// add appends a new object to a list.
func add[T any](list *[]*T) *T {
	object := new(T)
	*list = append(*list, object)
	return object
}

// decode takes fields that the type has, each once and in its own case, and no other.
func decode(name string, text []byte, into any) (problems []string) {
	strict, err := json.UnmarshalStrict(text, into)
	if err != nil {
		return []string{name + ": " + err.Error()}
	}
	for _, err := range strict {
		problems = append(problems, name+": "+err.Error())
	}
	return problems
}
