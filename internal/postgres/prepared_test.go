package postgres_test

import (
	"encoding/binary"
	"io"
	"net"
	neturl "net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
)

// TestPreparedStatements are kept where the server itself answers, and nowhere else.
func TestPreparedStatements(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		pooled   bool
		prepares bool
	}{
		"the server":      {prepares: true},
		"behind a pooler": {pooled: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := postgrestest.New(t)
			between := newBetween(t, db.DirectURL)
			between.pooler.Store(tc.pooled)
			store := postgrestest.Open(t, between.url)
			for range 2 {
				if _, err := store.Video(t.Context(), postgrestest.NewVideoID()); err != nil {
					t.Fatal(err)
				}
			}
			if got := between.prepared(); (got > 0) != tc.prepares {
				t.Errorf("%d statements were prepared by name, want some: %t", got, tc.prepares)
			}
		})
	}
}

// TestPreparedStatementsEndWithThePooler: a pooler that comes before the server is noticed by the first connection through
// it, which is refused, so that no statement is prepared in a session that belongs to everybody.
func TestPreparedStatementsEndWithThePooler(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	between := newBetween(t, db.DirectURL)
	store := postgrestest.Open(t, between.url, postgres.WithMaxConns(1))
	id := postgrestest.NewVideoID()
	if _, err := store.Video(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	between.pooler.Store(true)
	before := between.prepared()
	if before == 0 {
		t.Error("nothing was prepared before the pooler came")
	}
	between.cut()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		_, err := store.Video(t.Context(), id)
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the store does not come back: %v", err)
		}
	}
	if got := between.prepared(); got != before {
		t.Errorf("%d statements were prepared through the pooler", got-before)
	}
}

// between passes everything on between clients and a server. As a pooler it tells clients another process number than the
// server's, which is how a pooler is known.
type between struct {
	url    string
	pooler atomic.Bool

	server string
	named  atomic.Int64

	mu    sync.Mutex
	conns []net.Conn
}

func newBetween(t *testing.T, server string) *between {
	t.Helper()
	u, err := neturl.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &between{server: u.Host}
	u.Host = l.Addr().String()
	u.RawQuery = "sslmode=disable"
	b.url = u.String()
	var running sync.WaitGroup
	running.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { b.serve(client) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		b.cut()
		running.Wait()
	})
	return b
}

// prepared counts the statements that clients prepared under a name.
func (b *between) prepared() int64 { return b.named.Load() }

// cut ends every connection.
func (b *between) cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.conns {
		_ = c.Close()
	}
	b.conns = nil
}

func (b *between) serve(client net.Conn) {
	server, err := net.Dial("tcp", b.server)
	if err != nil {
		_ = client.Close()
		return
	}
	b.mu.Lock()
	b.conns = append(b.conns, client, server)
	b.mu.Unlock()
	pooler := b.pooler.Load()
	var both sync.WaitGroup
	both.Go(func() { // the startup message has no type
		if head, rest, err := message(client, 0); err == nil {
			_, _ = server.Write(append(head, rest...))
			pass(client, server, func(kind byte, body []byte) {
				if kind == 'P' && body[0] != 0 { // Parse: it begins with the statement's name
					b.named.Add(1)
				}
			})
		}
		_ = server.Close()
	})
	both.Go(func() {
		pass(server, client, func(kind byte, body []byte) {
			if kind == 'K' && pooler { // BackendKeyData
				binary.BigEndian.PutUint32(body, ^binary.BigEndian.Uint32(body))
			}
		})
		_ = client.Close()
	})
	both.Wait()
}

func pass(from, to net.Conn, look func(kind byte, body []byte)) {
	for {
		head, body, err := message(from, 1)
		if err != nil {
			return
		}
		if len(body) > 0 {
			look(head[0], body)
		}
		if _, err := to.Write(append(head, body...)); err != nil {
			return
		}
	}
}

// message reads one message: the type, of as many bytes, the length, which counts itself, and the rest.
func message(from net.Conn, kind int) (head, body []byte, err error) {
	head = make([]byte, kind+4)
	if _, err := io.ReadFull(from, head); err != nil {
		return nil, nil, err
	}
	body = make([]byte, binary.BigEndian.Uint32(head[kind:])-4)
	_, err = io.ReadFull(from, body)
	return head, body, err
}
