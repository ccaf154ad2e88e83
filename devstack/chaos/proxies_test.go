package chaos

import (
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/codeendelea/vidflow/devstack/ports"
)

// echo answers with what it gets.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(conn, conn)
				_ = conn.Close()
			}()
		}
	}()
	return l.Addr().String()
}

// Answers come within a time that only a failure meets; one that does not come is not waited for so long.
const long, short = time.Minute, 300 * time.Millisecond

// ask sends a byte through a new connection and waits for it to come back.
func ask(addr string, within time.Duration) (time.Duration, error) {
	started := time.Now()
	conn, err := net.DialTimeout("tcp", addr, long)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(within)); err != nil {
		return 0, err
	}
	if _, err := conn.Write([]byte{1}); err != nil {
		return 0, err
	}
	_, err = io.ReadFull(conn, make([]byte, 1))
	return time.Since(started), err
}

func TestProxies(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		fault  Fault
		within time.Duration
		is     func(took time.Duration, err error) bool
	}{
		"cut": {Fault{Kind: Cut}, long, func(_ time.Duration, err error) bool {
			return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
		}},
		"reset": {Fault{Kind: Reset}, long, func(_ time.Duration, err error) bool {
			return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
		}},
		"slow": {Fault{Kind: Slow}, long, func(took time.Duration, err error) bool {
			return err == nil && took >= 100*time.Millisecond
		}},
		"half open, upwards": {Fault{Kind: HalfOpen, Upwards: true}, short, func(_ time.Duration, err error) bool {
			return errors.Is(err, os.ErrDeadlineExceeded)
		}},
		"half open, downwards": {Fault{Kind: HalfOpen}, short, func(_ time.Duration, err error) bool {
			return errors.Is(err, os.ErrDeadlineExceeded)
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port, err := ports.Unused(1)
			if err != nil {
				t.Fatal(err)
			}
			addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
			ps, err := newProxies(map[string]string{kafka: addr}, map[string]string{kafka: echo(t)})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(ps.close)
			tt.fault.Target = kafka
			if _, err := ask(addr, long); err != nil {
				t.Fatalf("before: %v", err)
			}
			if err := ps.add(tt.fault); err != nil {
				t.Fatal(err)
			}
			if took, err := ask(addr, tt.within); !tt.is(took, err) {
				t.Errorf("meanwhile: %s, %v", took, err)
			}
			if err := ps.remove(t.Context(), tt.fault); err != nil {
				t.Fatal(err)
			}
			if _, err := ask(addr, long); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}
