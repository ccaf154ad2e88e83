// Package kubernetes tests the manifests beside it: it renders the overlays as kubectl does, decodes every object strictly
// into its published Go type, and compares what the pods are given with what the binary takes. It is a module of its own, so
// that none of Kubernetes' libraries reaches what ships.
package kubernetes
