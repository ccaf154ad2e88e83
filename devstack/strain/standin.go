package main

import (
	"context"
	"net"
	"sync"

	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// standIn takes the place of a Temporal server: it accepts every signal and keeps nothing but the ids of the workflows.
type standIn struct {
	workflowservice.UnimplementedWorkflowServiceServer
	server *grpc.Server
	served chan struct{} // closed when nothing is served any more

	mu        sync.Mutex
	shut      bool
	signalled map[string]struct{}
}

func startStandIn(addr string) (*standIn, error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &standIn{server: grpc.NewServer(), served: make(chan struct{})}
	workflowservice.RegisterWorkflowServiceServer(s.server, s)
	go func() {
		defer close(s.served)
		_ = s.server.Serve(listener) // ends with close
	}()
	return s, nil
}

func (s *standIn) close() {
	s.server.Stop()
	<-s.served
}

// begin forgets what was signalled; shut has signals refused until open. Without a stand-in both do nothing.
func (s *standIn) begin(shut bool) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shut, s.signalled = shut, make(map[string]struct{})
}

func (s *standIn) open() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shut = false
}

// videos counts those that were signalled.
func (s *standIn) videos() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.signalled)
}

// GetSystemInfo implements workflowservice.WorkflowServiceServer.
func (s *standIn) GetSystemInfo(context.Context, *workflowservice.GetSystemInfoRequest) (*workflowservice.GetSystemInfoResponse, error) {
	return &workflowservice.GetSystemInfoResponse{Capabilities: &workflowservice.GetSystemInfoResponse_Capabilities{}}, nil
}

// DescribeNamespace implements workflowservice.WorkflowServiceServer.
func (s *standIn) DescribeNamespace(context.Context, *workflowservice.DescribeNamespaceRequest) (*workflowservice.DescribeNamespaceResponse, error) {
	return &workflowservice.DescribeNamespaceResponse{}, nil
}

// SignalWithStartWorkflowExecution implements workflowservice.WorkflowServiceServer.
func (s *standIn) SignalWithStartWorkflowExecution(
	_ context.Context, in *workflowservice.SignalWithStartWorkflowExecutionRequest,
) (*workflowservice.SignalWithStartWorkflowExecutionResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shut {
		return nil, status.Error(codes.Unavailable, "away")
	}
	s.signalled[in.GetWorkflowId()] = struct{}{}
	return &workflowservice.SignalWithStartWorkflowExecutionResponse{RunId: in.GetRequestId()}, nil
}
