package kafka_test

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/codeendelea/vidflow/internal/kafka"
)

// slack is how much later than told a client may be on a busy machine.
const slack = 20 * time.Second

// silent is a broker that takes connections and never answers. It tells of each how long its client stayed.
type silent struct {
	addr  string
	stays chan time.Duration
}

func newSilent(t *testing.T) silent {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := silent{addr: l.Addr().String(), stays: make(chan time.Duration, 100)} // more than any test makes
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			began := time.Now()
			serving.Go(func() {
				_, _ = io.Copy(io.Discard, conn) // until the client goes
				_ = conn.Close()
				s.stays <- time.Since(began)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		serving.Wait()
	})
	return s
}

// TestTimeouts: a broker that takes a connection and says nothing is given up after the time-out of what it owes: the
// handshake of TLS belongs to the connection, every answer after it to a request.
func TestTimeouts(t *testing.T) {
	t.Parallel()
	const short, long = 200 * time.Millisecond, time.Minute
	for name, cfg := range map[string]kafka.Config{
		"KAFKA_CONNECTION_TIMEOUT": {TLS: true, ConnectionTimeout: short, RequestTimeout: long},
		"KAFKA_REQUEST_TIMEOUT":    {ConnectionTimeout: long, RequestTimeout: short},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, factor := range []time.Duration{1, 4} {
				cfg := cfg
				cfg.Retries = -1 // the library tries once more on a connection of its own
				for _, timeout := range []*time.Duration{&cfg.ConnectionTimeout, &cfg.RequestTimeout} {
					if *timeout == short {
						*timeout *= factor
					}
				}
				broker := newSilent(t)
				cfg.Brokers = []string{broker.addr}
				cl, began := newClient(t, cfg, quiet()), time.Now()
				_, err := kmsg.NewPtrMetadataRequest().RequestWith(patiently(t), cl)
				took := time.Since(began)
				if err == nil {
					t.Error("it is answered")
				}
				// The broker notices a connection later than its client does, on a busy machine.
				if stay, want := <-broker.stays, factor*short; took < want || stay > want+slack {
					t.Errorf("given up after %s, of which the broker noticed %s, want %s", took, stay, want)
				}
			}
		})
	}
}

// TestRetries: KAFKA_RETRIES is how often a request is sent again that a broker cannot serve yet, KAFKA_INITIAL_RETRY_TIME the first
// pause before it; each further one is twice as long.
func TestRetries(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		retries int
		initial time.Duration
		pauses  []time.Duration
	}{
		"none":              {retries: -1, initial: time.Second},
		"two":               {retries: 2, initial: 50 * time.Millisecond, pauses: []time.Duration{50 * time.Millisecond, 100 * time.Millisecond}},
		"two, at a leisure": {retries: 2, initial: 300 * time.Millisecond, pauses: []time.Duration{300 * time.Millisecond, 600 * time.Millisecond}},
		"four": {
			retries: 4, initial: 20 * time.Millisecond,
			pauses: []time.Duration{20 * time.Millisecond, 40 * time.Millisecond, 80 * time.Millisecond, 160 * time.Millisecond},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := newCluster(t)
			// A producer's client: whoever wraps a client hands on what it was configured with.
			p := newProducer(t, kafka.Config{Brokers: cluster.ListenAddrs(), Retries: row.retries, InitialRetryTime: row.initial})
			var mu sync.Mutex
			var tried []time.Time
			cluster.ControlKey(int16(kmsg.Heartbeat), func(req kmsg.Request) (kmsg.Response, error, bool) {
				cluster.KeepControl()
				mu.Lock()
				defer mu.Unlock()
				tried = append(tried, time.Now())
				resp := req.ResponseKind().(*kmsg.HeartbeatResponse)
				resp.ErrorCode = kerr.CoordinatorLoadInProgress.Code
				return resp, nil, true
			})
			if err := p.CheckGroup(patiently(t), "a group"); err == nil || kafka.IsSetup(err) {
				t.Errorf("got %v, want an error that may pass", err)
			}
			mu.Lock()
			defer mu.Unlock()
			if got, want := len(tried), len(row.pauses)+1; got != want {
				t.Fatalf("tried %d times, want %d", got, want)
			}
			for i, want := range row.pauses {
				// A fifth either way, and the machine's own time.
				if pause := tried[i+1].Sub(tried[i]); pause < want*8/10 || pause > want*12/10+slack {
					t.Errorf("pause %d was %s, want about %s", i+1, pause, want)
				}
			}
		})
	}
}
