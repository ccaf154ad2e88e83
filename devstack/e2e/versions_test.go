package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	sdk "go.temporal.io/sdk/worker"
	"golang.org/x/sync/errgroup"

	"github.com/codeendelea/vidflow/devstack/docs"
	"github.com/codeendelea/vidflow/devstack/envfile"
	"github.com/codeendelea/vidflow/devstack/readiness"
	"github.com/codeendelea/vidflow/devstack/seed"
	"github.com/codeendelea/vidflow/devstack/simulator"
	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/temporaltest"
	"github.com/codeendelea/vidflow/workflows"
)

// The versions of the worker in the tests: builds of one deployment, beside an unversioned worker.
const (
	deployment = "vidflow"
	buildOne   = "one"
	buildTwo   = "two"
)

// versions are the workers of a pipeline by their builds.
type versions struct {
	*pipeline
	handle client.WorkerDeploymentHandle
}

func newVersions(p *pipeline) *versions {
	return &versions{p, p.namespace.Client.WorkerDeploymentClient().GetHandle(deployment)}
}

// launchVersion starts a worker of a version, and waits until Temporal knows that version.
func (v *versions) launchVersion(build, binary string) {
	v.t.Helper()
	v.launchWorker(worker+"-"+build, binary, envfile.Vars{
		{Name: "TEMPORAL_DEPLOYMENT_NAME", Value: deployment}, {Name: "TEMPORAL_WORKER_BUILD_ID", Value: build},
	})
	v.await("Temporal knows version "+build, func(ctx context.Context) error {
		d, err := v.handle.DescribeVersion(ctx, client.WorkerDeploymentDescribeVersionOptions{BuildID: build})
		if err == nil && len(d.Info.TaskQueuesInfos) < 2 {
			err = errors.New("it does not poll for both kinds of tasks yet")
		}
		return err
	})
}

// launchWorker starts a worker of another binary than the others are.
func (v *versions) launchWorker(name, binary string, vars envfile.Vars) {
	v.t.Helper()
	other := *v.pipeline
	other.binary, other.own = binary, map[string]envfile.Vars{worker: vars}
	other.launch(name)
}

func (v *versions) stopVersion(build string) {
	v.t.Helper()
	v.stop(worker + "-" + build)
}

// setCurrent does what `temporal worker deployment set-current-version` does; no build makes unversioned workers the ones that
// get what is new.
func (v *versions) setCurrent(build string) {
	v.t.Helper()
	v.await("version "+build+" becomes current", func(ctx context.Context) error {
		_, err := v.handle.SetCurrentVersion(ctx, client.WorkerDeploymentSetCurrentVersionOptions{BuildID: build})
		return err
	})
}

// ramp does what `temporal worker deployment set-ramping-version` does; 0 % is its --delete.
func (v *versions) ramp(build string, percentage float32) {
	v.t.Helper()
	v.await("the ramp is set", func(ctx context.Context) error {
		if percentage == 0 {
			build = ""
		}
		_, err := v.handle.SetRampingVersion(ctx, client.WorkerDeploymentSetRampingVersionOptions{BuildID: build, Percentage: percentage})
		return err
	})
}

// awaitDrained waits until no open run is left on a version, says Temporal.
func (v *versions) awaitDrained(build string) {
	v.t.Helper()
	v.await("version "+build+" is drained", func(ctx context.Context) error {
		d, err := v.handle.DescribeVersion(ctx, client.WorkerDeploymentDescribeVersionOptions{BuildID: build})
		if err == nil && (d.Info.DrainageInfo == nil || d.Info.DrainageInfo.DrainageStatus != client.WorkerDeploymentVersionDrainageStatusDrained) {
			err = fmt.Errorf("drainage is %+v", d.Info.DrainageInfo)
		}
		return err
	})
}

// count counts runs as Temporal lists them.
func (v *versions) count(ctx context.Context, query string) (int64, error) {
	got, err := v.namespace.Client.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Query: query})
	return got.GetCount(), err
}

const loadLength = 10 * time.Second

// createAll creates videos all the time.
func (v *versions) createAll() *stream {
	return v.streamOf(150*time.Millisecond, func(ctx context.Context) (contract.VideoID, error) {
		made, err := v.places.API.Create(ctx, seed.Courses[0].ID, newVideo(loadLength))
		return made.ID, err
	})
}

// more waits until so many more videos are created and asked for, and returns them.
func (v *versions) more(load *stream, n int) []contract.VideoID {
	v.t.Helper()
	made := load.awaitMore(n)
	for _, id := range made {
		if _, err := v.places.API.Await(v.t.Context(), id, asked); err != nil {
			v.t.Fatal(err)
		}
	}
	return made
}

// ran is what the history of a run says of the versions that worked on it: of each finished task, in order, without repeats.
type ran struct {
	versions []string
	failed   []string // why tasks failed
}

const unversioned = "unversioned"

func (v *versions) ran(ctx context.Context, id contract.VideoID) (ran, error) {
	var r ran
	history := v.namespace.Client.GetWorkflowHistory(ctx, workflows.WorkflowID(id), "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for history.HasNext() {
		event, err := history.Next()
		if err != nil {
			return r, fmt.Errorf("video %s: %w", id, err)
		}
		if failed := event.GetWorkflowTaskFailedEventAttributes(); failed != nil && failed.GetCause() != enumspb.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW {
			r.failed = append(r.failed, failed.GetCause().String()+": "+failed.GetFailure().GetMessage())
		}
		if task := event.GetWorkflowTaskCompletedEventAttributes(); task != nil {
			name := unversioned
			if task.GetDeploymentVersion().GetBuildId() != "" && task.GetVersioningBehavior() == enumspb.VERSIONING_BEHAVIOR_PINNED {
				name = task.GetDeploymentVersion().GetBuildId()
			}
			if len(r.versions) == 0 || r.versions[len(r.versions)-1] != name {
				r.versions = append(r.versions, name)
			}
		}
	}
	return r, nil
}

// began counts videos by the version that their run began on.
func (v *versions) began(ids []contract.VideoID) map[string]int {
	v.t.Helper()
	var began map[string]int
	v.await("their runs have begun", func(context.Context) error { // a run asks before its first task has ended
		began = map[string]int{}
		for i, r := range v.histories(ids) {
			if len(r.versions) == 0 {
				return fmt.Errorf("the run of %s has not", ids[i])
			}
			began[r.versions[0]]++
		}
		return nil
	})
	return began
}

func (v *versions) histories(ids []contract.VideoID) []ran {
	v.t.Helper()
	all := make([]ran, len(ids))
	var group errgroup.Group
	group.SetLimit(16)
	for i, id := range ids {
		group.Go(func() (err error) {
			all[i], err = v.ran(v.t.Context(), id)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		v.t.Fatal(err)
	}
	return all
}

// TestVersions rolls a changed workflow out under load: to one that replays nothing of the other's runs. Versioning is switched
// on, the new version ramped, rolled back, ramped again and set current, the old one drained and stopped, and versioning
// switched off. No run breaks, none is lost, none stands still.
func TestVersions(t *testing.T) {
	t.Parallel()
	if onApacheKafka(t) {
		t.Skip("it is the same on any broker")
	}
	v := newVersions(newPipeline(t))
	began := time.Now()
	step := func(what string) { t.Logf("%5.1f s: %s", time.Since(began).Seconds(), what) }
	const firstStep = `	if err := v.begin(ctx); err != nil {`
	changed := v.build(firstStep, "	if err := workflow.Sleep(ctx, time.Millisecond); err != nil {\n		return VideoResult{}, err\n	}\n"+firstStep)
	step("built")
	v.start(everyProcess...)
	b := soon()
	b.TranscriptionDelay = simulator.Range{Min: simulator.Duration(500 * time.Millisecond), Max: simulator.Duration(6 * time.Second)}
	b.CompressionDelay = b.TranscriptionDelay
	v.simulate(b)
	load := v.createAll()
	v.more(load, 5)

	step("versioning is switched on, with the program that runs")
	v.launchVersion(buildOne, v.binary)
	v.more(load, 3)
	v.setCurrent(buildOne)
	v.more(load, 1)
	v.stop(worker)
	stopped := time.Now()
	if got := v.began(v.more(load, 5)); got[buildOne] < 5 || len(got) > 1 {
		t.Errorf("it is current, and new runs began on %v", got)
	}

	step("another version, which gets nothing yet")
	v.launchVersion(buildTwo, changed)
	if got := v.began(v.more(load, 10)); got[buildTwo] > 0 {
		t.Errorf("before it is current or ramped, it gets runs: %v", got)
	}
	// Runs that began unversioned go to whichever version their next task finds, also to one that is ramped.
	v.await("no run from before is open that has no version", func(ctx context.Context) error {
		n, err := v.count(ctx, `ExecutionStatus = "Running" AND TemporalWorkflowVersioningBehavior IS NULL AND StartTime < "`+
			stopped.UTC().Format(time.RFC3339Nano)+`"`)
		if err == nil && n > 0 {
			err = fmt.Errorf("there are %d", n)
		}
		return err
	})
	step("ramped")
	v.ramp(buildTwo, 30)
	v.await("both versions get new runs", func(context.Context) error {
		if got := v.began(v.more(load, 10)); got[buildOne] < 2 || got[buildTwo] < 2 {
			return fmt.Errorf("they get %v", got)
		}
		return nil
	})
	step("rolled back")
	v.ramp(buildTwo, 0)
	v.await("the old version gets all new runs", func(context.Context) error {
		if got := v.began(v.more(load, 10)); got[buildTwo] > 0 {
			return fmt.Errorf("they get %v", got)
		}
		return nil
	})
	v.awaitDrained(buildTwo)
	step("ramped again")
	v.ramp(buildTwo, 50)
	v.more(load, 10)
	v.setCurrent(buildTwo)
	step("set current")
	v.awaitDrained(buildOne)
	if n, err := v.count(t.Context(), fmt.Sprintf("ExecutionStatus = 'Running' AND TemporalWorkerDeploymentVersion = '%s:%s'", deployment, buildOne)); err != nil || n > 0 {
		t.Errorf("on the drained version there are %d open runs (%v)", n, err)
	}
	v.stopVersion(buildOne)
	step("old one stopped")
	if got := v.began(v.more(load, 10)); got[buildTwo] < 10 || len(got) > 1 {
		t.Errorf("the new version is current, and new runs began on %v", got)
	}

	step("versioning is switched off, with the program that runs")
	v.launchWorker(worker, changed, nil)
	v.awaitStatus(worker, "ready")
	v.setCurrent("")
	v.more(load, 5)
	v.awaitDrained(buildTwo)
	v.stopVersion(buildTwo)
	ids := load.stop()
	step(fmt.Sprintf("%d videos", len(ids)))
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	v.awaitDone(ctx, b, loadLength, ids...)
	step("done")
	paths := map[string]int{}
	for i, r := range v.histories(ids) {
		for _, why := range r.failed {
			t.Errorf("a task of the run of %s, on %v, failed: %s", ids[i], r.versions, why)
		}
		paths[strings.Join(r.versions, ", then ")]++
	}
	t.Logf("runs by their versions: %v", paths)
	for path := range paths {
		if !slices.Contains([]string{unversioned, unversioned + ", then " + buildOne, buildOne, buildTwo}, path) {
			t.Errorf("%d runs were on %s", paths[path], path)
		}
	}
	for _, path := range []string{unversioned + ", then " + buildOne, buildOne, buildTwo} {
		if paths[path] == 0 {
			t.Errorf("no run was on %s", path)
		}
	}

	step("either version would have broken the runs of the other")
	for build, binary := range map[string]string{buildOne: changed, buildTwo: v.binary} {
		_, stderr, code := v.runBinary(binary, "replay", "--sample", "5", "--query",
			fmt.Sprintf(`TemporalWorkerDeploymentVersion = "%s:%s"`, deployment, build))
		if code != 3 || !strings.Contains(stderr, "Do not deploy") {
			t.Errorf("runs of version %s in the other: exit code %d, and %s", build, code, stderr)
		}
	}
}

// TestVersions_nobody_cares_for: a version that nobody made current is said to be none, by the worker and by vidflow status, and so
// is a run whose version has no worker any more; both are mended by what they say. Between them the commands of the page.
func TestVersions_nobody_cares_for(t *testing.T) {
	t.Parallel()
	if onApacheKafka(t) {
		t.Skip("it is the same on any broker")
	}
	v := newVersions(newPipeline(t))
	v.start(starter, bridge)
	v.launchVersion(buildOne, v.binary)
	const says = "No version of deployment vidflow is current, and no worker is unversioned: new videos wait."
	const mend = "temporal worker deployment set-current-version --deployment-name vidflow --build-id one"
	v.await("the worker says what is missing", func(ctx context.Context) error {
		answer, err := readiness.Ask(ctx, v.block.URL(opsPort[worker+"-"+buildOne]))
		if said := fmt.Sprintf("%+v", answer); err == nil && (answer.Status != "degraded" || !strings.Contains(said, says) || !strings.Contains(said, mend)) {
			err = errors.New(said)
		}
		return err
	})
	finished, open := v.create(loadLength), v.create(loadLength)
	v.mendAsSaid(4, says, mend)
	v.awaitStatus(worker+"-"+buildOne, "ready")
	v.awaitSays(nil, 0, "new videos go to vidflow:one")
	v.deliver(finished)
	if _, err := v.places.API.Await(t.Context(), open, asked); err != nil {
		t.Fatal(err)
	}

	v.launchVersion(buildTwo, v.binary)
	v.followPage(finished, open)

	// Whatever else vidflow says of versions is mended by it too.
	v.ramp(buildTwo, 10)
	v.stopVersion(buildTwo)
	v.mendAsSaid(4, "10 % of the new videos go to version vidflow:two, which no worker runs",
		"temporal worker deployment set-ramping-version --deployment-name vidflow --delete")
	v.awaitRoutes("", "", 0)
	v.launchVersion(buildOne, v.binary)
	v.setCurrent(buildOne)
	v.stop(worker)
	v.launchVersion(buildTwo, v.binary)
	v.stopVersion(buildOne)
	v.mendAsSaid(4, "New videos go to version vidflow:one, which no worker runs",
		"temporal worker deployment set-current-version --deployment-name vidflow --build-id two")
	v.awaitSays(nil, 0, "new videos go to vidflow:two")
	v.launchWorker(worker, v.binary, nil)
	v.awaitStatus(worker, "ready")
	v.stopVersion(buildTwo)
	v.mendAsSaid(4, "New videos go to version vidflow:two, which no worker runs",
		"temporal worker deployment set-current-version --deployment-name vidflow --unversioned")
	v.awaitSays(nil, 0)
	v.awaitRoutes("", "", 0)
}

// mendAsSaid waits until vidflow status says what is wrong and what to do about it, and does that.
func (v *versions) mendAsSaid(code int, says, mend string) {
	v.t.Helper()
	v.awaitSays(nil, code, says, mend)
	temporaltest.Paste(v.t, mend, v.env.Environ(nil)...)
}

// awaitRoutes waits until new videos go where they are to go, says Temporal.
func (v *versions) awaitRoutes(current, ramping string, percentage float32) {
	v.t.Helper()
	build := func(v *sdk.WorkerDeploymentVersion) string {
		if v == nil {
			return ""
		}
		return v.BuildID
	}
	v.await(fmt.Sprintf("%q is current and %q ramped with %g %%", current, ramping, percentage), func(ctx context.Context) error {
		d, err := v.handle.Describe(ctx, client.WorkerDeploymentDescribeOptions{})
		if err != nil {
			return err
		}
		r := d.Info.RoutingConfig
		if build(r.CurrentVersion) != current || build(r.RampingVersion) != ramping || r.RampingVersionPercentage != percentage {
			return fmt.Errorf("it is %+v", r)
		}
		return nil
	})
}

// followPage does what the page of upgrades says, from a version that is current to another and to none, while one run is
// finished and one is open.
func (v *versions) followPage(finished, open contract.VideoID) {
	v.t.Helper()
	steps := []struct {
		command string
		before  func()
	}{
		{"describe --name vidflow", func() { v.awaitRoutes(buildOne, "", 0) }},
		{"set-ramping-version", func() {}},
		{"workflow list", func() { v.awaitRoutes(buildOne, buildTwo, 10) }},
		{"--delete", func() {}},
		{"set-current-version", func() { v.awaitRoutes(buildOne, "", 0) }},
		{"describe-version", func() { v.awaitRoutes(buildTwo, "", 0) }},
		{"update-options", func() {
			v.stopVersion(buildOne) // too early
			v.awaitSays(nil, 3, "1 open run belongs to a version that no worker runs, such as vidflow:one", "start a worker of that version again")
		}},
		{"vidflow replay", func() { v.goOn(finished, open) }},
		{"--unversioned", func() {
			v.launchWorker(worker, v.binary, nil)
			v.awaitStatus(worker, "ready")
		}},
	}
	docs.Run(v.t, "docs/upgrades.md", docs.Options{Env: v.env.Environ(os.Environ()), Before: func(b docs.Block) {
		if len(steps) == 0 || !strings.Contains(b.Commands, steps[0].command) {
			v.t.Fatalf("docs/upgrades.md:%d: got %q, want one of the commands of %v", b.Line, b.Commands, steps)
		}
		steps[0].before()
		steps = steps[1:]
	}})
	if len(steps) > 0 {
		v.t.Errorf("docs/upgrades.md has no %s", steps[0].command)
	}
	v.awaitRoutes("", "", 0)
}

// goOn sees a run that was moved to another version go on there, and so one that is reset to its first task.
func (v *versions) goOn(finished, moved contract.VideoID) {
	v.t.Helper()
	if _, err := v.namespace.Client.ResetWorkflowExecution(v.t.Context(), &workflowservice.ResetWorkflowExecutionRequest{
		Namespace: v.namespace.Name, WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: workflows.WorkflowID(finished)},
		Reason: "a test", RequestId: uuid.NewString(), WorkflowTaskFinishEventId: 4,
	}); err != nil {
		v.t.Fatal(err)
	}
	v.awaitRun(finished, enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED)
	v.deliver(moved)
	for id, want := range map[contract.VideoID][]string{finished: {buildTwo}, moved: {buildOne, buildTwo}} {
		if r, err := v.ran(v.t.Context(), id); err != nil || !slices.Equal(r.versions, want) || len(r.failed) > 0 {
			v.t.Errorf("the run of %s was on %+v (%v), want %v and nothing failed", id, r, err, want)
		}
	}
	v.awaitSays(nil, 0, "new videos go to vidflow:two")
}

// deliver produces both results of a video, and waits for the end of its run.
func (v *versions) deliver(id contract.VideoID) {
	v.t.Helper()
	_, value := simulator.TranscriptMessage(id, simulator.Nested)
	v.produce(v.topics.transcribed, []byte(id), value)
	v.compress(id)
	v.awaitRun(id, enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED)
}
