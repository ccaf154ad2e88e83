// Package workflows is the deterministic part of vidflow: the one workflow, Video, and the names and types by which the
// other packages start it, signal it and do its steps.
//
// It imports the Temporal SDK's workflow packages and internal/contract, and nothing else, ever: no client, clock,
// logger or database. Whatever it needs from outside it asks an activity for. A change to it must replay every history
// under testdata/histories, or be guarded by workflow.GetVersion.
package workflows
