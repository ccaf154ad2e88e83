package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// pod is one that the scheduler has given to the node.
type pod struct {
	node    *node
	object  *core.Pod // as it was when it came; of what is read of it nothing changes
	address string

	going chan struct{} // closed when it is to go
	once  sync.Once
	grace time.Duration // read after going

	mu     sync.Mutex // held while the status is sent, so that the last word is the last
	status core.PodStatus
}

func newPod(n *node, object *core.Pod, address string) *pod {
	now := meta.Now()
	p := &pod{node: n, object: object, address: address, going: make(chan struct{})}
	p.status = core.PodStatus{
		Phase: core.PodPending, StartTime: &now, HostIP: "127.0.0.1", HostIPs: []core.HostIP{{IP: "127.0.0.1"}},
		PodIP: address, PodIPs: []core.PodIP{{IP: address}},
		ContainerStatuses: []core.ContainerStatus{{Name: p.container().Name, Image: p.container().Image}},
	}
	return p
}

func (p *pod) container() *core.Container { return &p.object.Spec.Containers[0] }

// end lets it know that it is to go, within the grace.
func (p *pod) end(grace time.Duration) {
	p.once.Do(func() {
		p.grace = grace
		close(p.going)
	})
}

// run runs its process, again and again where that is wanted, until the pod is to go or the node is.
func (p *pod) run(ctx context.Context) {
	var ended *core.ContainerStateTerminated
	for restarts := int32(0); ; restarts++ {
		started, err := p.prepare(ctx)
		if err != nil {
			return // it is to go, or the node is
		}
		ended = p.attend(ctx, started, restarts)
		if ctx.Err() != nil {
			return
		}
		if p.isGoing() || p.object.Spec.RestartPolicy == core.RestartPolicyNever {
			break
		}
		p.report(ctx, func(s *core.PodStatus) {
			c := &s.ContainerStatuses[0]
			c.Ready, c.Started, c.RestartCount = false, new(bool), restarts+1
			c.State = core.ContainerState{Waiting: &core.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}
			c.LastTerminationState = core.ContainerState{Terminated: ended}
		})
		if !p.pause(ctx, time.Second<<min(restarts, 6)) {
			break
		}
	}
	p.report(ctx, func(s *core.PodStatus) {
		s.Phase = core.PodFailed
		if ended.ExitCode == 0 {
			s.Phase = core.PodSucceeded
		}
		c := &s.ContainerStatuses[0]
		c.Ready, c.Started = false, new(bool)
		c.State = core.ContainerState{Terminated: ended}
	})
	select {
	case <-p.going:
		p.remove(ctx)
	case <-ctx.Done():
	}
}

func (p *pod) isGoing() bool {
	select {
	case <-p.going:
		return true
	default:
		return false
	}
}

// pause waits; false says that the pod or the node is to go.
func (p *pod) pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-p.going:
	case <-ctx.Done():
	}
	return false
}

// prepare starts the process, as soon as there is what it needs.
func (p *pod) prepare(ctx context.Context) (*running, error) {
	for {
		reason := "CreateContainerConfigError"
		cmd, err := p.command(ctx)
		if err == nil {
			reason = "StartError"
			var r *running
			if r, err = start(cmd); err == nil {
				return r, nil
			}
		}
		if errors.Is(err, errNoImage) {
			reason = "ErrImagePull"
		}
		p.report(ctx, func(s *core.PodStatus) {
			s.ContainerStatuses[0].State = core.ContainerState{Waiting: &core.ContainerStateWaiting{Reason: reason, Message: err.Error()}}
		})
		if !p.pause(ctx, time.Second) {
			if p.isGoing() {
				p.remove(ctx)
			}
			return nil, err
		}
	}
}

var errNoImage = errors.New("there is no such image")

// command is the process of the container, with nothing in its environment but what the cluster says.
func (p *pod) command(ctx context.Context) (*exec.Cmd, error) {
	c := p.container()
	if len(p.object.Spec.Containers) > 1 || len(p.object.Spec.InitContainers) > 0 || len(p.object.Spec.Volumes) > 0 || len(c.Command) > 0 {
		return nil, errors.New("this node knows pods of one container, without volumes and with the image's own program")
	}
	env, err := p.environment(ctx, c)
	if err != nil {
		return nil, err
	}
	image := filepath.Join(p.node.images, path.Base(c.Image))
	if _, err := os.Stat(image); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoImage, err)
	}
	cmd := exec.Command(image, c.Args...)
	cmd.Dir = "/"
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if user := p.object.Spec.SecurityContext; os.Geteuid() == 0 && user != nil && user.RunAsUser != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(*user.RunAsUser), Gid: uint32(*user.RunAsGroup)}
	}
	log, err := os.OpenFile(p.node.log(p.object.Namespace, p.object.Name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = log, log
	return cmd, nil
}

// environment is what a kubelet makes of the pod's, and what one adds to that of every pod.
func (p *pod) environment(ctx context.Context, c *core.Container) (map[string]string, error) {
	env := map[string]string{
		"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME": p.object.Name, "HOME": "/",
		"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443", "KUBERNETES_SERVICE_PORT_HTTPS": "443",
		"KUBERNETES_PORT": "tcp://10.96.0.1:443", "KUBERNETES_PORT_443_TCP": "tcp://10.96.0.1:443", "KUBERNETES_PORT_443_TCP_PROTO": "tcp",
		"KUBERNETES_PORT_443_TCP_PORT": "443", "KUBERNETES_PORT_443_TCP_ADDR": "10.96.0.1",
		"HOST": here(p.address),
	}
	if p.object.Spec.EnableServiceLinks == nil || *p.object.Spec.EnableServiceLinks {
		return nil, errors.New("this node knows no service links")
	}
	maps, secrets := p.node.client.CoreV1().ConfigMaps(p.object.Namespace), p.node.client.CoreV1().Secrets(p.object.Namespace)
	for _, from := range c.EnvFrom {
		if from.ConfigMapRef == nil || from.Prefix != "" {
			return nil, errors.New("this node knows envFrom of ConfigMaps alone")
		}
		m, err := maps.Get(ctx, from.ConfigMapRef.Name, meta.GetOptions{})
		if err != nil {
			return nil, err
		}
		for name, value := range m.Data {
			env[name] = value
		}
	}
	for _, v := range c.Env {
		if v.ValueFrom == nil {
			// A pod has a network of its own, and this machine has one for all.
			env[v.Name] = strings.Replace(v.Value, "0.0.0.0:", here(p.address)+":", 1)
			continue
		}
		ref := v.ValueFrom.SecretKeyRef
		if ref == nil {
			return nil, fmt.Errorf("this node knows variables from Secrets alone, and not that of %s", v.Name)
		}
		optional := ref.Optional != nil && *ref.Optional
		s, err := secrets.Get(ctx, ref.Name, meta.GetOptions{})
		if apierrors.IsNotFound(err) && optional {
			continue
		}
		if err != nil {
			return nil, err
		}
		value, ok := s.Data[ref.Key]
		if !ok && !optional {
			return nil, fmt.Errorf("the Secret %s has no %s", ref.Name, ref.Key)
		}
		if ok {
			env[v.Name] = string(value)
		}
	}
	return env, nil
}

// running is a process that was started.
type running struct {
	cmd   *exec.Cmd
	began meta.Time
	done  chan struct{}
	ended *core.ContainerStateTerminated // after done
}

// start starts a process that does not outlive this one: the kernel ties that to the thread, which is kept.
func start(cmd *exec.Cmd) (*running, error) {
	r := &running{cmd: cmd, began: meta.Now(), done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		_ = cmd.Stdout.(*os.File).Close()
		started <- err
		if err != nil {
			return
		}
		_ = cmd.Wait()
		r.ended = &core.ContainerStateTerminated{StartedAt: r.began, FinishedAt: meta.Now(), Reason: "Completed", ExitCode: int32(cmd.ProcessState.ExitCode())}
		if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			r.ended.Signal = int32(status.Signal())
			r.ended.ExitCode = 128 + r.ended.Signal
		}
		if r.ended.ExitCode != 0 {
			r.ended.Reason = "Error"
		}
		close(r.done)
	}()
	return r, <-started
}

func (r *running) signal(s syscall.Signal) { _ = syscall.Kill(-r.cmd.Process.Pid, s) }

// attend probes the process until it has ended, and ends it when the pod is to go or it does not answer.
func (p *pod) attend(ctx context.Context, r *running, restarts int32) *core.ContainerStateTerminated {
	note("%s: runs, at %s", p.object.Name, here(p.address))
	c := p.container()
	ready := c.ReadinessProbe == nil
	p.report(ctx, func(s *core.PodStatus) {
		s.Phase = core.PodRunning
		started := c.StartupProbe == nil
		s.ContainerStatuses[0].Started, s.ContainerStatuses[0].RestartCount, s.ContainerStatuses[0].Ready = &started, restarts, started && ready
		s.ContainerStatuses[0].State = core.ContainerState{Running: &core.ContainerStateRunning{StartedAt: r.began}}
	})
	probing, stop := context.WithCancel(ctx)
	var probes sync.WaitGroup
	defer probes.Wait()
	defer stop()
	unhealthy := make(chan string, 2)
	probes.Go(func() {
		up := true
		p.probe(probing, c.StartupProbe, func(ok bool) bool {
			if up = ok; !ok {
				unhealthy <- "the startup probe"
			}
			return false
		})
		if !up || probing.Err() != nil {
			return
		}
		p.report(ctx, func(s *core.PodStatus) { s.ContainerStatuses[0].Started = &up })
		probes.Go(func() {
			p.probe(probing, c.LivenessProbe, func(ok bool) bool {
				if !ok {
					unhealthy <- "the liveness probe"
				}
				return ok
			})
		})
		p.probe(probing, c.ReadinessProbe, func(ok bool) bool {
			p.report(ctx, func(s *core.PodStatus) { s.ContainerStatuses[0].Ready = ok })
			return true
		})
	})
	grace := time.Duration(*p.object.Spec.TerminationGracePeriodSeconds) * time.Second
	select {
	case <-r.done:
		note("%s: ended by itself with exit code %d", p.object.Name, r.ended.ExitCode)
		return r.ended
	case why := <-unhealthy:
		note("%s: FAILED %s", p.object.Name, why)
	case <-p.going:
		grace = p.grace
	case <-ctx.Done():
		grace = 0
	}
	p.stop(ctx, r, grace)
	return r.ended
}

// stop is the end of a process as a kubelet makes it.
func (p *pod) stop(ctx context.Context, r *running, grace time.Duration) {
	began := time.Now()
	over, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	if l := p.container().Lifecycle; l != nil && l.PreStop != nil && l.PreStop.Sleep != nil {
		sleep, stop := context.WithTimeout(over, time.Duration(l.PreStop.Sleep.Seconds)*time.Second)
		select {
		case <-sleep.Done():
		case <-r.done:
		}
		stop()
	}
	r.signal(syscall.SIGTERM)
	select {
	case <-r.done:
		note("%s: ended with exit code %d, after %.1f s", p.object.Name, r.ended.ExitCode, time.Since(began).Seconds())
	case <-over.Done():
		r.signal(syscall.SIGKILL)
		<-r.done
		if ctx.Err() == nil {
			note("%s: KILLED after its grace of %s", p.object.Name, grace)
		}
	}
}

// probe asks, and tells each change; a verdict that answers false ends it. No probe is one that succeeds.
func (p *pod) probe(ctx context.Context, probe *core.Probe, verdict func(bool) bool) {
	if probe == nil {
		verdict(true)
		return
	}
	client := &http.Client{Timeout: time.Duration(probe.TimeoutSeconds) * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	url := "http://" + net.JoinHostPort(here(p.address), p.port(probe)) + probe.HTTPGet.Path
	ticker := time.NewTicker(time.Duration(probe.PeriodSeconds) * time.Second)
	defer ticker.Stop()
	var good, bad int32
	for {
		if answers(ctx, client, url) {
			good, bad = good+1, 0
		} else {
			good, bad = 0, bad+1
		}
		if ctx.Err() != nil {
			return
		}
		if good == probe.SuccessThreshold && !verdict(true) || bad == probe.FailureThreshold && !verdict(false) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (p *pod) port(probe *core.Probe) string {
	for _, port := range p.container().Ports {
		if port.Name == probe.HTTPGet.Port.StrVal {
			return strconv.Itoa(int(port.ContainerPort))
		}
	}
	return probe.HTTPGet.Port.String()
}

func answers(ctx context.Context, client *http.Client, url string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode < 400
}

// report changes the status and tells the cluster.
func (p *pod) report(ctx context.Context, change func(*core.PodStatus)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.status)
	ready := core.ConditionFalse
	if p.status.ContainerStatuses[0].Ready {
		ready = core.ConditionTrue
	}
	p.condition(core.PodInitialized, core.ConditionTrue)
	p.condition(core.ContainersReady, ready)
	p.condition(core.PodReady, ready)
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": p.object.UID}, "status": p.status})
	if err == nil {
		_, err = p.node.client.CoreV1().Pods(p.object.Namespace).Patch(ctx, p.object.Name, types.StrategicMergePatchType, patch, meta.PatchOptions{}, "status")
	}
	if err != nil && ctx.Err() == nil {
		note("%s: its status: %v", p.object.Name, err)
	}
}

func (p *pod) condition(kind core.PodConditionType, is core.ConditionStatus) {
	for i := range p.status.Conditions {
		if c := &p.status.Conditions[i]; c.Type == kind {
			if c.Status != is {
				c.Status, c.LastTransitionTime = is, meta.Now()
			}
			return
		}
	}
	p.status.Conditions = append(p.status.Conditions, core.PodCondition{Type: kind, Status: is, LastTransitionTime: meta.Now()})
}

// remove takes a pod that has ended away.
func (p *pod) remove(ctx context.Context) {
	now := int64(0)
	err := p.node.client.CoreV1().Pods(p.object.Namespace).Delete(ctx, p.object.Name, meta.DeleteOptions{
		GracePeriodSeconds: &now, Preconditions: meta.NewUIDPreconditions(string(p.object.UID)),
	})
	if err != nil && !apierrors.IsNotFound(err) && ctx.Err() == nil {
		note("%s: taking it away: %v", p.object.Name, err)
	}
}
