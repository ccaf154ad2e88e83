package simulator_test

import (
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/codeendelea/vidflow/devstack/simulator"
)

// A topic that was made anew has another id, which clients that knew the old one do not expect.
func TestTopicMadeAnew(t *testing.T) {
	t.Parallel()
	for _, topic := range []string{transcriptions, requests} {
		t.Run(topic, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			s, _ := b.start(t, prompt())
			b.ask(t, "", videoID(1))
			wait(t, s, "first answers", func(s simulator.Stats) bool { return s.Transcriptions == 1 && s.Compressions == 1 })

			admin := kadm.NewClient(b.client)
			if _, err := admin.DeleteTopic(t.Context(), topic); err != nil {
				t.Fatal(err)
			}
			if _, err := admin.CreateTopic(t.Context(), 3, 1, nil, topic); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), deadline)
			defer cancel()
			if topic == transcriptions {
				if _, err := s.Emit(ctx, simulator.Emission{VideoID: string(videoID(2))}); err != nil {
					t.Fatal(err)
				}
				return
			}
			b.client.PurgeTopicsFromClient(requests)
			b.ask(t, "", videoID(2))
			wait(t, s, "answers to the new topic", func(s simulator.Stats) bool { return s.Transcriptions == 2 })
		})
	}
}
