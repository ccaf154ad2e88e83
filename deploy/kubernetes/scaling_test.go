package kubernetes

import (
	"fmt"
	"slices"
	"strings"
	"time"

	keda "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
)

// checkScaling looks at who is scaled, and by what.
func (c *checker) checkScaling(o *objects, env map[string]map[string]string) (problems []string) {
	wrong := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	scaled := slices.Clone(o.scaled)
	for _, template := range o.templates {
		var s keda.ScaledObject
		problems = append(problems, decode("WorkerResourceTemplate "+template.Name, template.Spec.Template.Raw, &s)...)
		s.Name = "of " + template.Name
		if !slices.ContainsFunc(o.workers, func(w *WorkerDeployment) bool { return w.Name == template.Spec.WorkerDeploymentRef.Name }) {
			wrong("WorkerResourceTemplate %s is about no WorkerDeployment", template.Name)
		}
		if s.Spec.ScaleTargetRef == nil || s.Spec.ScaleTargetRef.Name != "" {
			wrong("WorkerResourceTemplate %s names the target that the controller names", template.Name)
		}
		for _, trigger := range s.Spec.Triggers {
			for _, key := range []string{"namespace", "workerDeploymentName", "workerDeploymentBuildId"} {
				if value, ok := trigger.Metadata[key]; !ok || value != "" {
					wrong("WorkerResourceTemplate %s says %s, which the controller fills in", template.Name, key)
				}
			}
			trigger.Metadata["namespace"] = env["worker"]["TEMPORAL_NAMESPACE"]
		}
		s.Spec.ScaleTargetRef = nil
		scaled = append(scaled, &s)
	}
	targets := map[string]bool{}
	target := func(by, kind, name string) {
		targets[name] = true
		for _, d := range o.deployments {
			if d.Name == name && (kind == "" || kind == "Deployment") {
				if d.Spec.Replicas != nil {
					wrong("Deployment %s has a number of instances, which %s sets too", name, by)
				}
				return
			}
		}
		wrong("%s scales %s %s, which there is not", by, kind, name)
	}
	for _, s := range scaled {
		if s.Spec.ScaleTargetRef != nil {
			target("ScaledObject "+s.Name, s.Spec.ScaleTargetRef.Kind, s.Spec.ScaleTargetRef.Name)
		}
		if s.Spec.MinReplicaCount == nil || *s.Spec.MinReplicaCount < 1 || s.Spec.MaxReplicaCount == nil || *s.Spec.MaxReplicaCount < *s.Spec.MinReplicaCount {
			wrong("ScaledObject %s has no bounds", s.Name)
		}
		followed := map[string]string{}
		for _, trigger := range s.Spec.Triggers {
			for key := range trigger.Metadata {
				if !slices.Contains(c.triggers[trigger.Type+" triggerMetadata"], key) {
					wrong("ScaledObject %s: KEDA's scaler %s does not read %s", s.Name, trigger.Type, key)
				}
			}
			m := trigger.Metadata
			same := func(what, got, want string) {
				if got != want {
					wrong("ScaledObject %s has %s %q, the process %q", s.Name, what, got, want)
				}
			}
			switch trigger.Type {
			case "kafka":
				bridge := env["kafkabridge"]
				same("brokers", m["bootstrapServers"], bridge["KAFKA_BROKERS"])
				same("login", strings.ReplaceAll(m["sasl"], "_", ""), strings.ReplaceAll(c.value("kafkabridge", bridge, "KAFKA_SASL_MECHANISM"), "-", ""))
				same("TLS", map[string]string{"enable": "true"}[m["tls"]], c.value("kafkabridge", bridge, "KAFKA_SSL"))
				same("start", m["offsetResetPolicy"], c.value("kafkabridge", bridge, "KAFKA_START_OFFSET"))
				followed[m["topic"]] = m["consumerGroup"]
				if m["version"] != "3.1.0" {
					wrong("ScaledObject %s speaks to Kafka in the version %q", s.Name, m["version"])
				}
				if m["allowIdleConsumers"] != "false" {
					wrong("ScaledObject %s starts instances that have no partition", s.Name)
				}
			case "temporal":
				same("address", m["endpoint"], env["worker"]["TEMPORAL_ADDRESS"])
				same("namespace", m["namespace"], env["worker"]["TEMPORAL_NAMESPACE"])
				same("task queue", m["taskQueue"], c.queue)
				if secured := m["enableTLS"] != "false"; secured != (trigger.AuthenticationRef != nil) {
					wrong("ScaledObject %s: TLS %v, and authentication %v", s.Name, secured, trigger.AuthenticationRef)
				}
			default:
				wrong("ScaledObject %s goes by %s", s.Name, trigger.Type)
			}
			if trigger.AuthenticationRef != nil {
				problems = append(problems, c.checkAuthentication(o, trigger)...)
			}
		}
		if s.Name == "kafkabridge" {
			bridge := env["kafkabridge"]
			want := map[string]string{
				c.value("kafkabridge", bridge, "KAFKA_CONSUME_TOPIC"):     c.value("kafkabridge", bridge, "KAFKA_TRANSCRIPTION_GROUP"),
				c.value("kafkabridge", bridge, "KAFKA_COMPRESSION_TOPIC"): c.value("kafkabridge", bridge, "KAFKA_COMPRESSION_GROUP"),
			}
			if fmt.Sprint(followed) != fmt.Sprint(want) {
				wrong("ScaledObject %s goes by %v, the process has %v", s.Name, followed, want)
			}
		}
	}
	for _, h := range o.autoscalers {
		target("HorizontalPodAutoscaler "+h.Name, h.Spec.ScaleTargetRef.Kind, h.Spec.ScaleTargetRef.Name)
	}
	for _, d := range o.deployments {
		if !targets[d.Name] && (d.Spec.Replicas == nil || *d.Spec.Replicas < 2) {
			wrong("Deployment %s has neither two instances nor somebody who scales it", d.Name)
		}
	}
	for _, w := range o.workers {
		if w.Spec.Rollout.Strategy != "Progressive" || len(w.Spec.Rollout.Steps) == 0 {
			wrong("WorkerDeployment %s has no steps", w.Name)
		}
		for _, step := range w.Spec.Rollout.Steps {
			if step.RampPercentage < 1 || step.RampPercentage > 99 || step.PauseDuration.Duration < 30*time.Second {
				wrong("WorkerDeployment %s has a step of %d %% for %s", w.Name, step.RampPercentage, step.PauseDuration.Duration)
			}
		}
		if !slices.ContainsFunc(o.connections, func(c *Connection) bool { return c.Name == w.Spec.WorkerOptions.ConnectionRef.Name }) {
			wrong("WorkerDeployment %s has no Connection", w.Name)
		}
	}
	return problems
}

// value is that of a variable in an environment, or what the command has when it is not set.
func (c *checker) value(command string, env map[string]string, name string) string {
	if value := env[name]; value != "" {
		return value
	}
	return c.program.preset(command, strings.ToLower(strings.ReplaceAll(name, "_", "-")))
}

func (c *checker) checkAuthentication(o *objects, trigger keda.ScaleTriggers) (problems []string) {
	for _, a := range o.authentications {
		if a.Name != trigger.AuthenticationRef.Name {
			continue
		}
		for _, ref := range a.Spec.SecretTargetRef {
			if !slices.Contains(c.triggers[trigger.Type+" authParams"], ref.Parameter) {
				problems = append(problems, fmt.Sprintf("TriggerAuthentication %s: KEDA's scaler %s does not read %s", a.Name, trigger.Type, ref.Parameter))
			}
			if !slices.Contains(c.secrets[ref.Name], ref.Key) {
				problems = append(problems, fmt.Sprintf("TriggerAuthentication %s: docs/kubernetes.md has no key %s in a Secret %s", a.Name, ref.Key, ref.Name))
			}
		}
		return problems
	}
	return []string{"there is no TriggerAuthentication " + trigger.AuthenticationRef.Name}
}
