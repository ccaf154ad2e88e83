// Package versions tells which versions of the worker Temporal hands new videos to, and whether such workers are there. A
// version is a build of a deployment (Temporal's Worker Versioning); a worker may also be unversioned.
//
// It asks nobody: what it knows is in the description of the task queue.
package versions

import (
	"fmt"
	"slices"

	"go.temporal.io/api/deployment/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
)

// Version is a build of a deployment; the zero value is a worker that is unversioned.
type Version struct{ Deployment, Build string }

// String writes it as Temporal does, in search attributes and in its UI.
func (v Version) String() string {
	if v == (Version{}) {
		return "unversioned"
	}
	return v.Deployment + ":" + v.Build
}

// Share is a version and how much of what is new it gets, in percent: new runs, and tasks of runs that are unversioned.
type Share struct {
	Version    Version
	Percentage float32
	// Ramping says that it gets them beside the current version.
	Ramping bool
}

// Shares are the versions that get anything new in the queue.
func Shares(queue *workflowservice.DescribeTaskQueueResponse) []Share {
	info := queue.GetVersioningInfo()
	ramp := info.GetRampingVersionPercentage()
	all := []Share{
		{Version: of(info.GetCurrentDeploymentVersion()), Percentage: 100 - ramp},
		{Version: of(info.GetRampingDeploymentVersion()), Percentage: ramp, Ramping: true},
	}
	return slices.DeleteFunc(all, func(s Share) bool { return s.Percentage <= 0 })
}

// Of is the version of a worker that polls.
func Of(p *taskqueue.PollerInfo) Version {
	o := p.GetDeploymentOptions()
	if o.GetWorkerVersioningMode() != enums.WORKER_VERSIONING_MODE_VERSIONED {
		return Version{}
	}
	return Version{Deployment: o.GetDeploymentName(), Build: o.GetBuildId()}
}

func of(v *deployment.WorkerDeploymentVersion) Version {
	return Version{Deployment: v.GetDeploymentName(), Build: v.GetBuildId()}
}

// UnservedError says that new videos go to a version that no worker is of.
type UnservedError struct {
	// What is wrong, a sentence, and what to Do about it.
	What, Do string
}

// Error implements error.
func (e *UnservedError) Error() string { return e.What + " To mend it: " + e.Do }

// Served returns nil when every version that gets new videos is among those of the workers, or there are no workers at all,
// and else an *UnservedError. The first of the workers' versions is the one that it proposes.
func Served(shares []Share, workers []Version) error {
	if len(workers) == 0 {
		return nil
	}
	for _, s := range shares {
		if slices.Contains(workers, s.Version) {
			continue
		}
		which := "New videos"
		if s.Percentage < 100 {
			which = fmt.Sprintf("%.0f %% of the new videos", s.Percentage)
		}
		e := &UnservedError{What: fmt.Sprintf("%s go to version %s, which no worker runs: they wait.", which, s.Version)}
		versioned := slices.IndexFunc(workers, func(v Version) bool { return v != Version{} })
		const setCurrent = "temporal worker deployment set-current-version --deployment-name %s --build-id %s"
		switch {
		case s.Ramping:
			deployment := s.Version.Deployment
			if versioned >= 0 {
				deployment = workers[versioned].Deployment
			}
			e.Do = fmt.Sprintf("temporal worker deployment set-ramping-version --deployment-name %s --delete", deployment)
		case s.Version == Version{}: // then all workers are versioned
			v := workers[versioned]
			e.What = fmt.Sprintf("No version of deployment %s is current, and no worker is unversioned: new videos wait.", v.Deployment)
			e.Do = fmt.Sprintf(setCurrent, v.Deployment, v.Build)
		case versioned >= 0:
			e.Do = fmt.Sprintf(setCurrent, workers[versioned].Deployment, workers[versioned].Build)
		default:
			e.Do = fmt.Sprintf("temporal worker deployment set-current-version --deployment-name %s --unversioned", s.Version.Deployment)
		}
		return e
	}
	return nil
}
