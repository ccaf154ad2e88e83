package versions_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/api/deployment/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/codeendelea/vidflow/internal/versions"
)

var (
	none = versions.Version{}
	one  = versions.Version{Deployment: "vidflow", Build: "one"}
	two  = versions.Version{Deployment: "vidflow", Build: "two"}
)

func TestShares(t *testing.T) {
	t.Parallel()
	version := func(v versions.Version) *deployment.WorkerDeploymentVersion {
		if v == none {
			return nil
		}
		return &deployment.WorkerDeploymentVersion{DeploymentName: v.Deployment, BuildId: v.Build}
	}
	for name, row := range map[string]struct {
		current, ramping versions.Version
		percentage       float32
		want             []versions.Share
	}{
		"nothing set":                  {none, none, 0, []versions.Share{{Version: none, Percentage: 100}}},
		"current":                      {one, none, 0, []versions.Share{{Version: one, Percentage: 100}}},
		"a ramp":                       {one, two, 30, []versions.Share{{Version: one, Percentage: 70}, {Version: two, Percentage: 30, Ramping: true}}},
		"a ramp that is paused":        {one, two, 0, []versions.Share{{Version: one, Percentage: 100}}},
		"a ramp of all":                {one, two, 100, []versions.Share{{Version: two, Percentage: 100, Ramping: true}}},
		"a ramp to unversioned ones":   {one, none, 5, []versions.Share{{Version: one, Percentage: 95}, {Version: none, Percentage: 5, Ramping: true}}},
		"a ramp before any is current": {none, one, 5, []versions.Share{{Version: none, Percentage: 95}, {Version: one, Percentage: 5, Ramping: true}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := versions.Shares(&workflowservice.DescribeTaskQueueResponse{VersioningInfo: &taskqueue.TaskQueueVersioningInfo{
				CurrentDeploymentVersion: version(row.current), RampingDeploymentVersion: version(row.ramping), RampingVersionPercentage: row.percentage,
			}})
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("shares (-want +got):\n%s", diff)
			}
		})
	}
	if got := versions.Shares(&workflowservice.DescribeTaskQueueResponse{}); len(got) != 1 || got[0].Version != none {
		t.Errorf("of a server that knows no versions: %v", got)
	}
}

func TestOf(t *testing.T) {
	t.Parallel()
	options := &deployment.WorkerDeploymentOptions{DeploymentName: "vidflow", BuildId: "one", WorkerVersioningMode: enums.WORKER_VERSIONING_MODE_VERSIONED}
	if got := versions.Of(&taskqueue.PollerInfo{DeploymentOptions: options}); got != one {
		t.Errorf("got %s", got)
	}
	// An unversioned worker names its build too.
	options.WorkerVersioningMode = enums.WORKER_VERSIONING_MODE_UNVERSIONED
	if got := versions.Of(&taskqueue.PollerInfo{DeploymentOptions: options}); got != none {
		t.Errorf("got %s", got)
	}
}

func TestServed(t *testing.T) {
	t.Parallel()
	const setCurrent = "temporal worker deployment set-current-version --deployment-name vidflow "
	all := func(v versions.Version) []versions.Share { return []versions.Share{{Version: v, Percentage: 100}} }
	ramp := func(current, ramping versions.Version) []versions.Share {
		return []versions.Share{{Version: current, Percentage: 70}, {Version: ramping, Percentage: 30, Ramping: true}}
	}
	for name, row := range map[string]struct {
		shares   []versions.Share
		workers  []versions.Version
		what, do string
	}{
		"nothing versioned":          {all(none), []versions.Version{none}, "", ""},
		"no worker at all":           {all(one), nil, "", ""},
		"the current one runs":       {all(one), []versions.Version{two, one}, "", ""},
		"both of a ramp run":         {ramp(one, two), []versions.Version{two, one}, "", ""},
		"not current yet":            {all(none), []versions.Version{one, none}, "", ""},
		"none is current":            {all(none), []versions.Version{one}, "No version of deployment vidflow is current", setCurrent + "--build-id one"},
		"another one is current":     {all(one), []versions.Version{two}, "New videos go to version vidflow:one, which no worker runs", setCurrent + "--build-id two"},
		"unversioned ones alone run": {all(one), []versions.Version{none}, "New videos go to version vidflow:one", setCurrent + "--unversioned"},
		"the old one of a ramp ended": {
			ramp(one, two), []versions.Version{two}, "70 % of the new videos go to version vidflow:one", setCurrent + "--build-id two",
		},
		"the new one of a ramp ended": {
			ramp(one, two),
			[]versions.Version{one},
			"30 % of the new videos go to version vidflow:two",
			"temporal worker deployment set-ramping-version --deployment-name vidflow --delete",
		},
		"a ramp to unversioned ones that are gone": {
			ramp(one, none),
			[]versions.Version{one},
			"30 % of the new videos go to version unversioned",
			"temporal worker deployment set-ramping-version --deployment-name vidflow --delete",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := versions.Served(row.shares, row.workers)
			if row.what == "" {
				if err != nil {
					t.Errorf("got %v", err)
				}
				return
			}
			if err == nil || !strings.HasPrefix(err.Error(), row.what) || !strings.HasSuffix(err.Error(), "To mend it: "+row.do) {
				t.Errorf("got %v, want %q and %q", err, row.what, row.do)
			}
		})
	}
}
