package apache

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
)

// Grant is what a user may do with topics or groups of these names; an empty list means none.
type Grant struct {
	User       User
	Topics     []string
	Groups     []string
	Operations []kadm.ACLOperation
}

// Give gives permissions. One that was given before may be given again.
func Give(ctx context.Context, admin *kadm.Client, grants ...Grant) error {
	for _, g := range grants {
		acls := kadm.NewACLs().
			Allow("User:" + string(g.User)).AllowHosts("*").
			ResourcePatternType(kadm.ACLPatternLiteral).
			Operations(g.Operations...)
		if len(g.Topics) > 0 {
			acls = acls.Topics(g.Topics...)
		}
		if len(g.Groups) > 0 {
			acls = acls.Groups(g.Groups...)
		}
		results, err := admin.CreateACLs(ctx, acls)
		if err != nil {
			return fmt.Errorf("allow %s: %w", g.User, err)
		}
		for _, r := range results {
			if r.Err != nil {
				return fmt.Errorf("allow %s %s %s: %w", g.User, r.Operation, r.Name, r.Err)
			}
		}
	}
	return nil
}

// Names are those of the topics and groups of one pipeline.
type Names struct {
	Ask, Transcribed, Compressed string // topics
	TranscriptionGroup           string
	CompressionGroup             string
	DeadLetterGroup              string // may be empty
	// DeadLetterSuffix follows the name of a topic of results.
	DeadLetterSuffix string
}

func (n Names) results() []string { return []string{n.Transcribed, n.Compressed} }

func (n Names) deadLetters() []string {
	return []string{n.Transcribed + n.DeadLetterSuffix, n.Compressed + n.DeadLetterSuffix}
}

// Old are the permissions of the API server as it is before vidflow.
func (n Names) Old() []Grant {
	read := []kadm.ACLOperation{kadm.OpRead}
	return []Grant{
		{User: OldServer, Topics: []string{n.Ask}, Operations: []kadm.ACLOperation{kadm.OpWrite}},
		{User: OldServer, Topics: n.results(), Operations: read},
		{User: OldServer, Groups: []string{n.TranscriptionGroup, n.CompressionGroup}, Operations: read},
	}
}

// LeastPrivileges are what each process of vidflow needs and no more, for a user of its own, and all of them together,
// with what its tools need, for Vidflow. Read and Write imply Describe.
func (n Names) LeastPrivileges() []Grant {
	read, write := []kadm.ACLOperation{kadm.OpRead}, []kadm.ACLOperation{kadm.OpWrite}
	groups := []string{n.TranscriptionGroup, n.CompressionGroup}
	grants := []Grant{
		// It asks for transcriptions, and reads single transcripts without a group.
		{User: VidflowWorker, Topics: []string{n.Ask}, Operations: write},
		{User: VidflowWorker, Topics: []string{n.Transcribed}, Operations: read},
		// It publishes the transcripts that are sent to the API.
		{User: VidflowStart, Topics: []string{n.Transcribed}, Operations: write},
		// It says that a video has dead letters.
		{User: VidflowStart, Topics: n.deadLetters(), Operations: read},
		// It consumes results in its groups, and buries what cannot be understood.
		{User: VidflowBridge, Topics: n.results(), Operations: read},
		{User: VidflowBridge, Groups: groups, Operations: read},
		{User: VidflowBridge, Topics: n.deadLetters(), Operations: write},

		{
			User: Vidflow, Topics: append([]string{n.Ask}, append(n.results(), n.deadLetters()...)...),
			Operations: []kadm.ACLOperation{kadm.OpRead, kadm.OpWrite, kadm.OpDescribeConfigs},
		},
		{User: Vidflow, Groups: groups, Operations: read},
	}
	if n.DeadLetterGroup != "" {
		for _, user := range []User{VidflowStart, Vidflow} {
			grants = append(grants, Grant{User: user, Groups: []string{n.DeadLetterGroup}, Operations: read})
		}
	}
	return grants
}
