package kafka

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func TestClientLog_warns_once_in_a_while(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l := newClientLog(slog.New(slog.NewTextHandler(&out, nil)), nil)
	for range 100 {
		l.Log(kgo.LogLevelError, "it is broken", "err", "why", "n", 1)
		l.Log(kgo.LogLevelWarn, "unable to open connection to broker")
		l.Log(kgo.LogLevelInfo, "chatter")
	}
	got := strings.TrimSpace(out.String())
	if strings.Count(got, "\n") != 0 || !strings.Contains(got, `level=WARN msg="Kafka client: it is broken" error=why n=1`) {
		t.Errorf("got %s, want one warning", got)
	}
	later := time.Now().Add(repeatAfter)
	if !l.due("it is broken", later) || l.due("it is broken", later) {
		t.Error("it is not a warning again once, later")
	}
}
