package kubernetes

import (
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// What the manifests use of the API temporal.io/v1alpha1 of Temporal's worker controller, by the names of its custom resource
// definitions, version 1.11: its Go types cannot be had from every module proxy. A field that is not here is an error
// as it is elsewhere; look it up before it is added.
type (
	WorkerDeployment struct {
		meta.TypeMeta   `json:",inline"`
		meta.ObjectMeta `json:"metadata"`
		Spec            WorkerDeploymentSpec `json:"spec"`
	}
	WorkerDeploymentSpec struct {
		Replicas      *int32               `json:"replicas,omitempty"`
		Template      core.PodTemplateSpec `json:"template"`
		Rollout       Rollout              `json:"rollout"`
		Sunset        Sunset               `json:"sunset"`
		WorkerOptions WorkerOptions        `json:"workerOptions"`
	}
	WorkerOptions struct {
		ConnectionRef     core.LocalObjectReference `json:"connectionRef"`
		TemporalNamespace string                    `json:"temporalNamespace"`
	}
	Rollout struct {
		Strategy string        `json:"strategy"` // Manual, AllAtOnce or Progressive
		Steps    []RolloutStep `json:"steps"`
	}
	RolloutStep struct {
		RampPercentage int           `json:"rampPercentage"` // from 1 to 99
		PauseDuration  meta.Duration `json:"pauseDuration"`  // 30 s at least
	}
	Sunset struct {
		ScaledownDelay meta.Duration `json:"scaledownDelay"`
		DeleteDelay    meta.Duration `json:"deleteDelay"`
	}

	Connection struct {
		meta.TypeMeta   `json:",inline"`
		meta.ObjectMeta `json:"metadata"`
		Spec            ConnectionSpec `json:"spec"`
	}
	ConnectionSpec struct {
		HostPort        string                  `json:"hostPort"`
		APIKeySecretRef *core.SecretKeySelector `json:"apiKeySecretRef,omitempty"`
	}

	WorkerResourceTemplate struct {
		meta.TypeMeta   `json:",inline"`
		meta.ObjectMeta `json:"metadata"`
		Spec            WorkerResourceTemplateSpec `json:"spec"`
	}
	WorkerResourceTemplateSpec struct {
		WorkerDeploymentRef core.LocalObjectReference `json:"workerDeploymentRef"`
		Template            runtime.RawExtension      `json:"template"`
	}
)
