// Package node stands in for the nodes of a cluster: what is a kubelet, a container runtime and a network there is here a
// program that starts the processes of pods on this machine. It does what the pods of deploy/kubernetes need and refuses what
// it does not know.
//
// Pods have addresses of their own. To the cluster, which takes no loopback address for a pod's, they begin with 10; here
// everything listens on the same address with 127 in its place.
package node

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	coordination "k8s.io/api/coordination/v1"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

type node struct {
	kubeconfig string
	name       string
	network    string // the first three numbers of the pods' addresses, such as 10.1.1
	images     string // folder in which the last part of an image's name is the program that it holds
	logs       string // folder of what the pods print

	client kubernetes.Interface

	mu   sync.Mutex
	pods map[types.UID]*pod
	last int // number of the last pod
	work sync.WaitGroup
}

// Command is a node.
func Command() *cobra.Command {
	n := &node{pods: map[types.UID]*pod{}}
	cmd := &cobra.Command{
		Use: "node", Short: "Run the pods of a node as processes of this machine", Args: cobra.NoArgs, SilenceUsage: true,
		RunE: func(*cobra.Command, []string) error {
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
			defer stop()
			return n.run(ctx)
		},
	}
	for flag, to := range map[string]*string{
		"kubeconfig": &n.kubeconfig, "name": &n.name, "network": &n.network, "images": &n.images, "logs": &n.logs,
	} {
		cmd.Flags().StringVar(to, flag, "", "")
		_ = cmd.MarkFlagRequired(flag)
	}
	return cmd
}

// here is the address on this machine of what has the other one in the cluster.
func here(address string) string { return "127." + strings.TrimPrefix(address, "10.") }

func connect(kubeconfig string) (kubernetes.Interface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	return kubernetes.NewForConfig(config)
}

func (n *node) run(ctx context.Context) (err error) {
	if n.client, err = connect(n.kubeconfig); err != nil {
		return err
	}
	if err := n.register(ctx, n.serveLogs(ctx)); err != nil {
		return err
	}
	n.work.Go(func() { n.keepLease(ctx) })
	mine := cache.NewListWatchFromClient(n.client.CoreV1().RESTClient(), "pods", meta.NamespaceAll, fields.OneTermEqualSelector("spec.nodeName", n.name))
	_, controller := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: mine, ObjectType: &core.Pod{},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(o any) { n.see(ctx, o.(*core.Pod)) },
			UpdateFunc: func(_, o any) { n.see(ctx, o.(*core.Pod)) },
			DeleteFunc: func(o any) {
				if last, ok := o.(cache.DeletedFinalStateUnknown); ok {
					o = last.Obj
				}
				n.forget(o.(*core.Pod).UID)
			},
		},
	})
	controller.RunWithContext(ctx)
	n.work.Wait()
	return nil
}

// see takes up a pod, or lets one know that it is to go.
func (n *node) see(ctx context.Context, object *core.Pod) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.pods[object.UID]
	if p == nil {
		if object.Status.Phase == core.PodSucceeded || object.Status.Phase == core.PodFailed {
			return
		}
		n.last++
		p = newPod(n, object, fmt.Sprintf("%s.%d", n.network, n.last))
		n.pods[object.UID] = p
		n.work.Go(func() { p.run(ctx) })
	}
	if object.DeletionTimestamp != nil {
		p.end(time.Duration(*object.DeletionGracePeriodSeconds) * time.Second)
	}
}

// forget ends what is left of a pod that is no longer there.
func (n *node) forget(uid types.UID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if p := n.pods[uid]; p != nil {
		p.end(0)
		delete(n.pods, uid)
	}
}

// register makes the node known, with room for whatever comes.
func (n *node) register(ctx context.Context, port int32) error {
	room := core.ResourceList{
		core.ResourceCPU: resource.MustParse("16"), core.ResourceMemory: resource.MustParse("64Gi"), core.ResourcePods: resource.MustParse("110"),
	}
	object := &core.Node{ObjectMeta: meta.ObjectMeta{Name: n.name, Labels: map[string]string{
		core.LabelHostname: n.name, core.LabelOSStable: "linux", core.LabelTopologyZone: n.name,
	}}}
	if _, err := n.client.CoreV1().Nodes().Create(ctx, object, meta.CreateOptions{}); err != nil {
		return err
	}
	patch, err := json.Marshal(map[string]any{"status": core.NodeStatus{
		Capacity: room, Allocatable: room,
		Conditions: []core.NodeCondition{{
			Type: core.NodeReady, Status: core.ConditionTrue, Reason: "Here", LastHeartbeatTime: meta.Now(), LastTransitionTime: meta.Now(),
		}},
		Addresses:       []core.NodeAddress{{Type: core.NodeInternalIP, Address: "127.0.0.1"}},
		DaemonEndpoints: core.NodeDaemonEndpoints{KubeletEndpoint: core.DaemonEndpoint{Port: port}},
	}})
	if err == nil {
		_, err = n.client.CoreV1().Nodes().Patch(ctx, n.name, types.StrategicMergePatchType, patch, meta.PatchOptions{}, "status")
	}
	return err
}

// keepLease tells that the node lives.
func (n *node) keepLease(ctx context.Context) {
	seconds := int32(40)
	leases := n.client.CoordinationV1().Leases(core.NamespaceNodeLease)
	lease := &coordination.Lease{
		ObjectMeta: meta.ObjectMeta{Name: n.name},
		Spec:       coordination.LeaseSpec{HolderIdentity: &n.name, LeaseDurationSeconds: &seconds},
	}
	ticker := time.NewTicker(5 * time.Second)
	defer ticker.Stop()
	for {
		now := meta.NowMicro()
		lease.Spec.RenewTime = &now
		var next *coordination.Lease
		var err error
		if lease.ResourceVersion == "" {
			next, err = leases.Create(ctx, lease, meta.CreateOptions{})
		} else {
			next, err = leases.Update(ctx, lease, meta.UpdateOptions{})
		}
		if err == nil {
			lease = next
		} else {
			note("the lease of %s: %v", n.name, err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func note(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
